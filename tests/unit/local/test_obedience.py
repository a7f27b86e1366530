"""When did a proxy obey? Judged from its INVITEs to lines."""

from __future__ import annotations

import pytest
from signalbox_local.demo.obedience import Attempt, Change, judge

CHANGE = Change(asked=99.95, answered=100.0, old="line-b", new="line-c")


def _attempts(*pairs: tuple[float, str]) -> list[Attempt]:
    return [Attempt(time, line) for time, line in pairs]


def test_a_call_to_the_old_line_after_the_answer_is_how_late_the_proxy_was() -> None:
    seen = judge(CHANGE, _attempts((99.9, "line-b"), (100.03, "line-b"), (100.07, "line-c")), until=200)
    assert seen is not None
    assert (seen.last_old_ms, seen.first_new_ms) == (pytest.approx(30), pytest.approx(70))
    assert seen.certain_ms == seen.first_new_ms


def test_a_proxy_that_obeyed_before_the_answer_was_not_late() -> None:
    seen = judge(CHANGE, _attempts((99.9, "line-b"), (99.99, "line-c"), (100.03, "line-c")), until=200)
    assert seen is not None
    assert seen.last_old_ms == pytest.approx(-100)


def test_a_straggler_counts_against_the_proxy() -> None:
    seen = judge(CHANGE, _attempts((99, "line-b"), (100.1, "line-c"), (100.2, "line-b"), (100.3, "line-c")), until=200)
    assert seen is not None
    assert seen.certain_ms == pytest.approx(200)


def test_only_the_time_until_the_next_change_counts() -> None:
    attempts = _attempts((99, "line-b"), (100.1, "line-c"), (102, "line-b"))
    seen = judge(CHANGE, attempts, until=101.5)
    assert seen is not None
    assert seen.certain_ms == pytest.approx(100)


def test_calls_from_before_the_previous_change_are_not_taken_for_obedience() -> None:
    assert judge(CHANGE, _attempts((90, "line-c"), (99, "line-b"), (101, "line-b")), until=200) is None


def test_other_lines_do_not_matter() -> None:
    assert judge(CHANGE, _attempts((99, "line-a"), (100.1, "line-a")), until=200) is None
