"""The engine against the obvious way to decide and ring a call: random flows, lists, limits, counts, callers, times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.decided import Dial
from signalbox.domain.flow import DialNode, Distribution, HangUpCause
from support import reference
from support.deciding import NOW, Call, decided, setup
from support.reference import BUSY, CALLERS, DEAD, LINES, PLACES, TAKEN, VAIN, World

if TYPE_CHECKING:
    from signalbox.domain.decided import Trace
    from signalbox.domain.flow import Node

DISTRIBUTIONS = (Distribution.SEQUENTIAL, Distribution.ALL, Distribution.ROUND_ROBIN)
ENTRIES = ("n13800001234", "p139", "p010888", "r北京", "r内蒙古", "x")


@st.composite
def flows(draw: st.DrawFn, most: int, lines: int) -> dict[str, Node]:
    """A flow whose nodes lead on to later ones only; the last one hangs up."""
    count = draw(st.integers(1, most))
    nodes: dict[str, Node] = {}
    for at in range(count):
        later = [f"n{after}" for after in range(at + 1, count + 1)]
        to = st.sampled_from(later)
        maybe = st.sampled_from([*later, ""])
        match draw(st.sampled_from(["schedule", "region", "list", "dial", "dial"])):
            case "schedule":
                node: Node = reference.schedule(draw(to), draw(to))
            case "region":
                node = reference.region(draw(st.sampled_from(["北京", "内蒙古"])), draw(to), draw(to))
            case "list":
                node = reference.caller_list(draw(to), draw(to))
            case _:
                ids = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=lines, unique=True))
                ways = draw(maybe), draw(maybe), draw(maybe)
                node = reference.dial(ids, draw(st.sampled_from(DISTRIBUTIONS)), *ways)
        nodes[f"n{at}"] = node
    nodes[f"n{count}"] = reference.hang_up(draw(st.sampled_from(list(HangUpCause))))
    return nodes


def worlds(most: int = 3, lines: int = 2) -> st.SearchStrategy[World]:
    names = ["trunk/carrier", "number/4001234567", "tenant/acme"]
    counted = [*names, *(f"line/acme/{id}" for id in LINES)]
    return st.builds(
        World,
        nodes=flows(most, lines),
        over_nodes=st.none() | flows(most, lines),
        open=st.tuples(st.integers(0, 719), st.integers(720, 1440)),
        blacklist=st.frozensets(st.sampled_from(ENTRIES), max_size=1),
        whitelist=st.frozensets(st.sampled_from(ENTRIES), max_size=3),
        whitelist_only=st.booleans(),
        refuse_anonymous=st.booleans(),
        caps=st.dictionaries(st.sampled_from(LINES), st.integers(0, 2)),
        missing=st.frozensets(st.sampled_from(LINES), max_size=2),
        limits=st.fixed_dictionaries({name: st.none() | st.integers(0, 4) for name in names}),
        counts=st.dictionaries(st.sampled_from([*counted, "turn"]), st.integers(0, 4)),
    )


TIMES = st.floats(NOW, NOW + 86_400)
FATES = st.fixed_dictionaries({id: st.sampled_from([BUSY, VAIN, DEAD, TAKEN]) for id in LINES})


def counts_of(world: World) -> dict[str, int]:
    """The world's counts by the names that the engine asks for: every dial has the same turn."""
    turns = {
        f"turn/acme/flow/{flow}/{id}": world.counts.get("turn", 0)
        for flow, nodes in (("main", world.nodes), ("over", world.over_nodes or {}))
        for id, node in nodes.items()
        if isinstance(node, DialNode)
    }
    return {**world.counts, **turns}


@given(worlds(), st.sampled_from(CALLERS), TIMES, FATES)
@settings(max_examples=600, deadline=None)
def test_a_call_rings_and_ends_as_if_it_were_followed_step_by_step(
    world: World, caller: str, now: float, fates: dict[str, str]
) -> None:
    call = Call(calling=caller or "anonymous")
    given = setup(PLACES)
    counts = counts_of(world)
    rules = reference.rules_of(world)
    decision = decided(rules, call, now=now, given=given, counts=counts)
    assert reference.rung_by(decision, fates) == reference.expected(world, caller, now, fates)
    trace: Trace = []
    assert decided(rules, call, trace, now=now, given=given, counts=counts) == decision
    assert [step.decisive for step in trace].count(True) == 1
    assert trace[-1].decisive
    assert decided(rules, call, now=now, given=given, counts=counts) == decision


@given(worlds(most=12, lines=5), st.sampled_from(CALLERS), TIMES, FATES)
@settings(max_examples=300, deadline=None)
def test_a_plan_fits_into_what_a_proxy_takes_and_comes_to_an_end(
    world: World, caller: str, now: float, fates: dict[str, str]
) -> None:
    decision = decided(
        reference.rules_of(world), Call(calling=caller), now=now, given=setup(PLACES), counts=counts_of(world)
    )
    reference.rung_by(decision, fates)
    if isinstance(decision.action, Dial):
        assert 1 <= len(decision.action.stages) <= 16
        for position, stage in enumerate(decision.action.stages, 1):
            assert 1 <= len(stage.lines) <= 8
            for way in (stage.on_busy, stage.on_no_answer, stage.on_failed):
                assert way == 0 or position < way <= len(decision.action.stages) or 400 <= way <= 699


@given(worlds(), st.sampled_from(CALLERS), TIMES)
@settings(max_examples=300, deadline=None)
def test_what_may_be_used_again_is_what_every_other_caller_gets_at_any_time(
    world: World, caller: str, now: float
) -> None:
    counts = {name: count for name, count in counts_of(world).items() if not name.startswith(("number", "tenant"))}
    counts.pop("trunk/carrier", None)
    rules = reference.rules_of(world)
    decision = decided(rules, Call(calling=caller), now=now, given=setup(PLACES), counts=counts)
    if not decision.caller_independent:
        return
    for other in CALLERS:
        for later in (now, now + 6 * 3600, now + 12 * 3600):
            assert decided(rules, Call(calling=other), now=later, given=setup(PLACES), counts=counts) == decision


@given(worlds(), st.lists(st.tuples(st.sampled_from(CALLERS), TIMES, st.integers(0, 4)), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_what_was_kept_for_other_calls_changes_no_decision(world: World, calls: list[tuple[str, float, int]]) -> None:
    rules, given = reference.rules_of(world), setup(PLACES)
    for caller, now, turn in calls:
        counts = {name: turn if name.startswith("turn/") else count for name, count in counts_of(world).items()}
        call = Call(calling=caller or "anonymous")
        found = decided(rules, call, now=now, given=given, counts=counts)
        assert found == decided(reference.rules_of(world), call, now=now, given=given, counts=counts)
