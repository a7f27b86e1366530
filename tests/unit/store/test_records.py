"""Numbers, lines and pages of screening lists as short records."""

from __future__ import annotations

import sys
from dataclasses import fields
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.objects import DialStage, Limits, Line, MediaMode, Number, Transport
from signalbox.domain.screening import Page, ScreeningRules
from signalbox.store import keys, records


class Words:
    """Words in memory, given in the order asked."""

    def __init__(self) -> None:
        self.words: dict[str, bytes] = {}

    def word(self, text: str) -> bytes:
        return self.words.setdefault(text, records.integer(len(self.words)))

    def text(self, word: bytes) -> str:
        return next(text for text, given in self.words.items() if given == word)


ids = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
digits = st.from_regex(r"[0-9]{3,15}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
counts = st.none() | st.integers(1, 2**32 - 1)

stages = st.builds(
    DialStage, st.lists(ids | texts, min_size=1, max_size=8).map(tuple), st.just(30_000) | st.integers(1, 10**6)
)
screening = st.builds(
    ScreeningRules,
    st.lists(ids, max_size=3).map(tuple),
    st.lists(ids, max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
)
numbers = st.builds(
    Number,
    digits,
    ids | texts,
    st.lists(stages, max_size=4).map(tuple),
    st.booleans(),
    st.sampled_from(MediaMode),
    st.just("") | ids,
    screening,
    st.builds(Limits, counts, counts, counts),
    st.just("") | ids,
    st.integers(0, 86_400),
)
hosts = st.just("") | st.ip_addresses().map(str) | texts
lines = st.builds(
    Line,
    ids,
    ids,
    texts | st.from_regex(r"\+?[0-9]{1,63}", fullmatch=True),
    hosts,
    st.integers(0, 65_535),
    st.sampled_from(Transport),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.just("") | st.from_regex(r"[0-9]{1,8}", fullmatch=True),
)


@given(numbers)
def test_a_number_comes_back_as_it_was(number: Number) -> None:
    words = Words()
    key, record = records.number_key(number.number), records.encode_number(number, words.word)
    assert records.decode_number(records.number_of(key), record, words.text) == number


@given(lines)
def test_a_line_comes_back_as_it_was(line: Line) -> None:
    assert records.decode_line(line.tenant, line.id, records.encode_line(line)) == line


def test_nothing_that_decisions_need_is_forgotten() -> None:
    """Whoever adds a field adds it to the records, to these tests and to the version."""
    assert {len(fields(Number)), len(fields(Line))} == {10, 9}
    assert (len(fields(Limits)), len(fields(DialStage)), len(fields(ScreeningRules))) == (3, 2, 4)


@given(st.lists(digits, unique=True))
def test_keys_of_numbers_are_in_the_order_of_the_stores(given: list[str]) -> None:
    assert sorted(given, key=keys.number) == sorted(given, key=records.number_key)
    assert [records.number_of(records.number_key(one)) for one in given] == given


@given(st.lists(ids | st.just("") | st.text("-019az", max_size=9), unique=True))
def test_keys_of_lines_are_in_the_order_of_the_stores(given: list[str]) -> None:
    tenant = records.integer(300)
    assert sorted(given, key=lambda id: records.line_key(tenant, id)) == sorted(given)
    assert [records.unpack_id(records.pack_id(one)) for one in given] == given


@given(st.lists(st.integers(0, 2**35 - 1), unique=True))
def test_integers_are_in_their_order_and_none_begins_another(given: list[int]) -> None:
    written = [records.integer(one) for one in sorted(given)]
    for one, next in pairwise(written):
        assert one < next
        assert not next.startswith(one)


@pytest.mark.parametrize("text", ["", "40a1", "٤٠٠", "+86", "4 0"])
def test_what_is_no_number_has_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        records.number_key(text)


@pytest.mark.parametrize("text", ["Front", "a_b", "é", "a/b"])
def test_what_is_no_id_has_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        records.line_key(b"\1", text)


def test_what_is_too_large_for_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        records.integer(2**35)


def test_the_usual_ones_are_short() -> None:
    words = Words()
    words.words = {f"word-{n}": records.integer(n) for n in range(100_000)}
    flow = Number("4001234567", "word-70000", (), flow="word-99999")
    own = Number("4001234567", "word-70000", (DialStage(("l-4001234567",)),))
    line = Line("word-70000", "l-4001234567", "13800001234", "")
    assert len(records.encode_number(flow, words.word)) == 7
    assert len(records.encode_number(own, words.word)) == 13
    assert len(records.number_key("4001234567")) == 6
    assert len(records.line_key(words.word(line.tenant), line.id)) == 12
    assert len(records.encode_line(line)) == 7
    assert len(records.encode_line(Line("acme", "front", "100", "192.0.2.7", 5080))) == 9


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x04\x00"])
def test_half_a_record_is_refused(record: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        records.decode_number("4001234567", record, lambda word: "acme")


ENTRIES = st.sets(
    st.text("0123456789", min_size=3, max_size=20).map("n{}".format)
    | st.text("0123456789", min_size=1, max_size=19).map("p{}".format)
    | st.sampled_from(["r内蒙古", "a0471", "x"])
)


@given(ENTRIES)
def test_a_page_of_a_screening_list_is_looked_at_where_its_record_lies(entries: set[str]) -> None:
    page = Page.of(entries)
    record = memoryview(records.encode_screening_page(page))
    found = records.decode_screening_page(record)
    assert isinstance(found.codes, memoryview)
    assert set(found.entries()) == entries
    assert found.prefix_lengths == page.prefix_lengths
    for entry in entries:
        assert entry in found
        assert (entry + "0" in found) == (entry + "0" in entries)


@pytest.mark.parametrize("record", [b"", b"1234567", bytes(8), (3).to_bytes(8, sys.byteorder) + bytes(8), b"\xff" * 16])
def test_what_is_no_page_of_a_screening_list_is_told(record: bytes) -> None:
    with pytest.raises((ValueError, IndexError, TypeError)):
        records.decode_screening_page(memoryview(record))
