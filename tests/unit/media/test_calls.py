"""When the calls of an rtpengine are looked at, and which of them went with their process."""

from __future__ import annotations

import pytest
from signalbox.media.calls import LOOK_S, Calls


@pytest.fixture
def calls() -> Calls:
    return Calls(dead_s=60)


def test_a_new_call_is_looked_at_at_once(calls: Calls) -> None:
    calls.listed(frozenset("ab"), 1, 0)
    assert sorted(calls.due(0)) == ["a", "b"]
    calls.listed(frozenset("abc"), 1, 1)
    assert sorted(calls.due(1)) == ["a", "b", "c"]
    assert len(calls) == 3


def test_the_next_look_is_when_it_could_be_dead_at_the_earliest(calls: Calls) -> None:
    calls.listed(frozenset("a"), 1, 0)
    calls.lives("a", 7, 0)
    assert calls.due(6.9) == []
    assert calls.due(7) == ["a"]


def test_and_several_times_in_a_lease_however_long_it_may_be_silent(calls: Calls) -> None:
    for number in range(100):
        calls.listed(frozenset([str(number)]), 1, 0)
        calls.lives(str(number), 3600, 0)
        assert calls.due(LOOK_S / 2 - 0.1) == []
        assert calls.due(LOOK_S) == [str(number)]


def test_what_the_same_process_no_longer_lists_was_ended(calls: Calls) -> None:
    calls.listed(frozenset("ab"), 1, 0)
    calls.listed(frozenset("b"), 1, 10)
    assert calls.due(10) == ["b"]
    assert calls.lost(1000) == []
    calls.lives("a", 60, 10)
    assert len(calls) == 1


def test_what_another_process_does_not_list_was_lost_and_is_dead_after_the_time_for_that(calls: Calls) -> None:
    calls.listed(frozenset("ab"), 1, 0)
    calls.listed(frozenset("b"), 2, 10)
    assert calls.lost(69) == []
    assert calls.lost(70) == ["a"]
    assert calls.lost(80) == ["a"], "until it was told"
    calls.forget(["a"])
    assert calls.lost(80) == []


def test_while_nobody_listens_all_are_lost_since_the_first_time(calls: Calls) -> None:
    calls.listed(frozenset("ab"), 1, 0)
    calls.nobody_listens(10)
    calls.nobody_listens(20)
    assert calls.due(20) == []
    assert sorted(calls.lost(70)) == ["a", "b"]


def test_a_call_that_is_there_again_was_not_lost(calls: Calls) -> None:
    calls.listed(frozenset("ab"), 1, 0)
    calls.nobody_listens(10)
    calls.listed(frozenset("b"), 2, 20)
    assert calls.due(20) == ["b"]
    assert calls.lost(100) == ["a"]
