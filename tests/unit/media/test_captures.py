"""When a capture is ready, and who gets which first."""

from __future__ import annotations

import pytest
from signalbox.media.captures import SETTLE_S, Capture, Captures
from signalbox.media.note import Note
from signalbox.media.spool import Segment, Stored

DEAD_S = 60.0


@pytest.fixture
def captures() -> Captures:
    return Captures(DEAD_S)


def made(captures: Captures, id: str = "call", *whole: bool, start_ms: int = 0, now: float = 0) -> Capture:
    """One with segments that have ended in order, or not."""
    segments = [Segment(f"{number:06}", whole=each) for number, each in enumerate(whole or (True,))]
    return captures.add(Stored(f"{id}.call", Note(id, start_ms), segments), now)


def settle(captures: Captures, now: float) -> list[str]:
    """Ids of what becomes ready."""
    return [capture.call_id for capture in captures.over(now) if captures.settle(capture, now)]


def test_a_call_that_nothing_is_known_of_may_go_on(captures: Captures) -> None:
    made(captures)
    assert settle(captures, 1e9) == []


def test_a_call_that_is_not_listed_is_over(captures: Captures) -> None:
    made(captures, "a")
    made(captures, "b")
    captures.listed({"b", "c"}, 1, 2)
    assert settle(captures, 2) == ["a"]
    assert settle(captures, 3) == []


def test_a_list_from_before_a_capture_says_nothing_of_it(captures: Captures) -> None:
    capture = made(captures, now=5)
    captures.listed(set(), 4, 6)
    assert settle(captures, 1e9) == []
    captures.unknown(capture, 4, 6)
    assert settle(captures, 1e9) == []
    captures.unknown(capture, 6, 7)
    assert settle(captures, 7) == ["call"]


def test_files_that_are_being_closed_are_waited_for(captures: Captures) -> None:
    capture = made(captures, "call", True, False)
    captures.listed(set(), 1, 1)
    assert settle(captures, 1 + SETTLE_S / 2) == []
    captures.listed(set(), 3, 3)
    assert settle(captures, 1 + SETTLE_S) == ["call"], "rtpengine was killed"
    assert not capture.captures


def test_files_that_are_whole_are_not_waited_for(captures: Captures) -> None:
    capture = made(captures, "call", False)
    captures.listed(set(), 1, 1)
    assert settle(captures, 1) == []
    capture.segments[0].whole = True
    assert settle(captures, 1.1) == ["call"]


def test_calls_of_a_process_that_is_gone_may_come_back(captures: Captures) -> None:
    made(captures, "a", False)
    made(captures, "b", False)
    captures.nobody_listens(10)
    captures.nobody_listens(20)
    assert settle(captures, 69) == []
    captures.listed({"a"}, 69, 69)
    assert settle(captures, 69 + SETTLE_S) == ["b"]
    assert settle(captures, 1e9) == []


def test_calls_of_a_process_that_stays_away_are_over(captures: Captures) -> None:
    made(captures)
    captures.nobody_listens(10)
    assert settle(captures, 10 + DEAD_S) == ["call"]


def test_a_process_that_does_not_answer_may_have_every_call(captures: Captures) -> None:
    made(captures)
    captures.nobody_listens(10)
    captures.nobody_knows()
    assert settle(captures, 1e9) == []


def test_a_call_that_turns_up_again_is_not_ready_any_more(captures: Captures) -> None:
    capture = made(captures)
    captures.listed(set(), 1, 1)
    assert settle(captures, 1) == ["call"]
    assert captures.listed({"call"}, 2, 2) == [capture]
    assert captures.take(lambda _: True) is None
    captures.listed(set(), 3, 3)
    assert settle(captures, 3) == ["call"]
    assert captures.began(capture, Segment("000009"), 4)
    assert capture.captures
    captures.listed(set(), 3.5, 5)
    assert settle(captures, 1e9) == []


def test_what_changed_since_it_was_found_over_is_not_ready(captures: Captures) -> None:
    capture = made(captures)
    captures.listed(set(), 1, 1)
    assert captures.over(1) == [capture]
    captures.lives(capture)
    assert not captures.settle(capture, 1)


def test_the_oldest_comes_first_and_what_is_not_free_stays(captures: Captures) -> None:
    for id, start_ms in (("b", 20), ("a", 30), ("c", 10)):
        made(captures, id, start_ms=start_ms)
    captures.listed(set(), 1, 1)
    assert len(settle(captures, 1)) == 3
    first = captures.take(lambda id: id != "c")
    assert first is not None
    assert first.call_id == "b"
    rest = [captures.take(lambda _: True) for _ in range(3)]
    assert [capture and capture.call_id for capture in rest] == ["c", "a", None]
    captures.offer(first)
    captures.offer(first)
    assert captures.take(lambda _: False) is None
    assert captures.take(lambda _: True) is first


def test_what_is_deleted_is_offered_no_more(captures: Captures) -> None:
    capture = made(captures)
    captures.listed(set(), 1, 1)
    settle(captures, 1)
    captures.remove(capture)
    assert captures.take(lambda _: True) is None
    assert len(captures) == 0
    assert captures.get("call") is None
