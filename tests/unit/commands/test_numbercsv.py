"""Numbers as rows of CSV files."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.commands import numbercsv
from signalbox.commands.numbercsv import COLUMNS, CellError, Header
from signalbox.provisioning import validate


def read(lines: str, ring_time: str = "") -> bulk_pb2.NumberRow:
    return Header(["number", "tenant", "lines", "ring_time_s"]).row(["4001234567", "acme", lines, ring_time])


def dialled(row: bulk_pb2.NumberRow) -> list[list[str]]:
    return [list(stage.lines) for stage in row.number.stages]


def test_lines_by_id_by_address_and_by_both() -> None:
    row = read("front-desk; 01088886666 | +8613800001234 ;desk:1001@192.0.2.7:5070/tcp;1001@[2001:db8::1]")
    sip = dialled(row)[3][0]
    assert dialled(row)[:3] == [["front-desk"], ["t01088886666", "p8613800001234"], ["desk"]]
    assert {line.id: (line.user, line.host, line.port) for line in row.lines} == {
        "t01088886666": ("01088886666", "", 0),
        "p8613800001234": ("+8613800001234", "", 0),
        "desk": ("1001", "192.0.2.7", 5070),
        sip: ("1001", "2001:db8::1", 0),
    }
    assert row.lines[2].transport == types_pb2.SIP_TRANSPORT_TCP
    assert sip == dialled(read("1001@[2001:db8::1]"))[0][0] != dialled(read("1001@[2001:db8::2]"))[0][0]
    for line in row.lines:
        line.tenant = "acme"
        assert list(validate.line(line)) == []


def test_one_line_twice_in_a_row_comes_with_it_once() -> None:
    row = read("13800001234;13800001234;a:13800001235;a")
    assert (len(row.lines), dialled(row)) == (2, [["t13800001234"], ["t13800001234"], ["a"], ["a"]])


@pytest.mark.parametrize(
    ("lines", "ring_time", "column", "reason"),
    [
        ("a;;b", "", "lines", "is no line"),
        ("1001@192.0.2.7/sctp", "", "lines", "must end in /udp or /tcp"),
        ("1001@192.0.2.7:99999", "", "lines", "must end in a port"),
        ("a:13800001234;a:13800001235", "", "lines", "is another address of line a"),
        ("a;b", "10;20;30", "ring_time_s", "has 3 times for 2 stages"),
        ("a", "soon", "ring_time_s", "must be seconds"),
        ("", "20", "ring_time_s", "there are no lines to ring"),
    ],
)
def test_lines_that_cannot_be(lines: str, ring_time: str, column: str, reason: str) -> None:
    with pytest.raises(CellError, match=reason) as caught:
        read(lines, ring_time)
    assert caught.value.column == column


def test_ring_times_for_all_stages_or_for_each() -> None:
    assert [stage.ring_time.ToMilliseconds() for stage in read("a;b", "20.5").number.stages] == [20500, 20500]
    stages = read("a;b;c", "20; ;30").number.stages
    assert [stage.ring_time.ToSeconds() if stage.HasField("ring_time") else None for stage in stages] == [20, None, 30]


def test_what_spreadsheets_do_to_digits_is_undone() -> None:
    row = Header(["Number ", "TENANT", "state", "flow"]).row(["'4001234567", ' ="acme" ', "Suspended", " main "])
    assert (row.number.number, row.number.tenant, row.number.flow) == ("4001234567", "acme", "main")
    assert row.number.state == types_pb2.NUMBER_STATE_SUSPENDED


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("state", "sleeping", "must be active or suspended"),
        ("media", "on", "must be anchor, bypass or record"),
        ("concurrent_calls", "many", "must be a whole number"),
        ("calls_per_second", "4294967296", "must be a whole number"),
        ("max_call_duration_s", "-1", "must be a whole number"),
        ("whitelist_only", "perhaps", "must be true or false"),
    ],
)
def test_cells_that_cannot_be_what_their_column_is(column: str, cell: str, reason: str) -> None:
    with pytest.raises(CellError, match=reason) as caught:
        Header(["number", "tenant", column]).row(["4001234567", "acme", cell])
    assert caught.value.column == column


def test_a_row_has_as_many_cells_as_the_header() -> None:
    with pytest.raises(CellError, match="has 1 cells, the header 2"):
        Header(["number", "tenant"]).row(["4001234567"])


@pytest.mark.parametrize(
    ("names", "tenant", "reason"),
    [
        (["number", "tenant", "colour"], "", "unknown column 'colour'; columns are number, tenant, "),
        (["number", "tenant", "flow", "flow"], "", "column 'flow' is there twice"),
        (["tenant"], "", "no column 'number'"),
        (["number"], "", "the tenant must be given"),
        (["number", "tenant"], "acme", "the file has tenants itself"),
        (["number", "tenant", "ring_time_s"], "", "needs column 'lines'"),
    ],
)
def test_headers_that_cannot_be(names: list[str], tenant: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Header(names, tenant)


def test_columns_that_are_not_there_are_left_out_of_the_mask() -> None:
    header = Header(["number", "concurrent_calls", "line", "reason"], "acme")
    assert header.mask == ["limits.concurrent_calls"]
    row = header.row(["4001234567", "5", "17", "flow: there is none"])
    assert (row.number.tenant, row.number.limits.concurrent_calls) == ("acme", 5)
    assert Header(["number", "tenant", "lines"]).mask == Header(["number", "tenant", "flow"]).mask == ["stages", "flow"]


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("number.stages[0].lines[1]", "lines"),
        ("number.stages[0].ring_time", "ring_time_s"),
        ("lines[0].user", "lines"),
        ("number.limits", "limits"),
        ("number.limits.concurrent_calls", "concurrent_calls"),
        ("number.screening.blacklists[3]", "blacklists"),
        ("number.max_call_duration", "max_call_duration_s"),
        ("number.number", "number"),
    ],
)
def test_fields_are_told_by_their_columns(field: str, column: str) -> None:
    assert numbercsv.column_of(field) == column


ids = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
users = st.from_regex(r"[A-Za-z0-9\-_.!~*'()&=+$,]{1,64}", fullmatch=True)
hosts = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)


@st.composite
def number_rows(draw: Any) -> bulk_pb2.NumberRow:
    row = bulk_pb2.NumberRow(
        number=types_pb2.Number(number=draw(st.from_regex(r"[0-9]{3,15}", fullmatch=True)), tenant="acme")
    )
    number = row.number
    number.state = draw(st.integers(0, 2))
    number.media = draw(st.integers(0, 3))
    for field in ("concurrent_calls", "calls_per_second", "calls_per_month"):
        value = draw(st.none() | st.integers(0, 2**32 - 1))
        if value is not None:
            setattr(number.limits, field, value)
    number.screening.blacklists.extend(draw(st.lists(ids, max_size=3, unique=True)))
    number.screening.whitelist_only = draw(st.booleans())
    if draw(st.booleans()):
        number.max_call_duration.seconds = draw(st.integers(10, 86400))
    number.flow = draw(st.just("") | ids)
    for _ in range(0 if number.flow else draw(st.integers(1, 4))):
        stage = number.stages.add(lines=[])
        if draw(st.booleans()):
            stage.ring_time.CopyFrom(
                Duration(seconds=draw(st.integers(1, 180)), nanos=draw(st.integers(0, 999)) * 10**6)
            )
        for _ in range(draw(st.integers(1, 3))):
            line = types_pb2.Line(user=draw(users), host=draw(hosts), port=draw(st.integers(0, 65535)))
            if draw(st.booleans()):
                line = types_pb2.Line(user=draw(st.from_regex(r"\+?[0-9]{3,20}", fullmatch=True)))
            else:
                line.transport = draw(st.integers(0, 2))
            line.id = draw(ids.map(lambda id: f"x{id}") | st.just(numbercsv.line_id(line)))
            if line.id not in {one.id for one in row.lines}:
                row.lines.append(line)
            stage.lines.append(line.id)
    return row


@given(number_rows())
def test_what_is_written_is_read_as_it_was(row: bulk_pb2.NumberRow) -> None:
    again = Header(list(COLUMNS)).row(numbercsv.cells(row))
    assert again.number.stages == row.number.stages
    assert {line.id: line for line in again.lines} == {line.id: line for line in row.lines}
    if not row.number.screening.ListFields():
        row.number.ClearField("screening")
    assert again.number == row.number
