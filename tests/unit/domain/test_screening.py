"""Screening against a naive list of entries that is gone through from its beginning to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.regions import Region
from signalbox.domain.rules import Rules
from signalbox.domain.screening import (
    ADDED,
    CALLER_ANONYMOUS,
    CALLER_BLACKLISTED,
    CALLER_NOT_WHITELISTED,
    CALLER_UNLISTED,
    CALLER_WHITELISTED,
    EMPTY,
    PAGES,
    REMOVED,
    Page,
    ScreeningList,
    ScreeningRules,
    Verdict,
    judge,
    page_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

# Few digits, so that entries meet callers often, and leading zeros too.
DIGITS = st.text("01", min_size=3, max_size=5) | st.text("01", min_size=17, max_size=20)
BEGINNINGS = st.text("01", min_size=1, max_size=3) | st.text("01", min_size=17, max_size=19)
AREA_CODES = st.sampled_from(["0471", "010"])
PROVINCES = st.sampled_from(["内蒙古", "北京"])
ENTRIES = (
    DIGITS.map("n{}".format)
    | BEGINNINGS.map("p{}".format)
    | AREA_CODES.map("a{}".format)
    | PROVINCES.map("r{}".format)
    | st.just("x")
)
CALLERS = st.builds(Caller, st.just(CallerKind.FIXED), DIGITS) | st.sampled_from(
    [Caller(CallerKind.ANONYMOUS), Caller(CallerKind.MALFORMED)]
)
REGIONS = st.none() | st.builds(Region, PROVINCES, st.just(""), AREA_CODES | st.just(""))

MOBILE = Caller(CallerKind.MOBILE, "13912345678")
ANONYMOUS = Caller(CallerKind.ANONYMOUS)
HOHHOT = Region("内蒙古", "呼和浩特", "0471")


def fits(entry: str, caller: Caller, region: Region | None) -> bool:
    """The meaning of one entry."""
    kind, text = entry[0], entry[1:]
    if not caller.number or kind == "x":
        return not caller.number and kind == "x"
    if kind == "n":
        return caller.number == text
    if kind == "p":
        return caller.number.startswith(text)
    return region is not None and text == (region.area_code if kind == "a" else region.province)


def naive_find(entries: Iterable[str], caller: Caller, region: Region | None) -> str:
    """Of all that fit, the one that says most: number, long beginning, short beginning, area code, province."""
    found = [entry for entry in entries if fits(entry, caller, region)]
    return min(found, key=lambda entry: ("npar".find(entry[0]), -len(entry)), default="")


def in_pages(entries: Iterable[str]) -> dict[int, set[str]]:
    pages: dict[int, set[str]] = {}
    for entry in entries:
        pages.setdefault(page_of(entry), set()).add(entry)
    return pages


def list_of(*entries: str, tenant: str = "", id: str = "spam") -> ScreeningList:
    pages = {number: Page.of(content) for number, content in in_pages(entries).items()}
    return ScreeningList(tenant, id, lambda number: pages.get(number, EMPTY))


class TestPage:
    @given(st.sets(ENTRIES))
    def test_it_gives_back_what_was_put_in(self, entries: set[str]) -> None:
        page = Page.of(entries)
        assert sorted(page.entries()) == sorted(entries)
        assert len(page) == len(entries)
        assert list(page.codes) == sorted(page.codes)

    @given(st.sets(ENTRIES), ENTRIES)
    def test_it_knows_what_is_in_it(self, entries: set[str], entry: str) -> None:
        assert (entry in Page.of(entries)) == (entry in entries)

    @given(st.sets(ENTRIES), st.sets(ENTRIES), st.sets(ENTRIES))
    def test_a_changed_page_is_as_a_changed_set(self, entries: set[str], added: set[str], removed: set[str]) -> None:
        page = Page.of(entries)
        changed = page.changed(added - removed, removed)
        wanted = (entries - removed) | (added - removed)
        assert set(changed.entries()) == wanted
        assert len(changed) == len(wanted)
        assert list(changed.codes) == sorted(changed.codes)
        assert (changed is page) == (wanted == entries)

    def test_an_entry_takes_8_bytes(self) -> None:
        page = Page.of(f"n138{n:08d}" for n in range(1_000))
        assert len(page.codes) * page.codes.itemsize == 8_000
        assert not page.texts

    def test_leading_zeros_and_lengths_make_a_difference(self) -> None:
        page = Page.of(["n0471", "n00471", "p0471", "n471"])
        assert sorted(page.entries()) == ["n00471", "n0471", "n471", "p0471"]
        assert "p471" not in page


class TestFind:
    @given(st.sets(ENTRIES), CALLERS, REGIONS)
    def test_as_by_going_through_all_entries(self, entries: set[str], caller: Caller, region: Region | None) -> None:
        assert list_of(*entries).find(caller, region) == naive_find(entries, caller, region)

    @given(
        st.lists(st.tuples(st.sampled_from(["pages", "added", "removed"]), st.sets(ENTRIES, max_size=20)), max_size=9),
        st.lists(st.tuples(CALLERS, REGIONS), min_size=1, max_size=5),
    )
    def test_pages_come_and_go_in_any_order(
        self, writes: list[tuple[str, set[str]]], calls: list[tuple[Caller, Region | None]]
    ) -> None:
        rules, pages = Rules(), dict[int, set[str]]()
        rules.put_screening_list("acme", "spam")
        for where, entries in writes:
            changes = {"added": ADDED, "removed": REMOVED}
            for number, content in ({changes[where]: entries} if where in changes else in_pages(entries)).items():
                if content:
                    rules.put_screening_page("acme", "spam", number, Page.of(content))
                    pages[number] = set(content)
                else:
                    rules.delete_screening_page("acme", "spam", number)
                    pages.pop(number, None)
            below = set[str]().union(*(content for number, content in pages.items() if number < PAGES))
            content = (below - pages.get(REMOVED, set())) | pages.get(ADDED, set())
            screened = rules.screening_list("acme", "spam")
            assert screened is not None
            for caller, region in calls:
                assert screened.find(caller, region) == naive_find(content, caller, region)

    @pytest.mark.parametrize(
        ("entry", "caller", "region"),
        [
            ("n13912345678", MOBILE, None),
            ("p1391234", MOBILE, None),
            ("p0471", Caller(CallerKind.FIXED, "04718888666"), None),
            ("p0044", Caller(CallerKind.FOREIGN, "00442071234567"), None),
            ("a0471", MOBILE, HOHHOT),
            ("r内蒙古", MOBILE, HOHHOT),
            ("x", ANONYMOUS, None),
            ("x", Caller(CallerKind.MALFORMED), None),
        ],
    )
    def test_each_kind_of_entry(self, entry: str, caller: Caller, region: Region | None) -> None:
        assert list_of(entry).find(caller, region) == entry

    def test_without_a_region_no_province_fits(self) -> None:
        assert list_of("r内蒙古", "a0471").find(MOBILE, None) == ""


class TestLists:
    def test_the_tenants_own_goes_before_the_operators(self) -> None:
        rules = Rules()
        rules.put_screening_list("", "spam")
        rules.put_screening_page("", "spam", page_of("x"), Page.of(["x"]))
        shared = rules.screening_list("acme", "spam")
        assert shared is not None
        assert shared.find(ANONYMOUS, None) == "x"
        rules.put_screening_list("acme", "spam")
        own = rules.screening_list("acme", "spam")
        assert own is not None
        assert own.find(ANONYMOUS, None) == ""
        rules.delete_screening_list("acme", "spam")
        assert rules.screening_list("acme", "spam") is shared
        assert rules.screening_list("other", "spam") is shared
        assert rules.screening_list("acme", "vip") is None

    @given(st.permutations(["list", "page", "changes"]), st.permutations(["list", "page", "changes"]))
    def test_a_list_is_there_while_it_is_known_whatever_comes_first(self, puts: list[str], drops: list[str]) -> None:
        rules = Rules()
        there = False
        for what in puts:
            there = there or what == "list"
            match what:
                case "list":
                    rules.put_screening_list("acme", "spam")
                case "page":
                    rules.put_screening_page("acme", "spam", page_of("x"), Page.of(["x"]))
                case "changes":
                    rules.put_screening_page("acme", "spam", ADDED, Page.of(["n100"]))
            assert (rules.screening_list("acme", "spam") is not None) == there
        for what in drops:
            there = there and what != "list"
            match what:
                case "list":
                    rules.delete_screening_list("acme", "spam")
                case "page":
                    rules.delete_screening_page("acme", "spam", page_of("x"))
                case "changes":
                    rules.delete_screening_page("acme", "spam", ADDED)
            assert (rules.screening_list("acme", "spam") is not None) == there
        assert not rules.shrink(1), "nothing is left behind"

    def test_what_was_never_there_may_go(self) -> None:
        rules = Rules()
        rules.delete_screening_page("acme", "spam", 0)
        rules.delete_screening_list("acme", "spam")
        rules.put_screening_page("acme", "spam", 0, EMPTY)
        assert rules.screening_list("acme", "spam") is None

    def test_pages_are_looked_at_again_only_when_they_are_searched(self) -> None:
        asked: list[int] = []
        entries = in_pages(["n13912345678", "p138"])

        def page(number: int) -> Page:
            asked.append(number)
            return Page.of(entries.get(number, ()))

        spam = ScreeningList("", "spam", page)
        assert spam.find(MOBILE, None) == "n13912345678"
        asked.clear()
        assert spam.find(MOBILE, None) == "n13912345678"
        assert asked == [page_of("n13912345678")]
        assert spam.find(ANONYMOUS, None) == ""
        assert len(asked) == 1


@dataclass(frozen=True)
class Case:
    """A number's rules and the entries of its lists; a list that is not named there is missing."""

    rules: ScreeningRules
    lists: dict[str, set[str]]


