"""The key schema: the only place where paths of keys are made and taken apart, and so a long one.

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
                                         when it was written, e.g. "calendar:china"; written with the schedule
    index/numbers/<tenant>/<number>      what the number refers to, e.g. "flow:main line:front-desk", joined by a space;
                                         written with the number, so that a tenant's are found without reading all
    index/shared/<tenant>                which calendars, region groups and screening lists the tenant's entries above
                                         name, and how many of them do, e.g. "calendar:china=2 screening_list:fraud=10":
                                         who wants to delete one of the operator's need not read all of these
    inventory/ranges/<range>             types.v1.NumberRange
    inventory/classes/<class>            types.v1.NumberClass
    inventory/pages/<length>/<head>      types.v1.InventoryPage: the states of the numbers of <length> digits (in two
                                         digits) that have all digits but the last two in common; written when the
                                         first of them is no longer available
    numberlog/<length>/<head>/<chunk>    types.v1.HistoryChunk: what happened to these numbers; chunks 000000 and on
    index/holdings/<tenant>/held         types.v1.TenantHoldings: how many numbers the tenant has; none: no key
    documents/<tenant>/<document>        types.v1.Document: what is known of an uploaded document
    index/documentsdue/<time>/<tenant>/<document>    empty: to be deleted then, seconds since the epoch in 12 digits
    index/uploads/<time>/<object>        empty, or a word: content that no document has, to be deleted then
    index/documentcounts/<tenant>        types.v1.TenantDocuments: documents that no application has named; none: no key
    index/objects                        which object store content is in; see objectsplace.py
    index/datakeys/<tenant>              types.v1.WrappedKey: what the tenant's documents are encrypted with
    index/recordingdeletions/<call>      types.v1.AuditEntry, or a word: the recording is being deleted; see
                                         provisioning/recordings/disposal.py; under a lease
    index/promptobjects/<tenant>/<file>  when an object of a prompt's audio is to be deleted unless some prompt has it,
                                         seconds since the epoch, or a word: it is being deleted; see
                                         provisioning/promptaudio/objects.py
    index/promptspeech/<tenant>/<prompt> empty: the prompt's text is yet to be spoken
    fences/inventory                     empty; put by every write of ranges and classes
    audit/outbox/<commit>-<bytes>        types.v1.AuditEntry: what a commit is to have in the audit log; written with it
    audit/head                           types.v1.AuditHead: where the audit log ends
    apikeys/<owner>/<key>                types.v1.ApiKey; the owner is a tenant, or "_" for the operator
    requests/<owner>/<digest>            the answer to a request that had a request id, under a lease; see requestids.py
    fences/tenants/<tenant>              empty; put by every write of the tenant's objects, so that checks of
    fences/trunks                        references and the writes that rely on them exclude each other
    fences/lists/<owner>/<list>          empty; put by every write of the list's entries
    live/edges/<edge>                    routing.v1.Edge under a lease of EDGE_MEMORY_S
    live/targets/<edge>                  routing.v1.EdgeTargets under a lease of TARGETS_MEMORY_S: what is dead to it
    live/media/<node>                    routing.v1.MediaNode under the media sidecar's lease
    live/voice/<worker>                  routing.v1.VoiceWorker under the worker's lease
    ids/media/<node>                     decimal number of a media node, for ever
    fences/media                         empty; put with every new number, so that no two nodes get the same
    fences/import                        empty; put by imports that wait for room, which etcd counts when it writes next

Numbers are spread over 100 partitions by their last two digits, so that a range over all of them is read in pieces of
like size whatever ranges the operator holds. Lines, numbers and the index of numbers lie in pages (PAGED); etcd has no
such keys of their own, but those of their pages, see page.py.
"""

from __future__ import annotations

import re

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
SHARED_INDEX = "index/shared/"
INVENTORY = "inventory/"
NUMBER_RANGES = INVENTORY + "ranges/"
NUMBER_CLASSES = INVENTORY + "classes/"
INVENTORY_PAGES = INVENTORY + "pages/"
INVENTORY_FENCE = "fences/inventory"
DOCUMENTS = "documents/"
DOCUMENTS_DUE = "index/documentsdue/"
UPLOADS = "index/uploads/"
DATA_KEYS = "index/datakeys/"
DOCUMENT_COUNTS = "index/documentcounts/"
RECORDING_DELETIONS = "index/recordingdeletions/"
PROMPT_OBJECTS = "index/promptobjects/"
PROMPT_SPEECH = "index/promptspeech/"
HOLDINGS = "index/holdings/"
OBJECTS_ID = "index/objects"
API_KEYS = "apikeys/"
AUDIT_OUTBOX = "audit/outbox/"
AUDIT_HEAD = "audit/head"
LIVE_EDGES = LIVE + "edges/"
LIVE_TARGETS = LIVE + "targets/"
LIVE_MEDIA = LIVE + "media/"
LIVE_VOICE = LIVE + "voice/"
MEDIA_IDS = "ids/media/"
TRUNK_FENCE = "fences/trunks"
MEDIA_FENCE = "fences/media"
IMPORT_FENCE = "fences/import"

OPERATOR = "_"
"""Stands for the operator where a key names an owner: no tenant's id."""

EDGE_MEMORY_S = 24 * 3600
"""How long a proxy's addresses are remembered after it was last seen: its dialogs may live on at other proxies."""

TARGETS_MEMORY_S = 60
"""How long it is believed what a proxy said of targets after it was last heard; it asks no more then, either."""

