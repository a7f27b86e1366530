"""Entries of screening lists as people write them, and as they are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList
from signalbox.domain.numbering import caller
from signalbox.domain.screening import EMPTY, Page, page_of
from signalbox.domain.screening import ScreeningList as Screened
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import validate_screening
from signalbox.provisioning.validate_screening import ENTRIES_MAX, entries


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        (ScreeningEntry(number="13912345678"), "n13912345678"),
        (ScreeningEntry(number="+86 139-1234-5678"), "n13912345678"),
        (ScreeningEntry(number="008613912345678"), "n13912345678"),
        (ScreeningEntry(number="+861088886666"), "n01088886666"),
        (ScreeningEntry(number="+442071234567"), "n00442071234567"),
        (ScreeningEntry(number="10086"), "n10086"),
        (ScreeningEntry(number="123456789012345678"), "n123456789012345678"),
        (ScreeningEntry(prefix="1391234"), "p1391234"),
        (ScreeningEntry(prefix="+86139"), "p139"),
        (ScreeningEntry(prefix="+86 10"), "p010"),
        (ScreeningEntry(prefix="0086471"), "p0471"),
        (ScreeningEntry(prefix="+860471"), "p0471"),
        (ScreeningEntry(prefix="+44"), "p0044"),
        (ScreeningEntry(prefix="0"), "p0"),
        (ScreeningEntry(province="内蒙古自治区"), "r内蒙古"),
        (ScreeningEntry(province="广西壮族自治区"), "r广西"),
        (ScreeningEntry(province="北京市"), "r北京"),
        (ScreeningEntry(province=" 香港特别行政区"), "r香港"),
        (ScreeningEntry(province="四川"), "r四川"),
        (ScreeningEntry(area_code="0471"), "a0471"),
        (ScreeningEntry(anonymous=True), "x"),
    ],
)
def test_an_entry_is_kept_in_national_form(entry: ScreeningEntry, kept: str) -> None:
    assert entries([entry]) == [kept]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (ScreeningEntry(), ""),
        (ScreeningEntry(number=""), ".number"),
        (ScreeningEntry(number="12"), ".number"),
        (ScreeningEntry(number="1" * 21), ".number"),
        (ScreeningEntry(number="anonymous"), ".number"),
        (ScreeningEntry(number="1391234567x"), ".number"),
        (ScreeningEntry(prefix=""), ".prefix"),
        (ScreeningEntry(prefix="1" * 20), ".prefix"),
        (ScreeningEntry(prefix="139*"), ".prefix"),
        (ScreeningEntry(prefix="+86"), ".prefix"),
        (ScreeningEntry(prefix="+861"), ".prefix"),
        (ScreeningEntry(prefix="१३९"), ".prefix"),
        (ScreeningEntry(province="Beijing"), ".province"),
        (ScreeningEntry(province=""), ".province"),
        (ScreeningEntry(area_code="471"), ".area_code"),
        (ScreeningEntry(area_code="0100"), ".area_code"),
        (ScreeningEntry(anonymous=False), ".anonymous"),
    ],
)
def test_a_bad_entry_is_named_by_its_index(entry: ScreeningEntry, field: str) -> None:
    good = ScreeningEntry(prefix="139")
    with pytest.raises(InvalidFieldError) as refused:
        entries([good, good, entry, good])
    assert [violation.field for violation in refused.value.violations] == [f"entries[2]{field}"]


def test_every_bad_entry_is_told_up_to_a_number() -> None:
    with pytest.raises(InvalidFieldError) as refused:
        entries([ScreeningEntry()] * 3)
    assert [violation.field for violation in refused.value.violations] == [f"entries[{n}]" for n in range(3)]
    with pytest.raises(InvalidFieldError) as refused:
        entries([ScreeningEntry()] * ENTRIES_MAX)
    assert len(refused.value.violations) == validate_screening.VIOLATIONS_MAX


@pytest.mark.parametrize("count", [0, ENTRIES_MAX + 1])
def test_a_request_has_entries_and_not_too_many(count: int) -> None:
    with pytest.raises(InvalidFieldError, match="entries"):
        entries([ScreeningEntry(anonymous=True)] * count)


def test_an_entry_counts_once_however_it_is_written() -> None:
    twice = [ScreeningEntry(number="13912345678"), ScreeningEntry(number="+8613912345678")]
    assert entries(twice) == ["n13912345678"]


@given(st.from_regex(r"(\+|00|0|86|\+86)?[0-9]{3,13}", fullmatch=True))
def test_a_caller_is_found_by_the_number_that_was_written(written: str) -> None:
    """However a number is written, in the list or by the network: they meet."""
    calling = caller(written, "")
    if calling.number:
        (kept,) = entries([ScreeningEntry(number=written)])
        screened = Screened("", "spam", lambda number: Page.of([kept]) if number == page_of(kept) else EMPTY)
        assert screened.find(calling, None) == kept


@pytest.mark.parametrize(
    ("given_list", "fields"),
    [
        (ScreeningList(tenant="acme", id="spam", display_name="Spam"), []),
        (ScreeningList(id="spam"), []),
        (ScreeningList(tenant="A", id=""), ["screening_list.tenant", "screening_list.id"]),
        (ScreeningList(id="spam", display_name="x" * 201), ["screening_list.display_name"]),
    ],
)
def test_a_list(given_list: ScreeningList, fields: list[str]) -> None:
    assert [violation.field for violation in validate_screening.screening_list(given_list)] == fields
