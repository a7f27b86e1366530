"""Who may call a number, and callers who are known to a flow."""

from __future__ import annotations

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from support.company import dial, hang_up

STRANGER = "02188886666"
ENTRIES = {
    "number": ({"number": "13912345678"}, "13912345678", "13912345679"),
    "number in another form": ({"number": "+8613912345678"}, "008613912345678", "13912345679"),
    "prefix": ({"prefix": "1391234"}, "13912340000", "13912350000"),
    "province": ({"province": "内蒙古"}, "04713456789", STRANGER),
    "area code": ({"area_code": "0471"}, "18604711234", STRANGER),
    "anonymous": ({"anonymous": True}, "anonymous", STRANGER),
}
"""An entry, a caller whom it fits, and one whom it does not."""


def change(company, id, *entries, remove=False):
    """Add entries to a list, or remove them, known everywhere on return."""
    request = pb.RemoveScreeningEntriesRequest if remove else pb.AddScreeningEntriesRequest
    method = company.api.RemoveScreeningEntries if remove else company.api.AddScreeningEntries
    assert method(request(tenant=company.id, list=id, entries=entries)).changed == len(entries)
    # The answer has no etag: what is written after it is known after it.
    company.put("tenant", id=company.id, display_name=f"{id} changed")


@pytest.fixture
async def lists(company):
    """A line, and lists "pests" and "friends" without entries."""
    await company.line("desk")
    for id in ("pests", "friends"):
        company.put("screening_list", id=id)
    return company


@pytest.mark.parametrize("kind", ENTRIES)
async def test_whom_an_entry_of_a_blacklist_fits_is_refused(lists, kind):
    entry, bad, good = ENTRIES[kind]
    number = lists.rings("desk", screening={"blacklists": ["pests"]})
    assert await lists.line_of(number, bad) == "desk"
    change(lists, "pests", entry)
    outcome = await lists.call(number, bad)
    assert (outcome.code, outcome.rang) == (403, [])
    assert await lists.line_of(number, good) == "desk"
    change(lists, "pests", entry, remove=True)
    assert await lists.line_of(number, bad, proxy=2) == "desk"


async def test_callers_without_a_number_are_refused_where_one_is_wanted(lists):
    number = lists.rings("desk", screening={"refuse_anonymous": True})
    assert await lists.line_of(number, "anonymous") == "433"
    assert await lists.line_of(number) == "desk"


async def test_only_callers_of_the_whitelist_where_the_number_is_for_them(lists):
    number = lists.rings("desk", screening={"whitelists": ["friends"], "whitelist_only": True})
    assert await lists.line_of(number, STRANGER) == "403"
    change(lists, "friends", {"number": STRANGER}, {"province": "北京"})
    assert await lists.line_of(number, STRANGER) == "desk"
    assert await lists.line_of(number, "01088886666", proxy=2) == "desk"
    assert await lists.line_of(number, "02887654321") == "403"


async def test_who_is_on_both_lists_is_refused(lists):
    number = lists.rings("desk", screening={"blacklists": ["pests"], "whitelists": ["friends"]})
    for id in ("pests", "friends"):
        change(lists, id, {"number": STRANGER})
    assert await lists.line_of(number, STRANGER) == "403"


async def test_a_flow_knows_its_callers(lists):
    await lists.line("vip")
    known = {"caller_list": {"lists": ["friends"], "member": "vip", "otherwise": "known-pest"}}
    pest = {"caller_list": {"lists": ["pests"], "member": "refused", "otherwise": "desk"}}
    nodes = {"known-pest": pest, "vip": dial("vip"), "desk": dial("desk"), "refused": hang_up("DECLINED")}
    lists.flow("known", known=known, **nodes)
    number = lists.number(flow="main")
    change(lists, "friends", {"number": "01088886666"})
    change(lists, "pests", {"prefix": "021"})
    callers = ("01088886666", STRANGER, "02887654321")
    assert [await lists.line_of(number, caller) for caller in callers] == ["vip", "603", "desk"]