NUMBER_PARTITIONS = tuple(f"{NUMBERS}{n:02d}/" for n in range(100))

PAGED = re.compile(f"(?:{LINES}|{NUMBERS}|{NUMBER_INDEX})[^/]+/")
"""Matches, from their beginning, the keys that lie in pages: those of one match share their pages."""


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


def shared_index(tenant: str) -> str:
    """Key of what a tenant's objects name that may be the operator's."""
    return SHARED_INDEX + tenant


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
        "inventory_number": holdings_of(tenant),
        "document": document(tenant),
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


def screening_pages_of(tenant: str, list: str) -> str:
    """Prefix of the pages of a screening list."""
    return f"{SCREENING_PAGES}{tenant or OPERATOR}/{list}/"


def screening_page(tenant: str, list: str, page: int) -> str:
    """Key of a page of a screening list."""
    return f"{screening_pages_of(tenant, list)}{page:03d}"


def screening_fence(tenant: str, list: str) -> str:
    """Key of the fence of a screening list's entries."""
    return f"fences/lists/{tenant or OPERATOR}/{list}"


def screening_page_parts(key: str) -> tuple[str, str, int] | None:
    """Tenant ("": the operator), list id and page that a key of a page names; None: it is of no page."""
    list, _, page = key.removeprefix(SCREENING_PAGES).rpartition("/")
    return (owner(list), last_part(list), int(page)) if page.isdecimal() and list.count("/") == 1 else None


def api_keys_of(tenant: str) -> str:
    """Prefix of the API keys of a tenant; of the operator's for ""."""
    return f"{API_KEYS}{tenant or OPERATOR}/"


def api_key(tenant: str, id: str) -> str:
    """Key of an API key of a tenant; of the operator's for ""."""
    return api_keys_of(tenant) + id


def request(tenant: str, digest: str) -> str:
    """Key of the answer to a request of a tenant, or of the operator ("")."""
    return f"requests/{tenant or OPERATOR}/{digest}"


def number_range(id: str) -> str:
    """Key of a range of numbers."""
    return NUMBER_RANGES + id


def number_class(id: str) -> str:
    """Key of a class of numbers."""
    return NUMBER_CLASSES + id


def inventory_pages(length: int) -> str:
    """Prefix of the pages of numbers of so many digits."""
    return f"{INVENTORY_PAGES}{length:02d}/"


def inventory_page(digits: str) -> str:
    """Key of the page that a number (more than two digits) lies in."""
    return inventory_pages(len(digits)) + digits[:-2]


def number_log(digits: str, chunk: int) -> str:
    """Key of a chunk of the history of a number's page."""
    return f"numberlog/{len(digits):02d}/{digits[:-2]}/{chunk:06d}"


def holdings_of(tenant: str) -> str:
    """Prefix of the count of a tenant's numbers."""
    return f"{HOLDINGS}{tenant}/"


def holdings(tenant: str) -> str:
    """Key of the count of a tenant's numbers."""
    return holdings_of(tenant) + "held"


def document(tenant: str, id: str = "") -> str:
    """Key of a document; without an id the prefix of a tenant's."""
    return f"{DOCUMENTS}{tenant}/{id}"


def due(prefix: str, time: int, name: str) -> str:
    """Key of what is to be deleted at a time, seconds since the epoch: DOCUMENTS_DUE, UPLOADS."""
    return f"{prefix}{time:012d}/{name}"


def due_parts(prefix: str, key: str) -> tuple[int, str]:
    """Time and name that a key of due is made of."""
    time, _, name = key.removeprefix(prefix).partition("/")
    return int(time), name


def document_count(tenant: str) -> str:
    """Key of the count of a tenant's documents that no application has named."""
    return DOCUMENT_COUNTS + tenant


def recording_deletion(call_id: str) -> str:
    """Key of the note that a call's recording is being deleted."""
    return RECORDING_DELETIONS + call_id


def prompt_object(tenant: str, file: str) -> str:
    """Key of when an object of a prompt's audio is to be deleted; ``file``: its name without its folder."""
    return f"{PROMPT_OBJECTS}{tenant}/{file}"


def prompt_speech(tenant: str, id: str) -> str:
    """Key of the note that a prompt's text is yet to be spoken."""
    return f"{PROMPT_SPEECH}{tenant}/{id}"


def data_key(tenant: str) -> str:
    """Key of a tenant's own encryption key."""
    return DATA_KEYS + tenant


def audit_entry(commit: str, size: int) -> str:
    """Key of what a commit is to have in the audit log, so many bytes."""
    return f"{AUDIT_OUTBOX}{commit}-{size}"


def audit_entry_size(key: str) -> int:
    """Bytes of an entry of the audit log's outbox, as its key says."""
    size = key.rpartition("-")[2]
    return int(size) if size.isdecimal() else 0


def live_edge(id: str) -> str:
    """Key of a proxy's registration."""
    return LIVE_EDGES + id


def live_targets(edge: str) -> str:
    """Key of what a proxy sees of targets."""
    return LIVE_TARGETS + edge


def live_media(id: str) -> str:
    """Key of a media node's registration."""
    return LIVE_MEDIA + id


def live_voice(id: str) -> str:
    """Key of a voice worker's registration."""
    return LIVE_VOICE + id


def media_id(id: str) -> str:
    """Key of the number that a media node has for ever."""
    return MEDIA_IDS + id


def last_part(key: str) -> str:
    """The object's own id: what follows the last slash."""
    return key.rpartition("/")[2]