IDS = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)
CASES = st.builds(
    Case,
    st.builds(ScreeningRules, IDS, IDS, st.booleans(), st.booleans()),
    st.dictionaries(st.sampled_from("abcd"), st.sets(ENTRIES, max_size=5)),
)


def naive_judge(case: Case, caller: Caller, region: Region | None) -> tuple[bool, str, bool]:
    """Whether the caller is refused, why, and whether it has priority."""
    rules = case.rules

    def listed(ids: tuple[str, ...]) -> bool:
        return any(naive_find(case.lists.get(id, ()), caller, region) for id in ids)

    if rules.refuse_anonymous and not caller.number:
        return True, CALLER_ANONYMOUS, False
    if listed(rules.blacklists):
        return True, CALLER_BLACKLISTED, False
    if listed(rules.whitelists):
        return False, CALLER_WHITELISTED, True
    return rules.whitelist_only, CALLER_NOT_WHITELISTED if rules.whitelist_only else CALLER_UNLISTED, False


class TestJudge:
    @given(CASES, CALLERS, REGIONS)
    def test_as_by_going_through_all_lists(self, case: Case, caller: Caller, region: Region | None) -> None:
        lists = {id: list_of(*entries, id=id) for id, entries in case.lists.items()}
        verdict = judge(case.rules, lists.get, caller, region)
        assert (verdict.refused, verdict.reason, verdict.priority) == naive_judge(case, caller, region)
        assert bool(verdict.entry) == bool(verdict.list) == (verdict.reason in (CALLER_BLACKLISTED, CALLER_WHITELISTED))
        if verdict.entry:
            assert lists[verdict.list].find(caller, region) == verdict.entry
        assert not set(verdict.missing) & set(lists)

    def test_a_blacklist_goes_before_a_whitelist(self) -> None:
        lists = {"spam": list_of("p139"), "vip": list_of("n13912345678", id="vip")}
        rules = ScreeningRules(("spam",), ("vip",))
        assert judge(rules, lists.get, MOBILE, None) == Verdict(True, CALLER_BLACKLISTED, "p139", "spam")

    def test_a_whitelist_gives_priority(self) -> None:
        lists = {"vip": list_of("n13912345678", id="vip")}
        verdict = judge(ScreeningRules((), ("vip",)), lists.get, MOBILE, None)
        assert verdict == Verdict(False, CALLER_WHITELISTED, "n13912345678", "vip", priority=True)

    def test_who_refuses_anonymous_callers_means_those_on_a_whitelist_too(self) -> None:
        rules = ScreeningRules((), ("vip",), refuse_anonymous=True)
        assert judge(rules, {"vip": list_of("x", id="vip")}.get, ANONYMOUS, None).reason == CALLER_ANONYMOUS

    def test_a_missing_blacklist_refuses_nobody_and_is_told(self) -> None:
        verdict = judge(ScreeningRules(("gone",)), {}.get, MOBILE, None)
        assert verdict == Verdict(False, CALLER_UNLISTED, missing=("gone",))

    def test_a_missing_whitelist_opens_nothing_and_is_told(self) -> None:
        lists = {"vip": list_of("n13912345678", id="vip")}
        rules = ScreeningRules((), ("gone", "vip"), whitelist_only=True)
        assert not judge(rules, lists.get, MOBILE, None).refused
        verdict = judge(rules, lists.get, Caller(CallerKind.MOBILE, "13800000000"), None)
        assert verdict == Verdict(True, CALLER_NOT_WHITELISTED, missing=("gone",))

    def test_without_rules_everybody_may_call(self) -> None:
        assert judge(ScreeningRules(), {}.get, ANONYMOUS, None) == Verdict(False, CALLER_UNLISTED)
