"""The key schema: the only place where paths of keys are made and taken apart.

::

    rules/tenants/<tenant>               types.v1.Tenant
    rules/trunks/<trunk>                 types.v1.Trunk
    rules/trunkgroups/<group>            types.v1.TrunkGroup
    rules/lines/<tenant>/<line>          types.v1.Line
    rules/numbers/<last 2 digits>/<number>   types.v1.Number
    rules/calendars/<owner>/<calendar>   types.v1.Calendar; the owner is a tenant, or "_" for the operator
    rules/schedules/<tenant>/<schedule>  types.v1.Schedule
    rules/regiongroups/<owner>/<group>   types.v1.RegionGroup; the owner is a tenant, or "_" for the operator
    rules/linegroups/<tenant>/<group>    types.v1.LineGroup
    rules/flows/<tenant>/<flow>          types.v1.Flow
    rules/prompts/<tenant>/<prompt>      types.v1.Prompt
    rules/lists/<owner>/<list>           types.v1.ScreeningList; the owner is a tenant, or "_" for the operator
    rules/listpages/<owner>/<list>/<page>    types.v1.ScreeningPage, pages 000 to 098: the entries of a list
    index/linegroups/<tenant>/<group>    line ids of the group, joined by a space; written with the group
    index/flows/<tenant>/<flow>          what the flow's revisions refer to that were in force or to come when it was
                                         written, e.g. "line:front-desk schedule:hours", joined by a space; written with
                                         the flow, so that who wants to delete something reads few flows
    index/schedules/<tenant>/<schedule>  calendars of the draft and of the revisions that were in force or to come
                                         when it was written, joined by a space; written with the schedule
    index/numbers/<tenant>/<number>      what the number refers to, e.g. "flow:main line:front-desk", joined by a space;
                                         written with the number, so that a tenant's are found without reading all
    apikeys/<owner>/<key>                types.v1.ApiKey; the owner is a tenant, or "_" for the operator
    requests/<owner>/<digest>            the answer to a request that had a request id, under a lease; see requestids.py
    fences/tenants/<tenant>              empty; put by every write of the tenant's objects, so that checks of
    fences/trunks                        references and the writes that rely on them exclude each other
    fences/lists/<owner>/<list>          empty; put by every write of the list's entries
    live/edges/<edge>                    routing.v1.Edge under a lease of EDGE_MEMORY_S
    live/media/<node>                    routing.v1.MediaNode under the media sidecar's lease
    ids/media/<node>                     decimal number of a media node, for ever
    fences/media                         empty; put with every new number, so that no two nodes get the same

Numbers are spread over 100 partitions by their last two digits, so that a range over all of them is read in pieces of
like size whatever ranges the operator holds.
"""

from __future__ import annotations

RULES = "rules/"
LIVE = "live/"
TENANTS = RULES + "tenants/"
TRUNKS = RULES + "trunks/"
TRUNK_GROUPS = RULES + "trunkgroups/"
LINES = RULES + "lines/"
NUMBERS = RULES + "numbers/"
CALENDARS = RULES + "calendars/"
SCHEDULES = RULES + "schedules/"
REGION_GROUPS = RULES + "regiongroups/"
LINE_GROUPS = RULES + "linegroups/"
FLOWS = RULES + "flows/"
PROMPTS = RULES + "prompts/"
SCREENING_LISTS = RULES + "lists/"
SCREENING_PAGES = RULES + "listpages/"
NUMBER_INDEX = "index/numbers/"
FLOW_INDEX = "index/flows/"
SCHEDULE_INDEX = "index/schedules/"
LIVE_EDGES = LIVE + "edges/"
LIVE_MEDIA = LIVE + "media/"
MEDIA_IDS = "ids/media/"
TRUNK_FENCE = "fences/trunks"
MEDIA_FENCE = "fences/media"

OPERATOR = "_"
"""Stands for the operator where a key names an owner: no tenant's id."""

EDGE_MEMORY_S = 24 * 3600
"""How long a proxy's addresses are remembered after it was last seen: its dialogs may live on at other proxies."""

NUMBER_PARTITIONS = tuple(f"{NUMBERS}{n:02d}/" for n in range(100))


def tenant(id: str) -> str:
    """Key of a tenant."""
    return TENANTS + id


def tenant_fence(id: str) -> str:
    """Key of a tenant's fence."""
    return f"fences/tenants/{id}"


def trunk(id: str) -> str:
    """Key of a trunk."""
    return TRUNKS + id


def trunk_group(id: str) -> str:
    """Key of a trunk group."""
    return TRUNK_GROUPS + id


def lines_of(tenant: str) -> str:
    """Prefix of a tenant's lines."""
    return f"{LINES}{tenant}/"


def line(tenant: str, id: str) -> str:
    """Key of a line."""
    return lines_of(tenant) + id


def tenant_of_line(key: str) -> str:
    """The tenant whose line a key is."""
    return last_part(key.rpartition("/")[0])


def line_groups_of(tenant: str) -> str:
    """Prefix of a tenant's line groups."""
    return f"{LINE_GROUPS}{tenant}/"


def line_group(tenant: str, id: str) -> str:
    """Key of a line group."""
    return line_groups_of(tenant) + id


def line_group_index(tenant: str, id: str = "") -> str:
    """Key of a line group in its tenant's index; without an id the index's prefix."""
    return f"index/linegroups/{tenant}/{id}"


