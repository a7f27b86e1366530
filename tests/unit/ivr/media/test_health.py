"""When calls may begin at a node, and when those that are there are lost."""

from __future__ import annotations

import pytest
from signalbox.ivr.media.health import ANSWERS, MISSES, REFUSALS, Health


def test_a_node_that_others_call_well_is_used_before_the_first_answer() -> None:
    assert Health(0.0, trusted=True).usable
    assert not Health(0.0, trusted=False).usable


def test_one_miss_is_forgiven_and_its_answer_tells_that_there_was_one() -> None:
    health = Health(0.0, trusted=True)
    assert not health.answered(1.0)
    health.missed(refused=False)
    assert health.usable
    assert health.answered(2.0)
    assert health.usable
    assert not health.answered(3.0)


@pytest.mark.parametrize("refused", [True, False])
def test_after_some_misses_it_takes_several_answers_to_be_trusted(refused: bool) -> None:
    health = Health(0.0, trusted=True)
    for _ in range(MISSES):
        health.missed(refused=refused)
    assert not health.usable
    for _ in range(ANSWERS - 1):
        health.answered(1.0)
        assert not health.usable
    health.answered(1.0)
    assert health.usable


def test_answers_that_do_not_follow_each_other_do_not_count_together() -> None:
    health = Health(0.0, trusted=True)
    for _ in range(ANSWERS):
        for _ in range(MISSES):
            health.missed(refused=False)
        health.answered(1.0)
    assert not health.usable


def test_calls_of_a_process_that_is_gone_are_lost_at_once() -> None:
    health = Health(0.0, trusted=True)
    for _ in range(REFUSALS):
        assert not health.is_dead(0.1)
        health.missed(refused=True)
    assert health.is_dead(0.1)


def test_calls_of_a_node_that_is_silent_are_lost_late() -> None:
    health = Health(0.0, trusted=True, silent_s=5.0)
    health.answered(10.0)
    health.missed(refused=True)
    for _ in range(20):
        health.missed(refused=False)
    assert not health.is_dead(14.9)
    assert health.is_dead(15.0)
    health.answered(16.0)
    assert not health.is_dead(30.0)


def test_a_pause_of_our_own_is_no_silence_of_the_node() -> None:
    health = Health(0.0, trusted=True, silent_s=5.0)
    health.missed(refused=False)
    assert not health.is_dead(1000.0)
