"""Where a line is reached that a worker with voice rings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from signalbox.domain.decided import Decision, Dial, Reject, Trace, Why
from signalbox.domain.leg import Leg, seal
from signalbox.domain.objects import HealthCheck, Line, MediaMode, Member, Target, Trunk, TrunkGroup
from signalbox.domain.reaching import RING_MS, TRUNK, reach
from signalbox.domain.rules import Rules

KEY = b"a key"
NOW = 1_000.0
LEG = Leg("call-1", "acme", "4001234567", "mobile", 2, 1_000, 60)
FIRST, SECOND = Target("192.0.2.1"), Target("192.0.2.2")


@dataclass(frozen=True)
class Question:
    leg: str
    trunk: str = TRUNK
    parent: str = "call-1"


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Trunk("out", targets=(FIRST, SECOND), health_check=HealthCheck()))
    rules.put(TrunkGroup("mobiles", ("139",), (Member("out"),)))
    rules.put(Line("acme", "mobile", "13900001111", ""))
    rules.put(Line("acme", "desk", "200", "192.0.2.9"))
    return rules


def reached(rules: Rules, line: str = "mobile", dead: frozenset[Target] = frozenset()) -> Decision:
    leg = Leg("call-1", "acme", "4001234567", line, 2, 1_000, 60)
    return reach(rules, Question(seal(leg, KEY)), KEY, NOW, dead)


def test_the_ways_to_a_line_follow_one_another_when_one_has_failed(rules: Rules) -> None:
    found = reached(rules)
    assert isinstance(found.action, Dial)
    assert (found.why, found.tenant, found.number) == (Why.LEG, "acme", "4001234567")
    assert (found.action.media, found.action.max_duration_s) == (MediaMode.BYPASS, 60)
    assert not found.caller_independent
    told = [
        ([line.host for line in one.lines], one.ring_time_ms, one.on_busy, one.on_no_answer, one.on_failed)
        for one in found.action.stages
    ]
    assert told == [(["192.0.2.1"], RING_MS, 0, 0, 2), (["192.0.2.2"], RING_MS, 0, 0, 0)]


@pytest.mark.parametrize(
    ("line", "user", "hosts"),
    [("desk", "200", ["192.0.2.9"]), ("13911112222", "13911112222", ["192.0.2.1", "192.0.2.2"])],
)
def test_a_line_with_an_address_and_a_telephone_number(rules: Rules, line: str, user: str, hosts: list[str]) -> None:
    action = reached(rules, line).action
    assert isinstance(action, Dial)
    assert [one.host for stage in action.stages for one in stage.lines] == hosts
    assert action.stages[0].lines[0].user == user


def test_a_proxy_of_before_does_not_say_for_which_call_a_leg_is(rules: Rules) -> None:
    assert reach(rules, Question(seal(LEG, KEY), parent=""), KEY, NOW, frozenset()).why is Why.LEG


def test_targets_that_are_dead_to_the_proxy_are_passed_over(rules: Rules) -> None:
    action = reached(rules, dead=frozenset({FIRST})).action
    assert isinstance(action, Dial)
    assert [stage.lines[0].host for stage in action.stages] == ["192.0.2.2"]


@pytest.mark.parametrize("line", ["gone", "02812345678"])
def test_a_line_that_is_reached_nowhere(rules: Rules, line: str) -> None:
    found = reached(rules, line)
    assert isinstance(found.action, Reject)
    assert (found.action.code, found.why, found.tenant) == (480, Why.NO_LINE, "acme")


@pytest.mark.parametrize(
    ("question", "key", "now", "why"),
    [
        (Question(seal(LEG, b"another key")), KEY, NOW, Why.LEG_INVALID),
        (Question("?"), KEY, NOW, Why.LEG_INVALID),
        (Question(seal(LEG, KEY)), None, NOW, Why.LEG_INVALID),
        (Question(seal(LEG, KEY), "carrier"), KEY, NOW, Why.LEG_INVALID),
        (Question(seal(LEG, KEY), parent="call-2"), KEY, NOW, Why.LEG_MISUSED),
        (Question(seal(LEG, KEY)), KEY, NOW + 1, Why.LEG_EXPIRED),
    ],
)
def test_what_no_step_of_now_gave_is_forbidden(
    rules: Rules, question: Question, key: bytes | None, now: float, why: Why
) -> None:
    trace: Trace = []
    found = reach(rules, question, key, now, frozenset(), trace)
    assert isinstance(found.action, Reject)
    assert (found.action.code, found.why) == (403, why)
    assert trace[-1].decisive
    assert trace[-1].rule == why.value