def flows_of(tenant: str) -> str:
    """Prefix of a tenant's call flows."""
    return f"{FLOWS}{tenant}/"


def flow(tenant: str, id: str) -> str:
    """Key of a call flow."""
    return flows_of(tenant) + id


def flow_index(tenant: str, id: str = "") -> str:
    """Key of a call flow in its tenant's index; without an id the index's prefix."""
    return f"{FLOW_INDEX}{tenant}/{id}"


def prompts_of(tenant: str) -> str:
    """Prefix of a tenant's prompts."""
    return f"{PROMPTS}{tenant}/"


def prompt(tenant: str, id: str) -> str:
    """Key of a prompt."""
    return prompts_of(tenant) + id


def number(digits: str) -> str:
    """Key of a service number in national form (at least two digits)."""
    return f"{NUMBERS}{digits[-2:]}/{digits}"


def numbers_of(tenant: str) -> str:
    """Prefix of the index of a tenant's numbers."""
    return f"{NUMBER_INDEX}{tenant}/"


def number_of(tenant: str, digits: str) -> str:
    """Key of a number in its tenant's index."""
    return numbers_of(tenant) + digits


def calendars_of(tenant: str) -> str:
    """Prefix of the calendars of a tenant; of the operator's for ""."""
    return f"{CALENDARS}{tenant or OPERATOR}/"


def calendar(tenant: str, id: str) -> str:
    """Key of a calendar of a tenant; of the operator's for ""."""
    return calendars_of(tenant) + id


def schedules_of(tenant: str) -> str:
    """Prefix of a tenant's schedules."""
    return f"{SCHEDULES}{tenant}/"


def schedule(tenant: str, id: str) -> str:
    """Key of a schedule."""
    return schedules_of(tenant) + id


def schedule_index(tenant: str, id: str = "") -> str:
    """Key of a schedule in its tenant's index; without an id the index's prefix."""
    return f"{SCHEDULE_INDEX}{tenant}/{id}"


def owner(key: str) -> str:
    """The tenant whose calendar or the like a key is; "" for the operator."""
    found = last_part(key.rpartition("/")[0])
    return "" if found == OPERATOR else found


def owned_by(tenant: str) -> dict[str, str]:
    """What a tenant may own, by kind: the prefix of its keys."""
    return {
        "line": lines_of(tenant),
        "line_group": line_groups_of(tenant),
        "number": numbers_of(tenant),
        "flow": flows_of(tenant),
        "schedule": schedules_of(tenant),
        "calendar": calendars_of(tenant),
        "region_group": region_groups_of(tenant),
        "screening_list": screening_lists_of(tenant),
        "prompt": prompts_of(tenant),
        "api_key": api_keys_of(tenant),
    }


def is_shared(key: str) -> bool:
    """True for the key of a calendar or the like that is the operator's."""
    return key.startswith(RULES) and key.split("/")[2] == OPERATOR


def region_groups_of(tenant: str) -> str:
    """Prefix of the region groups of a tenant; of the operator's for ""."""
    return f"{REGION_GROUPS}{tenant or OPERATOR}/"


def region_group(tenant: str, id: str) -> str:
    """Key of a region group of a tenant; of the operator's for ""."""
    return region_groups_of(tenant) + id


def screening_lists_of(tenant: str) -> str:
    """Prefix of the screening lists of a tenant, or of the operator ("")."""
    return f"{SCREENING_LISTS}{tenant or OPERATOR}/"


def screening_list(tenant: str, id: str) -> str:
    """Key of a screening list of a tenant, or of the operator ("")."""
    return screening_lists_of(tenant) + id


def screening_page(tenant: str, list: str, page: int) -> str:
    """Key of a page of a screening list."""
    return f"{SCREENING_PAGES}{tenant or OPERATOR}/{list}/{page:03d}"


def screening_fence(tenant: str, list: str) -> str:
    """Key of the fence of a screening list's entries."""
    return f"fences/lists/{tenant or OPERATOR}/{list}"


def screening_page_parts(key: str) -> tuple[str, str, int] | None:
    """Tenant ("": the operator), list id and page that a key of a page names; None: it is of no page."""
    list, _, page = key.removeprefix(SCREENING_PAGES).rpartition("/")
    return (owner(list), last_part(list), int(page)) if page.isdecimal() and list.count("/") == 1 else None


def api_keys_of(tenant: str) -> str:
    """Prefix of the API keys of a tenant; of the operator's for ""."""
    return f"apikeys/{tenant or OPERATOR}/"


def api_key(tenant: str, id: str) -> str:
    """Key of an API key of a tenant; of the operator's for ""."""
    return api_keys_of(tenant) + id


def request(tenant: str, digest: str) -> str:
    """Key of the answer to a request of a tenant, or of the operator ("")."""
    return f"requests/{tenant or OPERATOR}/{digest}"


def live_edge(id: str) -> str:
    """Key of a proxy's registration."""
    return LIVE_EDGES + id


def live_media(id: str) -> str:
    """Key of a media node's registration."""
    return LIVE_MEDIA + id


def media_id(id: str) -> str:
    """Key of the number that a media node has for ever."""
    return MEDIA_IDS + id


def last_part(key: str) -> str:
    """The object's own id: what follows the last slash."""
    return key.rpartition("/")[2]
