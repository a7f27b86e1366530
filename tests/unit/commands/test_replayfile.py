"""Files of past calls, sound and damaged."""

from __future__ import annotations

import io
import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.commands.replayfile import LINE_BYTES_MAX, Damaged, read
from signalbox.domain.replay import PastCall, Recorded
from support.replay import FRIDAY_MS, as_csv, as_json, record

HEAD = b"called,begin_ms,calling\n"


def parsed(content: bytes, **options: bool) -> list[PastCall | Damaged]:
    return list(read(io.BytesIO(content), "calls", lambda _: None, **options))


def test_both_forms_say_the_same() -> None:
    records = [record(1, why="dial", number="4008001234", tried="desk=486 mobile"), record(2, called="+864008001234")]
    found = parsed(as_csv(records).encode())
    assert found == parsed(as_json(records).encode())
    assert found[0] == PastCall(
        "call-1",
        "4008001234",
        "13800001234",
        FRIDAY_MS / 1000 + 1,
        FRIDAY_MS / 1000 + 61,
        "carrier",
        recorded=Recorded("dial", "4008001234", ("desk", "mobile")),
    )


def test_columns_stand_in_any_order_and_others_may_be_added() -> None:
    (call,) = parsed(b"begin_ms,asserted,other,diversions,called\n1000,13900001234,x,3,4008001234\n")
    assert isinstance(call, PastCall)
    assert (call.begin, call.asserted, call.diversions, call.calling) == (1.0, "13900001234", 3, "")


def test_marks_and_empty_lines_are_nothing() -> None:
    assert len(parsed(b"\xef\xbb\xbf" + HEAD + b"\r\n4001,5,a\r\n\n4001,6,b")) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"4001,5", "2 columns, the head line has 3"),
        (b"4001,5,a,b", "4 columns"),
        (b'4001,5,"a', "no row of CSV"),
        (b"4001,5,\xff", "is not UTF-8"),
        (b",5,a", "called: is empty"),
        (b"4001,,a", "begin_ms: '' is no number"),
        (b"4001,0,a", "begin_ms: 0 is no time"),
        (b"4001,-5,a", "begin_ms: '-5' is no number"),
        (b"4001,999999999999999999,a", "is no time"),
        (b"4001,1.5,a", "is no number"),
        ("4001,５,a".encode(), "is no number"),
        (b"4" * 65 + b",5,a", "called: longer than 64"),
        (b"4001,5,\x1b[1m", "calling: has control characters"),
        (b"4" * LINE_BYTES_MAX + b",5,a", "longer than 65536 bytes"),
    ],
)
def test_a_damaged_row_is_told_and_no_other_is_lost(row: bytes, why: str) -> None:
    before, damaged, after = parsed(HEAD + b"4001,5,a\n" + row + b"\n4001,6,b\n")
    assert isinstance(damaged, Damaged)
    assert (damaged.line, why in damaged.why) == (3, True), damaged
    assert isinstance(before, PastCall)
    assert isinstance(after, PastCall)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ("{} {}", "is no JSON"),
        ('{"called": 4001, "begin_ms": 5}', "called: is no text"),
        ('{"called": "4001", "begin_ms": true}', "begin_ms: 'True' is no number"),
        ('{"called": "4001", "begin_ms": 5, "end_ms": []}', "end_ms"),
        ('{"called": "4001"}', "begin_ms: 0 is no time"),
        ("[" * 50_000, "is no JSON"),
    ],
)
def test_a_damaged_line_of_json(line: str, why: str) -> None:
    good = json.dumps({"called": "4001", "begin_ms": 5})
    _, damaged, after = parsed(f"{good}\n{line}\n{good}\n".encode())
    assert isinstance(damaged, Damaged)
    assert (damaged.line, why in damaged.why) == (2, True), damaged
    assert isinstance(after, PastCall)


def test_calls_out_of_order_are_damage_where_the_order_matters() -> None:
    rows = HEAD + b"4001,5,a\n4001,4,b\n4001,5,c\n"
    assert not any(isinstance(one, Damaged) for one in parsed(rows))
    assert [type(one) for one in parsed(rows, ordered=True)] == [PastCall, Damaged, PastCall]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"a,b\n1,2\n", "no called and no begin_ms"), (b"called\n1\n", "no begin_ms"), (b'"called\n', "the head line")],
)
def test_a_file_that_is_none_of_calls(content: bytes, why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        parsed(content)


def test_an_empty_file_has_no_calls() -> None:
    assert parsed(b"") == []


def test_all_bytes_are_accounted_for() -> None:
    moved: list[int] = []
    content = HEAD + b"4001,5,a\n" * 3
    list(read(io.BytesIO(content), "calls", moved.append))
    assert sum(moved) == len(content)


@given(st.lists(st.binary(max_size=60).filter(lambda raw: raw.strip(b"\r\n") and b"\n" not in raw), max_size=8))
def test_whatever_stands_in_a_line_it_is_a_call_or_damage(lines: list[bytes]) -> None:
    found = parsed(HEAD + b"".join(line + b"\n" for line in lines))
    assert len(found) == len(lines)
