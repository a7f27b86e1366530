"""Flows without faults, walked through by the engine: it never gets stuck, and asks for no node that is not there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from signalbox.domain.claims import Claimed, Place, Waiting, uncounted
from signalbox.domain.continuing import Next, proceed
from signalbox.domain.decided import Dial, Reject, Why
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_check import structure
from signalbox.domain.flow_exits import exits
from signalbox.domain.flow_nodes import (
    ConditionBranch,
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    ReceivedValue,
    RequestNode,
    SetVariableNode,
)
from signalbox.domain.objects import Line, Number
from signalbox.domain.outcomes import Ended, Outcome
from signalbox.domain.passwords import seal
from signalbox.domain.planner import Voice
from signalbox.domain.rules import Rules
from signalbox.domain.voice import Pool, as_line
from support.deciding import Call, decided, setup

if TYPE_CHECKING:
    from signalbox.domain.claims import Claim
    from signalbox.domain.cursor import Cursor
    from signalbox.domain.decision import Setup

IDS = [f"n{i}" for i in range(6)]
ids = st.sampled_from(IDS)
maybe = st.one_of(st.just(""), ids)
LINES = st.sampled_from([(DialLine("a"),), (DialLine("a"), DialLine("b")), (DialLine("gone"),)])

VARIABLES = st.sampled_from(["a", "b"])
VALUES = st.sampled_from([("",), ("x", "13800001234")])

NODES: st.SearchStrategy[Node] = st.one_of(
    st.builds(CallerListNode, st.just(("vip",)), ids, ids),
    st.builds(DialNode, LINES, busy=maybe, no_answer=maybe, failed=maybe, after=maybe),
    st.builds(DialNode, LINES, busy=maybe),
    st.builds(DialNode, LINES, busy=maybe, ring_back=st.just("p"), transfer_keys=st.just("*"), transfer=ids),
    st.builds(HangUpNode, prompt=st.sampled_from(["", "bye"])),
    st.builds(AnnounceNode, st.just("p"), st.booleans(), ids),
    st.builds(MenuNode, st.just("p"), st.tuples(st.builds(MenuBranch, st.just("1"), ids)), ids, ids),
    st.builds(
        MenuNode,
        st.just("p"),
        st.tuples(st.builds(MenuBranch, st.just("1"), ids, st.sampled_from(["", "en"]))),
        ids,
        ids,
        variable=VARIABLES,
        entered=maybe,
        min_digits=st.integers(1, 3),
    ),
    st.builds(VoicemailNode, st.just("p"), next=maybe, no_message=maybe),
    st.builds(SurveyNode, st.just("p"), next=maybe, variable=VARIABLES | st.just("")),
    st.builds(
        RequestNode,
        st.just("u"),
        st.just("k"),
        ids,
        ids,
        send=st.just(("a", "caller", "time")),
        receive=st.just((ReceivedValue("x", "a"), ReceivedValue("y", "b"))),
        branch_key=st.just("x"),
        branches=st.tuples(st.builds(ConditionBranch, VALUES, ids)),
    ),
    st.builds(TransferNode, st.sampled_from(["a", "gone"]), busy=maybe, no_answer=maybe, failed=maybe, after=maybe),
    st.builds(TransferNode, number=st.sampled_from(["{a}", "10010"]), prefixes=st.just(("1",)), failed=maybe),
    st.builds(QueueNode, ids, st.just("p"), ids, ids, leave_keys=st.just("1"), left=ids),
    st.builds(PasswordNode, st.just("p"), st.just(seal(b"k", "acme", "x", "3333")), ids, ids, st.integers(1, 3)),
    st.builds(MessageNode, st.just("106"), st.just("{a}{caller}"), next=maybe, failed=maybe),
    st.builds(SetVariableNode, VARIABLES, st.sampled_from(["", "x", "{a}{b}{caller} {time}", "号" * 256]), ids),
    st.builds(ConditionNode, VARIABLES | st.just("caller"), st.tuples(st.builds(ConditionBranch, VALUES, ids)), ids),
)


@st.composite
def good_graphs(draw: st.DrawFn) -> FlowGraph:
    """A graph without faults: what cannot be reached is cut off, and what is faulty still is not taken."""
    nodes = {id: draw(NODES) for id in IDS}
    reached, queue = {IDS[0]}, [IDS[0]]
    while queue:
        for way in exits(nodes[queue.pop()]):
            if way.target and way.target not in reached:
                reached.add(way.target)
                queue.append(way.target)
    graph = FlowGraph(IDS[0], {id: node for id, node in nodes.items() if id in reached})
    assume(not structure(graph))
    return graph


def rules_of(graph: FlowGraph) -> Rules:
    rules = Rules()
    for id in ("a", "b"):
        rules.put(Line("acme", id, "100", "192.0.2.7"))
    rules.put(Flow("acme", "main", (FlowRevision(1, 0.0, graph),)))
    rules.put(Number("4001234567", "acme", (), flow="main"))
    return rules


@settings(max_examples=300, deadline=None)
@given(good_graphs(), st.data())
def test_a_flow_without_faults_leads_every_call_to_a_step_or_an_end(graph: FlowGraph, data: st.DataObject) -> None:
    cursors: list[Cursor] = []
    workers = Pool([(as_line("ivr-1", "192.0.2.100", 5060), 0.0)])
    voice = Voice(workers, lambda cursor: cursors.append(cursor) or "sealed")
    rules, given_setup = rules_of(graph), replace(setup(voice=voice), password_key=b"k")
    decision = decided(rules, Call(trunk=""), given=given_setup)
    assert decision.why not in {Why.FLOW_BROKEN, Why.FLOW_MISSING}
    if isinstance(decision.action, Dial):
        rung = {line.id for stage in decision.action.stages for line in stage.lines}
        assert rung <= {"a", "b", "ivr-1"}
        assert len(decision.action.stages) <= 16
    for cursor in cursors:
        assert cursor.node in graph.nodes
        follow(rules, cursor, graph, given_setup, data)


def follow(rules: Rules, cursor: Cursor, graph: FlowGraph, given_setup: Setup, data: st.DataObject) -> None:
    """Some steps of a worker with voice, each with an outcome that its node can have."""
    outcome = None
    for _ in range(8):
        going = proceed(rules, cursor, outcome, 0.0, given_setup)
        try:
            claim = next(going)
            while True:
                waits = isinstance(claim, Waiting)
                claim = going.send(data.draw(PLACES) if waits else data.draw(st.sampled_from([uncounted, full]))(claim))
        except StopIteration as end:
            step: Next = end.value
        if isinstance(step.do, Reject):
            event("ends")
            return
        cursor = step.cursor
        assert cursor.node in graph.nodes
        ended = data.draw(st.sampled_from(can_end(graph.nodes[cursor.node])))
        values = data.draw(ANSWERS) if answers(graph.nodes[cursor.node], ended) else {}
        outcome = Outcome(ended, data.draw(st.sampled_from(["1", "2", "3333"])), values)


PLACES = st.builds(Place, st.integers(0, 2)) | st.just(Place(full=True))


def full(claim: Claim) -> Claimed:
    """No line is free."""
    return Claimed(dials=((),) * len(claim.dials))


ANSWERS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["", "x", "号" * 999]))


def answers(node: Node, ended: Ended) -> bool:
    return isinstance(node, RequestNode) and ended is Ended.DONE


def can_end(node: Node) -> list[Ended]:
    match node:
        case DialNode(transfer_keys="*"):
            return [Ended.BUSY, Ended.NO_ANSWER, Ended.FAILED, Ended.LINE_LEFT, Ended.TRANSFER]
        case DialNode() | TransferNode():
            return [Ended.BUSY, Ended.NO_ANSWER, Ended.FAILED, Ended.LINE_LEFT]
        case MenuNode():
            return [Ended.DIGITS, Ended.NO_INPUT, Ended.NO_MATCH]
        case QueueNode():
            return [Ended.WAITED, Ended.WAITED, Ended.NO_INPUT, Ended.NO_MATCH]
        case PasswordNode():
            return [Ended.DIGITS, Ended.NO_INPUT]
        case RequestNode() | MessageNode():
            return [Ended.DONE, Ended.FAILED]
        case VoicemailNode():
            return [Ended.DONE, Ended.NO_INPUT, Ended.FAILED]
        case SurveyNode():
            return [Ended.DONE, Ended.DIGITS, Ended.NO_INPUT, Ended.NO_MATCH]
    return [Ended.DONE]
