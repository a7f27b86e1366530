"""Past calls by two sets of rules: what differs, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.decided import Decision, Dial, Why
from signalbox.domain.flow import (
    AnnounceNode,
    DialLine,
    DialNode,
    DialRecording,
    Distribution,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpCause,
    LineGroup,
    MenuNode,
)
from signalbox.domain.objects import DialStage, Line, MediaMode, Member, Number, Target, Trunk, TrunkGroup
from signalbox.domain.replay import FIELDS, Comparison, Judge, PastCall, Recorded, Replay, differences, from_recorded
from signalbox.domain.rules import Rules
from support import reference
from support.deciding import NOW, Places
from support.reference import BUSY, CALLERS, DEAD, LINES, PLACES, TAKEN, VAIN, World

from .test_decision_reference import worlds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.domain.flow import Node

CALL = PastCall("call-1", "4001234567", "13800001234", NOW, trunk="carrier")
FATES = st.fixed_dictionaries({id: st.sampled_from([BUSY, VAIN, DEAD, TAKEN]) for id in LINES})
TIMES = st.floats(NOW, NOW + 86_400)


def rules(
    *nodes: tuple[str, Node],
    number: Number | None = None,
    lines: tuple[Line, ...] = (),
    others: tuple[object, ...] = (),
) -> Rules:
    """Number 4001234567 of acme with lines a to e, led through the nodes."""
    made = Rules()
    made.put(Trunk("carrier"))
    for id in LINES:
        made.put(Line("acme", id, "1", "192.0.2.1"))
    for item in (*lines, *others):
        made.put(item)  # type: ignore[arg-type]
    if nodes:
        made.put(Flow("acme", "main", (FlowRevision(1, 0.0, FlowGraph(nodes[0][0], dict(nodes))),)))
    made.put(number or Number("4001234567", "acme", (), flow="main"))
    return made


def compared(before: Rules, after: Rules, call: PastCall = CALL) -> Comparison:
    return Replay(*(Judge(each, Places(PLACES)) for each in (before, after))).compare(call)


def dial(*ids: str, weights: tuple[int, ...] = (), **fields: object) -> DialNode:
    lines = tuple(DialLine(id, weight) for id, weight in zip(ids, weights or (1,) * len(ids), strict=True))
    return DialNode(lines, **fields)  # type: ignore[arg-type]


# --- outcomes ------------------------------------------------------------------------------------------------------


@given(worlds(), st.sampled_from(CALLERS), TIMES, FATES)
@settings(max_examples=400, deadline=None)
def test_an_outcome_is_what_the_call_would_have_come_to_were_no_limit_reached(
    world: World, caller: str, now: float, fates: Mapping[str, str]
) -> None:
    world = replace(world, limits=dict.fromkeys(world.limits), counts={}, caps={})
    call = replace(CALL, calling=caller or "anonymous", begin=now)
    outcome = Judge(reference.rules_of(world), Places(PLACES)).outcome(call)
    decision = Decision(outcome.action, Why(outcome.why))
    assert reference.rung_by(decision, fates) == reference.expected(world, caller, now, fates)


def test_the_way_leads_to_the_first_node_that_is_no_branch() -> None:
    nodes = {"hours": reference.schedule("where", "end"), "where": reference.region("北京", "a", "end")}
    made = rules(
        *nodes.items(), ("a", dial("a", busy="end")), ("end", reference.hang_up(HangUpCause.DECLINED))
    )  # fmt: skip
    judge = Judge(made, Places(PLACES))
    assert judge.outcome(CALL).way == ("hours", "end"), "the schedule is not there"
    assert (judge.outcome(CALL).kind, judge.outcome(CALL).code, judge.outcome(CALL).flow) == ("reject", 603, "main")


def test_a_number_without_a_flow_has_no_way() -> None:
    judge = Judge(rules(number=Number("4001234567", "acme", (DialStage(("a",)),))), Places())
    first = judge.outcome(CALL)
    assert (first.kind, first.way, [line.id for line in first.stages[0].lines]) == ("dial", (), ["a"])
    judge.outcome(CALL)
    assert differences(first, judge.outcome(CALL)) == (), "also when the decision is remembered"


@pytest.mark.parametrize(
    ("changes", "why"), [({"called": "4009999999"}, "number_unknown"), ({"trunk": "other"}, "trunk_unknown")]
)
def test_calls_that_reach_no_number(changes: dict[str, str], why: str) -> None:
    outcome = Judge(rules(("a", dial("a"))), Places()).outcome(replace(CALL, **changes))  # type: ignore[arg-type]
    assert (outcome.why, outcome.number, outcome.flow) == (why, "", "")


# --- differences ---------------------------------------------------------------------------------------------------


@given(worlds(), st.sampled_from(CALLERS), TIMES)
@settings(max_examples=300, deadline=None)
def test_the_same_rules_change_nothing(world: World, caller: str, now: float) -> None:
    call = replace(CALL, calling=caller or "anonymous", begin=now)
    found = compared(reference.rules_of(world), reference.rules_of(world), call)
    assert (found.differs, found.behind) == ((), False)


BRANCHES = 4


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Node]:
    """Branches that lead on to later ones or to dials, each with a line of its own and nothing after it."""
    nodes: dict[str, Node] = {}
    for at in range(BRANCHES):
        to = st.sampled_from([*(f"n{later}" for later in range(at + 1, BRANCHES)), *(f"ring-{id}" for id in LINES)])
        kind = draw(st.sampled_from(["schedule", "region", "list"]))
        match kind:
            case "schedule":
                nodes[f"n{at}"] = reference.schedule(draw(to), draw(to))
            case "region":
                nodes[f"n{at}"] = reference.region(draw(st.sampled_from(["北京", "内蒙古"])), draw(to), draw(to))
            case _:
                nodes[f"n{at}"] = reference.caller_list(draw(to), draw(to))
    return nodes | {f"ring-{id}": dial(id) for id in LINES}


def inverted(node: Node) -> Node:
    """The branch with its two ways exchanged."""
    if hasattr(node, "member"):
        return replace(node, member=node.otherwise, otherwise=node.member)  # type: ignore[union-attr, call-arg]
    (branch,) = node.branches  # type: ignore[union-attr]
    return replace(node, branches=(replace(branch, next=node.otherwise),), otherwise=branch.next)  # type: ignore


@given(trees(), st.integers(0, BRANCHES - 1), st.lists(st.tuples(st.sampled_from(CALLERS), TIMES), min_size=8))
@settings(max_examples=300, deadline=None)
def test_an_inverted_branch_changes_the_calls_that_take_it_and_no_others(
    nodes: dict[str, Node], at: int, calls: list[tuple[str, float]]
) -> None:
    name = f"n{at}"
    world = World(
        nodes, None, (540, 1080), frozenset(), frozenset({"p139"}), False, False, {}, frozenset(),
        dict.fromkeys(["trunk/carrier", "number/4001234567", "tenant/acme"]), {},
    )  # fmt: skip
    other = replace(world, nodes={**nodes, name: inverted(nodes[name])})
    replay = Replay(*(Judge(reference.rules_of(each), Places(PLACES)) for each in (world, other)))
    for caller, now in calls:
        found = replay.compare(replace(CALL, calling=caller or "anonymous", begin=now))
        takes_it = name in found.before.way and inverted(nodes[name]) != nodes[name]
        assert bool(found.differs) == takes_it, found


A = dial("a", "b")


@pytest.mark.parametrize(
    ("after", "differs"),
    [
        (dial("a", "c"), {"lines"}),
        (dial("a", "b", ring_ms=5_000), {"lines"}),
        (dial("a", "b", busy="end"), {"jumps"}),
        (dial("a", "b", distribution=Distribution.ROUND_ROBIN), {"shares"}),
        (dial("b", "a"), {"lines"}),
        (dial("a", "b", distribution=Distribution.ALL), {"lines"}),
        (reference.hang_up(HangUpCause.BUSY), {"action", "why", "code"}),
        (AnnounceNode("hello", False, "end"), {"action", "why", "lines"}),
    ],
)
def test_what_of_a_dial_is_another(after: Node, differs: set[str]) -> None:
    end = ("end", reference.hang_up(HangUpCause.DECLINED))
    found = compared(rules(("first", A), end), rules(("first", after), end))
    assert set(found.differs) == differs


def test_the_name_of_a_node_is_part_of_the_way_alone() -> None:
    renamed = compared(rules(("first", A)), rules(("second", A)))
    assert renamed.differs == ("way",)
    drawn = dial("a", "b", "c", distribution=Distribution.RANDOM)
    assert compared(rules(("first", drawn)), rules(("second", drawn))).differs == ("way",), "nothing is drawn"


def test_shares_are_compared_as_they_are_written() -> None:
    def weighted(*weights: int) -> Rules:
        return rules(("first", dial("a", "b", weights=weights, distribution=Distribution.WEIGHTED)))

    assert compared(weighted(70, 30), weighted(80, 20)).differs == ("shares",)
    assert compared(weighted(70, 30), weighted(70, 30)).differs == ()


def test_lines_of_a_group_are_lines() -> None:
    def grouped(*ids: str) -> Rules:
        group = LineGroup("acme", "desks", tuple(map(DialLine, ids)))
        return rules(("first", DialNode(line_group="desks")), others=(group,))

    assert compared(grouped("a", "b"), grouped("a", "b")).differs == ()
    assert compared(grouped("a", "b"), grouped("b")).differs == ("lines",)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"host": "192.0.2.99"}, ("lines",)),
        ({"concurrent_calls": 5}, ()),
        ({"remove_identity": True}, ("lines",)),
    ],
)
def test_where_a_line_is_makes_a_difference_and_its_cap_does_not(
    change: dict[str, object], differs: tuple[str, ...]
) -> None:
    line = Line("acme", "a", "1", "192.0.2.1")
    other = replace(line, **change)  # type: ignore[arg-type]
    assert compared(rules(("first", A)), rules(("first", A), lines=(other,))).differs == differs


def carried(*members: Member) -> Rules:
    trunks = tuple(Trunk(one.trunk, targets=(Target(f"198.51.100.{at}"),)) for at, one in enumerate(members, 1))
    line = Line("acme", "a", "13911112222", "")
    return rules(("first", dial("a")), lines=(line,), others=(*trunks, TrunkGroup("out", ("",), members)))


def test_trunks_are_told_as_lines_and_by_their_shares() -> None:
    even = carried(Member("one"), Member("two"))
    assert compared(even, carried(Member("one"), Member("two"))).differs == ()
    assert "shares" in compared(even, carried(Member("one", weight=9), Member("two"))).differs
    assert "lines" in compared(carried(Member("one")), rules(("first", dial("a")))).differs


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"media": MediaMode.BYPASS}, ("media",)),
        ({"media": MediaMode.RECORD}, ("media",)),
        ({"max_duration_s": 60}, ("duration",)),
        ({"suspended": True}, ("action", "why", "code", "way")),
        ({"tenant": "other"}, ("action", "why", "code", "number", "way")),
    ],
)
def test_what_of_a_number_is_another(change: dict[str, object], differs: tuple[str, ...]) -> None:
    number = Number("4001234567", "acme", (), flow="main")
    changed = replace(number, **change)  # type: ignore[arg-type]
    assert compared(rules(("first", A)), rules(("first", A), number=changed)).differs == differs
    assert set(differs) <= set(FIELDS)


def test_another_dial_that_is_recorded_is_other_media() -> None:
    def recorded(first: DialRecording, second: DialRecording) -> Rules:
        return rules(("first", dial("a", busy="then", recording=first)), ("then", dial("b", recording=second)))

    found = compared(recorded(DialRecording.ON, DialRecording.OFF), recorded(DialRecording.OFF, DialRecording.ON))
    assert isinstance(found.before.action, Dial)
    assert isinstance(found.after.action, Dial)
    assert found.before.action.media is found.after.action.media is MediaMode.RECORD
    assert found.differs == ("media",)


# --- voice -----------------------------------------------------------------------------------------------------------


def spoken(menu: MenuNode, entry: str = "hello") -> Rules:
    return rules((entry, AnnounceNode("hello", False, "menu")), ("menu", menu), ("a", dial("a")), ("b", dial("b")))


def test_a_call_ends_for_the_replay_where_it_is_handed_over() -> None:
    menu = MenuNode("menu", (), "a", "a")
    found = compared(spoken(menu), spoken(menu))
    assert (found.before.kind, found.before.stages[0].cursor, found.differs) == ("voice", "hello", ())
    assert not found.behind
    assert set(compared(spoken(menu), spoken(menu, "welcome")).differs) == {"lines", "way"}


def test_that_the_flow_is_another_behind_that_point_is_said() -> None:
    found = compared(spoken(MenuNode("menu", (), "a", "a")), spoken(MenuNode("menu", (), "a", "b")))
    assert (found.differs, found.behind) == ((), True)
    again = Replay(*(Judge(spoken(MenuNode("menu", (), "a", way)), Places()) for way in ("a", "b")))
    assert [again.compare(CALL).behind for _ in range(2)] == [True, True]


def test_a_dial_may_be_followed_by_a_worker_with_voice() -> None:
    nodes = (("first", dial("a", no_answer="sorry")), ("sorry", AnnounceNode("sorry", False, "end")))
    made = rules(*nodes, ("end", reference.hang_up(HangUpCause.BUSY)))
    outcome = Judge(made, Places()).outcome(CALL)
    assert (outcome.kind, [stage.cursor for stage in outcome.stages]) == ("dial", ["", "sorry"])


# --- what was recorded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "differs"),
    [
        (Recorded(), ()),
        (Recorded("dial", "4001234567", ("b",)), ()),
        (Recorded("dial", "4001234567", ("a", "b")), ()),
        (Recorded("dial", "4001234567", ("c",)), ("lines",)),
        (Recorded("limit_number", "4001234567"), ("why",)),
        (Recorded("dial", "4007654321"), ("number",)),
    ],
)
def test_what_was_recorded_is_compared_as_far_as_it_goes(recorded: Recorded, differs: tuple[str, ...]) -> None:
    outcome = Judge(rules(("first", A)), Places()).outcome(CALL)
    assert from_recorded(recorded, outcome) == differs


def test_lines_that_rang_for_a_call_that_would_be_refused() -> None:
    outcome = Judge(rules(("end", reference.hang_up(HangUpCause.BUSY))), Places()).outcome(CALL)
    assert from_recorded(Recorded("dial", "", ("a",)), outcome) == ("why", "lines")
