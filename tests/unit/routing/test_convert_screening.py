"""Screening lists from the store into memory."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1 import screening_pb2, types_pb2
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.screening import ADDED, Page, ScreeningLists, ScreeningRules
from signalbox.routing import convert_screening
from signalbox.store import codec, keys
from signalbox.store.screening import page_message

CALLER = Caller(CallerKind.MOBILE, "13912345678")


def test_the_rules_of_a_number() -> None:
    message = types_pb2.Screening(blacklists=["a", "b"], whitelists=["c"], whitelist_only=True, refuse_anonymous=True)
    assert convert_screening.rules(message) == ScreeningRules(("a", "b"), ("c",), True, True)
    assert convert_screening.rules(types_pb2.Screening()) == ScreeningRules()


def test_lists_and_pages_come_and_go() -> None:
    lists = ScreeningLists()
    convert_screening.put(lists, page_message("", "spam", ADDED, Page.of(["p139"])))
    convert_screening.put(lists, screening_pb2.ScreeningList(id="spam"))
    found = lists.get("acme", "spam")
    assert found is not None
    assert found.find(CALLER, None) == "p139"
    convert_screening.delete(lists, keys.screening_page("", "spam", ADDED))
    assert found.find(CALLER, None) == ""
    convert_screening.delete(lists, keys.screening_list("", "spam"))
    assert lists.get("acme", "spam") is None


def test_what_is_damaged_is_refused_and_changes_nothing() -> None:
    lists = ScreeningLists()
    convert_screening.put(lists, screening_pb2.ScreeningList(tenant="acme", id="spam"))
    convert_screening.put(lists, page_message("acme", "spam", 7, Page.of(["n13912345678"])))
    with pytest.raises(codec.DamagedValueError):
        convert_screening.put(lists, screening_pb2.ScreeningPage(tenant="acme", list="spam", page=7, codes=b"?"))
    assert lists.get("acme", "spam") is not None


@pytest.mark.parametrize("key", ["rules/listpages/acme/spam/999", "rules/listpages/acme", "rules/lines/acme/spam"])
def test_a_key_of_nothing_of_ours_deletes_nothing(key: str) -> None:
    lists = ScreeningLists()
    convert_screening.put(lists, screening_pb2.ScreeningList(tenant="acme", id="spam"))
    convert_screening.delete(lists, key)
    assert lists.get("acme", "spam") is not None
