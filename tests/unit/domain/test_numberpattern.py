"""Patterns of numbers: what they mean, and that the search over millions finds what they mean, no more and no less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.numberpattern import PatternError, fits, parse
from signalbox.domain.numbersearch import ROW, Found, Shelf, interval, scan


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("ends:888", ["4001234888"], ["4008881234", "4001238880"]),
        ("starts:4008", ["4008123456"], ["4001400812"]),
        ("contains:520", ["4005201234", "4001234520", "4001520123"], ["4005021234"]),
        ("AABB", ["4001231122", "4001239900"], ["4001231111", "4001122123", "4001231221"]),
        ("ends:ABAB", ["4001231212"], ["4001231111", "4001231221"]),
        ("AAA", ["4001234888"], ["4001234889"]),
        ("AAAA", ["4001238888"], ["4001234888"]),
        ("ABCD", ["4001231234", "4001236789"], ["4001234321", "4001237890", "4001231357"]),
        ("DCBA", ["4001234321", "4001233210"], ["4001231234", "4001230987"]),
        ("contains:AABB", ["4001122345", "4001234455"], ["4001212345", "4010101234"]),
        ("contains:ABCABC", ["4007127128", "4001231237"], ["4001112112"]),
        ("contains:ABCDEF", ["4001234567", "4009012345"], ["4003456189"]),
        ("8A8A", [], ["4001238181"]),
        ("ends:8A8A", ["4001238181", "4001238282"], ["4001238182"]),
        ("400????88?", ["4001234881", "4001238880"], ["4001238818"]),
        ("without:4", ["4001235678", "4440000000"], ["4001234567", "4004000000"]),
        ("without:47", ["4001235688"], ["4001235678"]),
        ("ends:8 without:4", ["4001235678"], ["4001235679", "4001245678"]),
        ("without:4 without:7", ["4001235688"], ["4001235678", "4001235648"]),
        ("ends:A?A", ["4001234181", "4001234111"], ["4001234182"]),
        ("400123456789", [], ["4001234567"]),
        ("ends:012345678901", [], ["4001234567"]),
        ("", ["4001234567"], []),
    ],
)
def test_what_a_pattern_means(pattern: str, fitting: list[str], others: list[str]) -> None:
    parsed = parse(pattern)
    assert [number for number in fitting if not fits(parsed, number)] == []
    assert [number for number in others if fits(parsed, number)] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ends:", "'ends:': 1 to 15 of 0-9, A-F and ? are expected"),
        ("ends:12x", "'ends:12x': 1 to 15 of"),
        ("ends:GG", "1 to 15 of"),
        ("begins:1", "'begins:1': must begin with starts:, ends:, contains: or without:"),
        ("without:A", "'without:A': 1 to 9 digits"),
        ("without:0123456789", "1 to 9 digits"),
        ("ends:1234567890123456", "1 to 15 of"),
        ("ends:٣", "1 to 15 of"),
        ("aabb", "'aabb': 1 to 15 of"),
        ("AABB " * 7, "must have at most 6 words"),
        ("contains:1 contains:2 contains:3 contains:4", "must have at most 3 words that begin with contains:"),
        ("1" * 101, "must have at most 100 characters"),
    ],
)
def test_what_is_no_pattern_is_told(text: str, told: str) -> None:
    with pytest.raises(PatternError, match=r"must|expected") as refusal:
        parse(text)
    assert told in str(refusal.value)


_operand = st.text("0123456789AAABBBCCDEF?", min_size=1, max_size=6)
_word = st.one_of(
    st.builds("ends:{}".format, _operand),
    st.builds("starts:{}".format, st.builds("4{}".format, st.text("0189A?", max_size=3))),
    st.builds("contains:{}".format, _operand),
    st.builds("without:{}".format, st.text("0123456789", min_size=1, max_size=3)),
    st.sampled_from(["AAA", "AABB", "ABAB", "ABCD", "DCBA", "ABC", "FEDCBA", "contains:ABCD", "contains:CBA"]),
)
_pattern = st.lists(_word, max_size=3).map(" ".join)


def search(shelf: Shelf, bits: np.ndarray, pattern: str, limit: int, after: str = "") -> Found:  # type: ignore[type-arg]
    found = Found(limit)
    for _ in scan(shelf, parse(pattern), lambda rows: bits[rows].copy(), after, found):
        pass
    return found


@settings(max_examples=150, deadline=None)
@given(_pattern, st.integers(5, 11), st.data())
def test_the_search_finds_what_the_pattern_means(pattern: str, length: int, data: st.DataObject) -> None:
    """Against every number of some rows judged one by one."""
    heads = data.draw(st.sets(st.integers(10 ** (length - 5), 10 ** (length - 4) - 1), min_size=1, max_size=2))
    shelf = Shelf(length, np.array(sorted(heads), dtype=np.int64))
    seed = data.draw(st.integers(0, 2**32 - 1))
    free = np.random.default_rng(seed).random((len(shelf), ROW)) < 0.3
    parsed = parse(pattern)
    expected = [
        text
        for row in range(len(shelf))
        for low in np.flatnonzero(free[row])
        if fits(parsed, text := shelf.text(row, int(low)))
    ]
    bits = np.packbits(free, axis=1)
    found = search(shelf, bits, pattern, 10**6)
    assert (found.numbers, found.total, found.more) == (expected, len(expected), False)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.sampled_from(["", "AAB", "ends:8", "contains:11"]))
def test_pages_are_all_of_it_in_order(size: int, pattern: str) -> None:
    shelf = Shelf(8, np.array([9510, 9511, 9600], dtype=np.int64))
    free = np.random.default_rng(size).random((3, ROW)) < 0.1
    bits = np.packbits(free, axis=1)
    whole = search(shelf, bits, pattern, 10**6)
    pages: list[str] = []
    while True:
        page = search(shelf, bits, pattern, size, pages[-1] if pages else "")
        assert page.total == whole.total
        pages += page.numbers
        if not page.more:
            break
    assert pages == whole.numbers


def test_the_set_that_is_searched_is_not_changed() -> None:
    shelf = Shelf(10, np.arange(400_000, 400_300))
    bits = np.full((300, ROW // 8), 255, dtype=np.uint8)
    assert search(shelf, bits, "contains:520 AABB", 5).total > 0
    assert bits.all()


@pytest.mark.parametrize(
    ("first", "last"), [("40000003", "40000003"), ("39999999", "40010000"), ("40005000", "40024999")]
)
def test_an_interval_is_its_numbers(first: str, last: str) -> None:
    shelf = Shelf(8, np.array([4000, 4001, 4002]))
    bits = interval(shelf, slice(0, 3), first, last)
    numbers = {4000_0000 + int(place) for place in np.flatnonzero(np.unpackbits(bits))}
    assert numbers == set(range(40000000, 40030000)) & set(range(int(first), int(last) + 1))


def test_which_row_a_number_lies_in() -> None:
    shelf = Shelf(8, np.array([4000, 4002]))
    assert [shelf.row(head) for head in (3999, 4000, 4001, 4002, 4003)] == [None, 0, None, 1, None]
