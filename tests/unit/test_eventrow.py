"""Rows of proxies and workers become events, and damaged ones an error."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.events.v1 import events_pb2
from signalbox.eventrow import EventRowError, Row, kind, parse, split, written


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def row(text: str, code: str = "", outcome: str = "") -> str:
    return f"INVITE|tag-a|tag-b|id@host|{code}|{text}|1795318705|1795318705.386123|edge-1-1795318705-1-2|{outcome}"


def test_time_and_call_id_are_those_of_the_row():
    event = parse(row("R line-1 180"))
    assert event.call_id == "edge-1-1795318705-1-2"
    assert event.time.ToMilliseconds() == 1795318705386
    assert (event.proxy, event.sequence) == ("", 0)


def test_asked():
    event = parse(row(f"Q trunk-a 192.0.2.1 {b64('4001234567')} {b64('1380')} {b64('id@host')}"))
    assert event.asked == events_pb2.Asked(
        trunk="trunk-a", called="4001234567", calling="1380", sip_call_id="id@host", source_address="192.0.2.1"
    )


def test_asked_without_a_calling_number():
    assert parse(row(f"Q trunk-a 192.0.2.1 {b64('4001234567')}  {b64('id@host')}")).asked.calling == ""


def test_a_leg_names_the_call_that_it_is_for():
    event = parse(row(f"Q _voice 192.0.2.1 {b64('4001234567')} {b64('1380')} {b64('id@host')} edge-1-1795318705-1-2"))
    assert event.asked.parent == "edge-1-1795318705-1-2"
    assert event.asked.sip_call_id == "id@host"


def test_a_call_of_its_own_has_no_parent():
    assert parse(row(f"Q trunk-a 192.0.2.1 {b64('4001234567')}  {b64('id@host')} ")).asked.parent == ""


def test_decided_knows_how_long_it_took():
    event = parse(row("D 1795318705.376000 dial last_good dial tenant-1 4001234567 7 "))
    assert event.decided == events_pb2.Decided(
        action="dial", why="dial", tenant="tenant-1", number="4001234567",
        source=events_pb2.DECISION_SOURCE_LAST_GOOD, media_node=7, took_ms=10,
    )  # fmt: skip


def test_an_unusable_decision_is_kept():
    assert parse(row(f"D 1795318705.376   unusable   0 {b64('{nonsense')}")).decided.unusable_decision == "{nonsense"


def test_line_events():
    assert parse(row(f"T line-1 2 {b64('sip:1@192.0.2.7')}")).line_tried == events_pb2.LineTried(
        line="line-1", stage=2, uri="sip:1@192.0.2.7"
    )
    assert parse(row("R line-1 183")).ringing == events_pb2.Ringing(line="line-1", code=183)
    assert parse(row(f"L line-1 486 {b64('Busy Here')}")).line_failed == events_pb2.LineFailed(
        line="line-1", code=486, phrase="Busy Here"
    )
    assert parse(row("L line-1 408 ")).line_failed == events_pb2.LineFailed(line="line-1", code=408)


def test_hung_up():
    event = parse(row(f"H line {b64('Q.850;cause=16')}"))
    assert event.hung_up == events_pb2.HungUp(party=events_pb2.PARTY_LINE, cause="Q.850;cause=16")


def test_final_replies():
    assert parse(row("OK", "200", "line-1 3")).answered == events_pb2.Answered(line="line-1", media_node=3)
    assert parse(row("OK", "200", "ivr-1 0 w")).answered == events_pb2.Answered(line="ivr-1")
    assert parse(row("Busy | Here", "486")).failed == events_pb2.Failed(code=486, phrase="Busy | Here")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "INVITE|a|b|c",
        " folded|tag|tag|id||R line-1 180|1|1.0|edge-1|",
        row("X what"),
        row("Q trunk-a 192.0.2.1 NDAw  aWQ= parent more"),
        row("W"),
        row("W ###"),
        row("W " + base64.b64encode(b"\xff\xff").decode()),
        row("R line-1"),
        row("R line-1 ringing"),
        row("T line-1 2 ###"),
        row("H nobody "),
        row("D 1 dial nobody dial t n 0 "),
        row("OK", "200", ""),
        row("OK", "2xx", "line-1 3"),
        row("OK", "200", "line-1 3 x"),
        row("OK", "200", "line-1 3 w w"),
        row("R line-1 180").replace("1795318705.386123", "soon"),
        row("R line-1 180").replace("1795318705.386123", "NaN"),
        row("R line-1 180").replace("1795318705.386123", "1e99"),
        row("R line-1 180").replace("edge-1-1795318705-1-2", ""),
    ],
)
def test_a_damaged_row_is_an_error(bad):
    with pytest.raises(EventRowError):
        parse(bad)


@given(st.text())
def test_any_text_is_an_event_or_an_event_row_error(text):
    for candidate in (text, row(text), row(text, "486"), row(text, "200", text)):
        with contextlib.suppress(EventRowError):
            parse(candidate)


def test_what_ends_a_call_from_outside_is_read():
    parts = ["id@host", "<sip:1@h>;tag=c", "<sip:2@h>;tag=l", "<sip:1@192.0.2.9>", "<sip:2@192.0.2.7>", "<sip:p;lr>"]
    event = parse(row(f"C line-1 3600 7 tag-b {' '.join(map(b64, parts))}"))
    assert event.connected == events_pb2.Connected(
        line="line-1", max_duration_s=3600, cseq=7, line_tag="tag-b", sip_call_id=parts[0], from_header=parts[1],
        to_header=parts[2], caller_contact=parts[3], line_contact=parts[4], record_route=parts[5],
    )  # fmt: skip
    event = parse(row(f"U line tag-b 3 {b64('<sip:2@h>')}"))
    assert event.dialog_changed == events_pb2.DialogChanged(
        party=events_pb2.PARTY_LINE, line_tag="tag-b", cseq=3, contact="<sip:2@h>"
    )
    assert parse(row("U caller tag-b 3 ")).dialog_changed.contact == ""
    assert parse(row("H signalbox  tag-b")).hung_up == events_pb2.HungUp(
        party=events_pb2.PARTY_SIGNALBOX, line_tag="tag-b"
    )


def test_a_recording_that_is_promised():
    event = parse(row(f"S line-1 7 acme 4001234567 tag-b tag-c 192.0.2.9:4000 [2001:db8::7]:4002 {b64('1380')}"))
    assert event.recording_started == events_pb2.RecordingStarted(
        line="line-1", media_node=7, tenant="acme", number="4001234567", caller_tag="tag-b", line_tag="tag-c",
        caller_media="192.0.2.9:4000", line_media="[2001:db8::7]:4002", caller="1380",
    )  # fmt: skip


def test_a_recording_of_which_little_is_known():
    event = parse(row("S line-1 7 acme 4001234567 tag-b tag-c - - "))
    assert event.recording_started == events_pb2.RecordingStarted(
        line="line-1", media_node=7, tenant="acme", number="4001234567", caller_tag="tag-b", line_tag="tag-c"
    )


def test_columns_without_reading_the_event():
    id = "edge-1-1795318705-1-2"
    assert split(row("Busy | Here", "486", "x")) == Row(
        "486", "Busy | Here", "1795318705", "1795318705.386123", id, "x"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [(row("H caller "), b"H"), (row("Busy | Here", "486"), b"486"), ("", b""), ("INVITE|a|b|c", b"")],
)
def test_the_kind_of_a_row(text: str, expected: bytes):
    assert kind(text.encode()) == expected


def of_worker(**values: object) -> events_pb2.CallEvent:
    event = events_pb2.CallEvent(proxy="ivr-1", sequence=7, call_id="edge-1-1795318705-1-2", **values)
    event.time.FromMilliseconds(1795318705007)
    return event


@pytest.mark.parametrize(
    "event",
    [
        of_worker(
            flow_step=events_pb2.FlowStep(flow="f|1", revision=3, node="say\n", kind="menu", digits="1", took_ms=5)
        ),
        of_worker(flow_ended=events_pb2.FlowEnded(cause="caller", code=0, detail="语音")),
        of_worker(),
    ],
)
def test_a_worker_s_event_comes_back_as_it_was_but_for_what_the_journal_knows(event: events_pb2.CallEvent):
    row = written(event)
    assert b"\n" not in row
    assert kind(row) == b"W"
    back = parse(row.decode())
    assert (back.proxy, back.sequence) == ("", 0)
    back.proxy, back.sequence = event.proxy, event.sequence
    assert back == event


@pytest.mark.parametrize("call_id", ["", "a|b", "a b", "a\nb", "é", "a" * 129])
def test_a_call_id_that_would_break_the_row_is_refused(call_id: str):
    event = of_worker()
    event.call_id = call_id
    with pytest.raises(EventRowError, match="no call id"):
        written(event)
