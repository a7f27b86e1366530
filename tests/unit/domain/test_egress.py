"""How telephone numbers are reached through trunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from signalbox.domain import egress
from signalbox.domain.decided import Dial, Trace
from signalbox.domain.flow import DialLine, DialNode, Flow, FlowGraph, FlowRevision, VoicemailNode
from signalbox.domain.objects import (
    DialStage,
    HealthCheck,
    Line,
    Member,
    Number,
    NumberFormat,
    Target,
    Transport,
    Trunk,
    TrunkGroup,
)
from signalbox.domain.planner import Voice
from signalbox.domain.rules import Rules
from signalbox.domain.voice import Pool
from support.deciding import Call, decided, setup

MOBILE = Line("acme", "m", "13900001111", "")


def trunk(id: str, *hosts: str, **fields: object) -> Trunk:
    return Trunk(id, targets=tuple(map(Target, hosts)), **fields)  # type: ignore[arg-type]


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Trunk("carrier"))
    for one in (trunk("one", "192.0.2.1", "192.0.2.2"), trunk("two", "192.0.2.3")):
        rules.put(one)
    rules.put(TrunkGroup("all", ("",), (Member("two", 1), Member("one", 0))))
    rules.put(MOBILE)
    return rules


def hosts(rules: Rules, line: Line = MOBILE, call_id: str = "call-1") -> list[str]:
    return [found.host for found in egress.attempts(rules, line, call_id)]


def test_a_line_with_an_address_goes_through_no_trunk(rules: Rules) -> None:
    line = Line("acme", "a", "1", "192.0.2.9")
    assert egress.attempts(rules, line, "call-1") == (line,)


def test_the_lowest_priority_comes_first_and_targets_in_their_order(rules: Rules) -> None:
    assert hosts(rules) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_the_longest_prefix_decides(rules: Rules) -> None:
    rules.put(trunk("mobile", "192.0.2.7"))
    rules.put(TrunkGroup("mobiles", ("139", "1380"), (Member("mobile"),)))
    assert hosts(rules) == ["192.0.2.7"]
    assert hosts(rules, Line("acme", "f", "01088886666", ""))[0] == "192.0.2.1"
    rules.put(TrunkGroup("mobiles", ("1380",), (Member("mobile"),)))
    assert hosts(rules)[0] == "192.0.2.1"
    rules.delete_trunk_group("mobiles")
    rules.delete_trunk_group("all")
    assert hosts(rules) == []


@pytest.mark.parametrize("user", ["13900001111", "+8613900001111", "008613900001111"])
@pytest.mark.parametrize(
    ("form", "written"),
    [
        (NumberFormat.NATIONAL, "13900001111"),
        (NumberFormat.E164, "+8613900001111"),
        (NumberFormat.INTERNATIONAL, "008613900001111"),
    ],
)
def test_a_number_is_written_as_the_trunk_takes_it(user: str, form: NumberFormat, written: str) -> None:
    rules = Rules()
    rules.put(trunk("one", "192.0.2.1", called_format=form))
    rules.put(TrunkGroup("all", ("139",), (Member("one"),)))
    (found,) = egress.attempts(rules, Line("acme", "m", user, ""), "call-1")
    assert (found.user, found.id) == (written, "m")


def test_trunks_out_of_service_or_unknown_are_passed_over(rules: Rules) -> None:
    rules.put(trunk("one", "192.0.2.1", disabled=True))
    assert hosts(rules) == ["192.0.2.3"]
    rules.delete_trunk("two")
    assert hosts(rules) == []


def test_trunks_of_one_priority_share_calls_by_weight_and_a_call_draws_alike(rules: Rules) -> None:
    rules.put(TrunkGroup("all", ("",), (Member("one", 0, 1), Member("two", 0, 3))))
    first = Counter(hosts(rules, call_id=f"call-{n}")[0] for n in range(2000))
    assert abs(first["192.0.2.3"] / 2000 - 0.75) < 0.04
    assert all(hosts(rules, call_id="x") == hosts(rules, call_id="x") for _ in range(5))


def test_the_next_trunk_follows_on_failure_but_not_on_busy_or_no_answer(rules: Rules) -> None:
    rules.put(Line("acme", "b", "1", "192.0.2.9"))
    rules.put(Number("4001234567", "acme", (DialStage(("m",)), DialStage(("b",)))))
    action = decided(rules, Call()).action
    assert isinstance(action, Dial)
    assert [(s.lines[0].host, s.on_busy, s.on_no_answer, s.on_failed) for s in action.stages] == [
        ("192.0.2.1", 4, 4, 2),
        ("192.0.2.2", 4, 4, 3),
        ("192.0.2.3", 4, 4, 4),
        ("192.0.2.9", 0, 0, 0),
    ]


def test_a_number_that_no_trunk_group_carries_is_passed_over(rules: Rules) -> None:
    rules.delete_trunk_group("all")
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    trace: Trace = []
    assert decided(rules, Call(), trace).why.value == "no_line"
    assert "stage 1: line m is 13900001111, which no trunk group carries, passed over" in [s.finding for s in trace]


def test_a_changed_trunk_is_in_force_for_the_next_call(rules: Rules) -> None:
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    before = decided(rules, Call())
    rules.put(trunk("one", "192.0.2.77"))
    after = decided(rules, Call())
    assert before != after
    assert isinstance(after.action, Dial)
    assert after.action.stages[0].lines[0].host == "192.0.2.77"


ONE, TWO, THREE = (Target(f"192.0.2.{n}") for n in (1, 2, 3))


@pytest.fixture
def checked(rules: Rules) -> Rules:
    """The same trunks, with targets that are asked whether they live, and a number that rings the mobile."""
    rules.put(trunk("one", ONE.host, TWO.host, health_check=HealthCheck()))
    rules.put(trunk("two", THREE.host, health_check=HealthCheck()))
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    return rules


@pytest.mark.parametrize(
    ("dead", "left"),
    [
        ({ONE}, [TWO, THREE]),
        ({TWO, THREE}, [ONE]),
        ({ONE, TWO}, [THREE]),
        ({Target(ONE.host, 5062)}, [ONE, TWO, THREE]),
        ({ONE, TWO, THREE}, [ONE, TWO, THREE]),
    ],
)
def test_dead_targets_are_passed_over_as_long_as_one_lives(
    checked: Rules, dead: set[Target], left: list[Target]
) -> None:
    found = egress.attempts(checked, MOBILE, "call-1", dead)
    assert [line.host for line in found] == [target.host for target in left]


def test_a_trunk_that_wants_no_check_has_no_dead_targets(checked: Rules) -> None:
    checked.put(trunk("one", ONE.host, TWO.host))
    found = egress.attempts(checked, MOBILE, "call-1", {ONE, TWO, THREE})
    assert [line.host for line in found] == [ONE.host, TWO.host]


def test_among_the_living_of_one_priority_the_weights_count(checked: Rules) -> None:
    checked.put(trunk("six", "192.0.2.6", health_check=HealthCheck()))
    checked.put(TrunkGroup("all", ("",), (Member("one", 0, 8), Member("two", 0, 1), Member("six", 0, 3))))
    first = Counter(egress.attempts(checked, MOBILE, f"call-{n}", {ONE, TWO})[0].host for n in range(2000))
    assert first.keys() == {THREE.host, "192.0.2.6"}
    assert abs(first["192.0.2.6"] / 2000 - 0.75) < 0.04


def stages(rules: Rules, edge: str, trace: Trace | None = None) -> list[str]:
    given = replace(setup(), dead={"edge-a": frozenset({ONE}), "edge-c": frozenset({ONE, TWO, THREE})})
    action = decided(rules, Call(edge=edge), trace, given=given).action
    assert isinstance(action, Dial)
    return [stage.lines[0].host for stage in action.stages]


@pytest.mark.parametrize(
    ("edge", "left"),
    [("edge-a", [TWO, THREE]), ("edge-b", [ONE, TWO, THREE]), ("edge-c", [ONE, TWO, THREE]), ("", [ONE, TWO, THREE])],
)
def test_a_target_is_dead_for_calls_of_the_edge_that_sees_it_so(checked: Rules, edge: str, left: list[Target]) -> None:
    assert stages(checked, edge) == [target.host for target in left]


@pytest.mark.parametrize(
    ("edge", "finding"),
    [
        ("edge-a", "line m: udp:192.0.2.1:5060 of trunk one: dead, passed over"),
        (
            "edge-c",
            "line m: udp:192.0.2.1:5060 of trunk one, udp:192.0.2.2:5060 of trunk one, "
            "udp:192.0.2.3:5060 of trunk two: all dead, tried all the same",
        ),
    ],
)
def test_the_explanation_tells_which_targets_are_dead(checked: Rules, edge: str, finding: str) -> None:
    trace: Trace = []
    stages(checked, edge, trace)
    assert [step.finding for step in trace if step.rule == "target"] == [finding]


def test_an_ipv6_target_is_written_with_brackets() -> None:
    assert str(Target("2001:db8::7", 5062, Transport.TCP)) == "tcp:[2001:db8::7]:5062"


def test_a_telephone_in_a_flow_that_goes_on_with_voice_is_reached_through_its_trunks(rules: Rules) -> None:
    nodes = {"desk": DialNode((DialLine("m"),), busy="mail"), "mail": VoicemailNode("greeting")}
    rules.put(Flow("acme", "main", (FlowRevision(1, 0.0, FlowGraph("desk", nodes)),)))
    rules.put(Number("4001234567", "acme", (), flow="main"))
    worker = Line("", "ivr-1", "ivr", "192.0.2.100")
    given = setup(voice=Voice(Pool([(worker, 0.0)]), lambda cursor: "sealed"))
    for call_id in ("call-1", "call-2"):
        action = decided(rules, Call(call_id=call_id), given=given).action
        assert isinstance(action, Dial)
        reached = [(stage.lines[0].host, stage.cursor) for stage in action.stages]
        assert reached[:3] == [("192.0.2.1", ""), ("192.0.2.2", ""), ("192.0.2.3", "")]
        assert reached[3:] == [("192.0.2.100", "sealed")]


def test_dials_that_are_equal_are_the_same_stages_each_time(rules: Rules) -> None:
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    rules.put(TrunkGroup("all", ("",), (Member("two", 0), Member("one", 0))))
    found = {}
    for n in range(40):
        action = decided(rules, Call(call_id=f"call-{n}")).action
        assert isinstance(action, Dial)
        if n >= 2:
            found.setdefault(tuple(stage.lines[0].host for stage in action.stages), set()).add(id(action.stages))
    assert [len(ids) for ids in found.values()] == [1, 1]
    rules.put(trunk("one", "192.0.2.8"))
    action = decided(rules, Call()).action
    assert isinstance(action, Dial)
    assert {stage.lines[0].host for stage in action.stages} == {"192.0.2.8", "192.0.2.3"}
