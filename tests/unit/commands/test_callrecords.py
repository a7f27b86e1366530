"""One record per call."""

from __future__ import annotations

from signalbox.api.events.v1 import events_pb2
from signalbox.commands.callrecords import FIELDS, CallRecord, records


def event(time_ms: int, call_id: str = "edge-1-1", **what: object) -> events_pb2.CallEvent:
    made = events_pb2.CallEvent(call_id=call_id, proxy="edge-1", **what)  # type: ignore[arg-type]
    made.time.FromMilliseconds(time_ms)
    return made


ASKED = events_pb2.Asked(
    trunk="carrier", called="4001234567", calling="13800001234", sip_call_id="a@b", source_address="192.0.2.1"
)
DECIDED = events_pb2.Decided(
    action="dial", why="dial", tenant="acme", number="4001234567", source=events_pb2.DECISION_SOURCE_ROUTING
)


def one(*events: events_pb2.CallEvent) -> CallRecord:
    (record,) = records(events)
    return record


def test_an_answered_call_that_went_to_the_second_line() -> None:
    record = one(
        event(1000, asked=ASKED),
        event(1003, decided=DECIDED),
        event(1004, line_tried=events_pb2.LineTried(line="desk", stage=1)),
        event(1100, line_failed=events_pb2.LineFailed(line="desk", code=486)),
        event(1101, line_tried=events_pb2.LineTried(line="mobile", stage=2)),
        event(1300, ringing=events_pb2.Ringing(line="mobile", code=180)),
        event(4000, recording_started=events_pb2.RecordingStarted(line="mobile", media_node=1)),
        event(4000, answered=events_pb2.Answered(line="mobile", media_node=1)),
        event(64_000, hung_up=events_pb2.HungUp(party=events_pb2.PARTY_LINE, cause="Q.850;cause=16")),
    )
    assert record.as_dict() == {
        "call_id": "edge-1-1", "sip_call_id": "a@b", "proxy": "edge-1", "trunk": "carrier",
        "source_address": "192.0.2.1", "called": "4001234567", "calling": "13800001234", "tenant": "acme",
        "number": "4001234567", "decided_by": "routing", "why": "dial", "begin_ms": 1000, "ring_ms": 1300,
        "answer_ms": 4000, "end_ms": 64_000, "post_dial_delay_ms": 300, "talk_ms": 60_000, "line": "mobile",
        "tried": "desk=486 mobile", "code": 200, "hung_up_by": "line", "cause": "Q.850;cause=16",
        "recorded": 1, "parent": "",
    }  # fmt: skip
    assert tuple(record.as_dict()) == FIELDS
    assert record.ended


def test_a_refused_call_ends_with_its_code() -> None:
    record = one(event(5, asked=ASKED), event(9, failed=events_pb2.Failed(code=404, phrase="Not Found")))
    assert (record.code, record.end_ms, record.cause, record.talk_ms, record.post_dial_delay_ms) == (
        404,
        9,
        "Not Found",
        0,
        0,
    )


def test_an_answer_without_ringing_is_the_first_sign() -> None:
    record = one(event(5, asked=ASKED), event(25, answered=events_pb2.Answered(line="desk")))
    assert (record.post_dial_delay_ms, record.ended, record.talk_ms) == (20, False, 0)


def test_a_call_whose_beginning_is_gone_is_kept_with_what_is_known() -> None:
    record = one(event(64_000, hung_up=events_pb2.HungUp(party=events_pb2.PARTY_CALLER)))
    assert (record.begin_ms, record.end_ms, record.hung_up_by, record.ended) == (0, 64_000, "caller", True)


def test_calls_are_told_apart_and_stay_in_order() -> None:
    found = records([event(2, "b", asked=ASKED), event(3, "a", asked=ASKED), event(4, "b", decided=DECIDED)])
    assert [(record.call_id, record.why) for record in found] == [("b", "dial"), ("a", "")]


def test_a_hole_in_the_events_belongs_to_no_call() -> None:
    assert records([event(1, "", events_lost=events_pb2.EventsLost(first_sequence=1, count=5))]) == []
