"""In which order lines are tried."""

from __future__ import annotations

from collections import Counter

import pytest
from signalbox.domain.claims import Order
from signalbox.domain.decided import Decision, Dial, Trace
from signalbox.domain.flow import DialLine, DialNode, Distribution, Flow, FlowGraph, FlowRevision, LineGroup
from signalbox.domain.objects import Line, Number, Trunk
from signalbox.domain.rules import Rules
from support.deciding import Call, decided

IDS = ("a", "b", "c", "d")


def rules_with(distribution: Distribution, weights: tuple[int, ...] = (1, 1, 1, 1), **changes: object) -> Rules:
    rules = Rules()
    rules.put(Trunk("carrier"))
    for id in IDS:
        rules.put(Line("acme", id, "1", "192.0.2.1"))
    lines = tuple(DialLine(id, weight) for id, weight in zip(IDS, weights, strict=True))
    node = DialNode(**{"lines": lines, "distribution": distribution, **changes})  # type: ignore[arg-type]
    rules.put(Flow("acme", "main", (FlowRevision(1, 0.0, FlowGraph("sales", {"sales": node})),)))
    rules.put(Number("4001234567", "acme", (), flow="main"))
    return rules


def rung(decision: Decision) -> list[str]:
    """The lines in the order in which a proxy rings them that hears of failures only."""
    assert isinstance(decision.action, Dial)
    stages, at, ids = decision.action.stages, 1, []
    while 1 <= at <= len(stages):
        ids += [line.id for line in stages[at - 1].lines]
        at = stages[at - 1].on_failed
    return ids


def test_sequential_lines_are_tried_as_they_stand() -> None:
    assert rung(decided(rules_with(Distribution.SEQUENTIAL), Call())) == list(IDS)


def test_all_ring_together() -> None:
    action = decided(rules_with(Distribution.ALL), Call()).action
    assert isinstance(action, Dial)
    assert [[line.id for line in stage.lines] for stage in action.stages] == [list(IDS)]


@pytest.mark.parametrize("distribution", [Distribution.RANDOM, Distribution.WEIGHTED])
def test_what_is_random_is_drawn_again_alike_for_a_call(distribution: Distribution) -> None:
    rules = rules_with(distribution)
    for n in range(20):
        call = Call(call_id=f"call-{n}")
        assert decided(rules, call) == decided(rules, call)
    assert len({tuple(rung(decided(rules, Call(call_id=f"call-{n}")))) for n in range(200)}) == 24


def test_random_lines_are_first_equally_often() -> None:
    rules = rules_with(Distribution.RANDOM, (1, 1, 1, 1000))
    first = Counter(rung(decided(rules, Call(call_id=f"call-{n}")))[0] for n in range(2000))
    assert all(420 < first[id] < 580 for id in IDS)


def test_weighted_lines_are_first_in_proportion_to_their_weights() -> None:
    rules = rules_with(Distribution.WEIGHTED, (10, 20, 30, 40))
    first = Counter(rung(decided(rules, Call(call_id=f"call-{n}")))[0] for n in range(4000))
    for id, share in zip(IDS, (0.1, 0.2, 0.3, 0.4), strict=True):
        assert abs(first[id] / 4000 - share) < 0.03


def test_round_robin_begins_where_the_turn_is_and_goes_round() -> None:
    rules = rules_with(Distribution.ROUND_ROBIN)
    for turn in range(9):
        order = rung(decided(rules, Call(), counts={"turn/acme/flow/main/sales": turn}))
        assert order == [IDS[(turn + at) % 4] for at in range(4)]


@pytest.mark.parametrize(
    ("distribution", "order", "key"),
    [
        (Distribution.ROUND_ROBIN, Order.TURN, "turn/acme/flow/main/sales"),
        (Distribution.LEAST_RECENT, Order.LEAST_RECENT, "turn/acme/flow/main/sales"),
        (Distribution.STICKY, Order.STICKY, "sticky/acme/flow/main/sales/13800001234"),
    ],
)
def test_what_rests_on_earlier_calls_is_claimed(distribution: Distribution, order: Order, key: str) -> None:
    claims: list = []
    decided(rules_with(distribution), Call(), claims=claims)
    (dial,) = claims[0].dials
    assert (dial.order, dial.key, dial.takes) == (order, key, 1)
    assert dial.lines == tuple(f"line/acme/{id}" for id in IDS)


def test_a_caller_without_a_number_sticks_to_no_line() -> None:
    claims: list = []
    decision = decided(rules_with(Distribution.STICKY), Call(calling="anonymous"), claims=claims)
    assert rung(decision) == list(IDS)
    assert claims[0].dials == ()
    assert not decision.caller_independent


def test_a_group_has_one_turn_whoever_rings_it() -> None:
    rules = rules_with(Distribution.SEQUENTIAL, lines=(), line_group="desk")
    rules.put(LineGroup("acme", "desk", tuple(map(DialLine, IDS)), Distribution.ROUND_ROBIN))
    claims: list = []
    decided(rules, Call(), claims=claims)
    assert claims[0].dials[0].key == "turn/acme/group/desk"


def test_of_a_large_group_16_lines_are_tried() -> None:
    rules = rules_with(Distribution.SEQUENTIAL, lines=(), line_group="desk")
    ids = [f"line-{n}" for n in range(200)]
    for id in ids:
        rules.put(Line("acme", id, "1", "192.0.2.1", concurrent_calls=1))
    rules.put(LineGroup("acme", "desk", tuple(map(DialLine, ids)), Distribution.SEQUENTIAL))
    full = {f"line/acme/{id}": 1 for id in ids[:50]}
    trace: Trace = []
    assert rung(decided(rules, Call(), trace, counts=full)) == ids[50:66]
    assert len([step for step in trace if step.rule == "line"]) == 16


def test_a_missing_group_is_as_if_all_lines_had_failed() -> None:
    trace: Trace = []
    decision = decided(rules_with(Distribution.SEQUENTIAL, lines=(), line_group="desk"), Call(), trace)
    assert decision.why.value == "no_line"
    assert ("distribution", "node sales: line group desk does not exist") in [(s.rule, s.finding) for s in trace]


def test_lines_at_their_caps_are_passed_over_and_told() -> None:
    rules = rules_with(Distribution.SEQUENTIAL)
    rules.put(Line("acme", "a", "1", "192.0.2.1", concurrent_calls=2))
    assert rung(decided(rules, Call(), counts={"line/acme/a": 1})) == ["a", "b", "c", "d"]
    trace: Trace = []
    assert rung(decided(rules, Call(), trace, counts={"line/acme/a": 2})) == ["b", "c", "d"]
    assert ("line_cap", "sales: line/acme/a at the cap, passed over") in [(s.rule, s.finding) for s in trace]


def test_a_dial_whose_lines_are_all_at_their_caps_is_busy() -> None:
    rules = rules_with(Distribution.ALL)
    for id in IDS:
        rules.put(Line("acme", id, "1", "192.0.2.1", concurrent_calls=1))
    decision = decided(rules, Call(), counts={f"line/acme/{id}": 1 for id in IDS})
    assert (decision.why.value, decision.action) == ("lines_busy", decision.action)
    assert decision.action.code == 486  # type: ignore[union-attr]
