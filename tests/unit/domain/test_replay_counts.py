"""Calls at once and in a second, counted from the times of past calls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.flow import DialLine, DialNode, Flow, FlowGraph, FlowRevision, HangUpCause, HangUpNode
from signalbox.domain.objects import Limits, Line, Number, Tenant, Trunk
from signalbox.domain.replay import Judge, PastCall
from signalbox.domain.replay_counts import Counts
from signalbox.domain.rules import Rules
from support.deciding import NOW, Places

NUMBER = Number("4001234567", "acme", (), flow="main", limits=Limits())


def rules(number: Limits = NUMBER.limits, trunk: Limits | None = None, over: str = "") -> Rules:
    made = Rules()
    made.put(Trunk("carrier", limits=trunk or Limits()))
    made.put(Tenant("acme"))
    made.put(Line("acme", "a", "1", "192.0.2.1"))
    for id, node in (("main", DialNode((DialLine("a"),))), ("full", DialNode((DialLine("a"),), ring_ms=5_000))):
        made.put(Flow("acme", id, (FlowRevision(1, 0.0, FlowGraph("n", {"n": node})),)))
    made.put(replace(NUMBER, limits=number, over_limit_flow=over))
    return made


def call(begin: float, end: float = 0.0) -> PastCall:
    return PastCall("c", "4001234567", "13800001234", NOW + begin, NOW + end if end else 0.0, trunk="carrier")


def whys(made: Rules, *calls: PastCall) -> list[str]:
    judge = Judge(made, Places(), Counts())
    return [judge.outcome(one).why for one in calls]


def test_a_call_holds_its_place_for_as_long_as_it_lasted() -> None:
    limits = rules(Limits(concurrent_calls=1))
    calls = call(0, 10), call(5, 7), call(9.9, 30), call(10, 20), call(19, 21), call(20, 21)
    assert whys(limits, *calls) == ["dial", "limit_number", "limit_number", "dial", "limit_number", "dial"]


def test_one_of_unknown_length_holds_nothing() -> None:
    assert whys(rules(Limits(concurrent_calls=1)), call(0), call(1), call(1)) == ["dial"] * 3


def test_a_second_is_one_of_the_clock() -> None:
    limits = rules(Limits(calls_per_second=2))
    assert whys(limits, call(0), call(0.1), call(0.9), call(1), call(1.9), call(1.95)) == [
        "dial", "dial", "limit_number", "dial", "dial", "limit_number",
    ]  # fmt: skip


def test_months_are_not_counted() -> None:
    assert whys(rules(Limits(calls_per_month=1)), call(0), call(1)) == ["dial", "dial"]


def test_a_call_over_a_limit_goes_on_in_the_flow_for_that() -> None:
    limits = rules(Limits(concurrent_calls=1), over="full")
    judge = Judge(limits, Places(), Counts())
    first, second = judge.outcome(call(0, 10)), judge.outcome(call(1, 10))
    assert (first.flow, second.flow) == ("main", "full")
    assert second.stages[0].ring_time_ms == 5_000


def test_a_trunk_s_limit_holds_for_these_too() -> None:
    limits = rules(Limits(concurrent_calls=1), Limits(concurrent_calls=2), over="full")
    assert whys(limits, call(0, 10), call(1, 10), call(2, 10)) == ["dial", "dial", "limit_trunk"]


def test_a_call_that_the_flow_ends_takes_nothing() -> None:
    made = rules(Limits(concurrent_calls=1))
    end = FlowGraph("n", {"n": HangUpNode(HangUpCause.BUSY)})
    made.put(Flow("acme", "main", (FlowRevision(1, 0.0, end),)))
    assert whys(made, call(0, 10), call(1, 10)) == ["hang_up", "hang_up"]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=30).map(sorted),
    st.integers(1, 3),
)
@settings(max_examples=200, deadline=None)
def test_at_any_time_as_many_are_let_in_as_there_is_room(spans: list[tuple[int, int]], most: int) -> None:
    let_in: list[tuple[int, int]] = []
    expected = []
    for begin, length in spans:
        free = sum(since <= begin < until for since, until in let_in) < most
        expected.append("dial" if free else "limit_number")
        if free:
            let_in.append((begin, begin + length))
    calls = [call(begin, begin + length) for begin, length in spans]
    assert whys(rules(Limits(concurrent_calls=most)), *calls) == expected
