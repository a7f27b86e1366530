"""What is promised against what is there."""

from __future__ import annotations

from typing import Any

from signalbox.api.recording.v1 import recording_pb2
from signalbox.recorder.keeping.account import GRACE_S, Account

LOST_AFTER_S = 100.0
LATER = GRACE_S + 1


def listing(*captured: str, calls: tuple[str, ...] = (), **fields: Any) -> recording_pb2.ListCapturesResponse:
    captures = [recording_pb2.Capture(call_id=call, state=recording_pb2.CAPTURE_STATE_READY) for call in captured]
    return recording_pb2.ListCapturesResponse(captures=captures, calls=calls, **{"calls_known": True, **fields})


def test_what_is_captured_is_not_missing() -> None:
    account = Account(LOST_AFTER_S)
    for now in (0.0, LATER, 2 * LATER, 1000.0):
        assert not account.looked(now, listing("c1"), ["c1"]).missing


def test_a_call_that_has_ended_without_a_capture_is_missing_after_two_looks() -> None:
    account = Account(LOST_AFTER_S)
    assert not account.looked(0.0, listing(), ["c1"]).missing
    assert not account.looked(LATER, listing(), ["c1"]).missing
    assert account.looked(LATER + 10, listing(), ["c1"]).missing == {"c1": "not_captured"}


def test_a_promise_that_has_just_come_may_be_ahead_of_its_capture() -> None:
    account = Account(LOST_AFTER_S)
    for now in (0.0, 10.0, GRACE_S - 1):
        assert not account.looked(now, listing(), ["c1"]).missing


def test_a_look_that_finds_it_in_between_begins_anew() -> None:
    account = Account(LOST_AFTER_S)
    account.looked(0.0, listing(), ["c1"])
    account.looked(LATER, listing(), ["c1"])
    account.looked(LATER + 10, listing("c1"), ["c1"])
    assert not account.looked(LATER + 20, listing(), ["c1"]).missing
    assert account.looked(LATER + 30, listing(), ["c1"]).missing


def test_a_call_that_goes_on_without_a_capture_is_told_at_once_and_is_not_missing() -> None:
    account = Account(LOST_AFTER_S)
    assert not account.looked(0.0, listing(calls=("c1",)), ["c1"]).uncaptured
    for now in (LATER, 2 * LATER):
        found = account.looked(now, listing(calls=("c1",)), ["c1"])
        assert (found.uncaptured, found.missing) == ({"c1"}, {})


def test_without_its_calls_a_node_proves_nothing_until_it_counts_as_lost() -> None:
    account = Account(LOST_AFTER_S)
    unknown = listing("c2", calls_known=False)
    for now in (0.0, LATER, LOST_AFTER_S - 1):
        assert not account.looked(now, unknown, ["c1", "c2"]).missing
    assert account.looked(LOST_AFTER_S, unknown, ["c1", "c2"]).missing == {"c1": "media_node_lost"}


def test_a_node_that_is_away_is_waited_for() -> None:
    account = Account(LOST_AFTER_S)
    for now in (0.0, LATER, LOST_AFTER_S - 1):
        assert not account.looked(now, None, ["c1"]).missing
    account.looked(LOST_AFTER_S, listing("c1"), ["c1"])
    assert not account.looked(LOST_AFTER_S + 10, None, ["c1"]).missing
    assert account.looked(2 * LOST_AFTER_S + 10, None, ["c1"]).missing == {"c1": "media_node_lost"}


def test_the_longest_wait_is_that_of_captures_that_were_ready_once_and_are_still_there() -> None:
    account = Account(LOST_AFTER_S)
    account.looked(0.0, listing("c1"), [])
    account.looked(10.0, listing("c1", "c2"), [])
    assert account.longest_wait_s(15.0) == 15.0
    account.looked(20.0, listing("c2"), [])
    assert account.longest_wait_s(25.0) == 15.0
    claimed = listing("c2", "c3")
    for capture in claimed.captures:
        capture.state = recording_pb2.CAPTURE_STATE_CLAIMED
    account.looked(25.0, claimed, [])
    assert account.longest_wait_s(30.0) == 20.0
    account.looked(30.0, listing("c3"), [])
    assert account.longest_wait_s(35.0) == 5.0
    account.looked(40.0, listing(), [])
    assert account.longest_wait_s(45.0) == 0.0


def worker_listing(*captured: recording_pb2.Capture, calls: tuple[str, ...] = ()) -> recording_pb2.ListCapturesResponse:
    return recording_pb2.ListCapturesResponse(captures=captured, calls=calls, calls_known=True)


def test_recordings_of_a_workers_call_are_told_apart_once_they_have_ended() -> None:
    account = Account(LOST_AFTER_S)
    ended = recording_pb2.Capture(
        call_id="w1.c1~aa", call="c1", facts=recording_pb2.CallFacts(call_id="c1", recording="c1.2")
    )
    for now in (0.0, LATER, LATER + 10):
        found = account.looked(now, worker_listing(ended), ["c1", "c1.2"])
    assert found.missing == {"c1": "not_captured"}


def test_one_that_is_being_made_may_be_any_of_its_call() -> None:
    account = Account(LOST_AFTER_S)
    made = recording_pb2.Capture(call_id="w1.c1", call="c1", state=recording_pb2.CAPTURE_STATE_ACTIVE)
    for now in (0.0, LATER, LATER + 10):
        found = account.looked(now, worker_listing(made, calls=("c1",)), ["c1.2", "c2"])
    assert found.missing == {"c2": "not_captured"}
    assert found.uncaptured == set()


def test_a_recording_that_is_not_made_while_its_call_goes_on_is_told() -> None:
    account = Account(LOST_AFTER_S)
    for now in (0.0, LATER):
        found = account.looked(now, worker_listing(calls=("c1",)), ["c1.2"])
    assert found.uncaptured == {"c1.2"}
