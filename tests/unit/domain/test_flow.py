"""Call flows as objects: revisions in force, ways out of nodes, which nodes need voice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpNode,
    LineAnnouncement,
    MenuBranch,
    MenuNode,
    Node,
    RegionBranch,
    RegionNode,
    ScheduleBranch,
    ScheduleNode,
    SurveyNode,
    TransferNode,
    VoicemailNode,
    needs_voice,
)
from signalbox.domain.flow_exits import Exit, exits
from signalbox.domain.flow_nodes import (
    ConditionBranch,
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    RequestNode,
    SetVariableNode,
)

GRAPH = FlowGraph("end", {"end": HangUpNode()})
DIAL = DialNode((DialLine("a"),))


def flow(*times: float) -> Flow:
    revisions = tuple(FlowRevision(number, time, GRAPH) for number, time in enumerate(times, 1))
    return Flow("acme", "main", revisions)


def test_a_revision_is_in_force_from_its_time_until_the_next_ones() -> None:
    main = flow(100.0, 200.0)
    numbers = [found and found.number for found in map(main.revision_at, (99.999, 100.0, 199.999, 200.0, 1e9))]
    assert numbers == [None, 1, 1, 2, 2]


def test_of_two_revisions_at_one_time_the_later_counts() -> None:
    found = flow(100.0, 100.0).revision_at(100.0)
    assert found is not None
    assert found.number == 2


def test_a_flow_that_was_never_activated_has_nothing_in_force() -> None:
    assert flow().revision_at(1e9) is None


def test_a_superseded_revision_is_found_by_its_number() -> None:
    main = flow(100.0, 200.0)
    assert main.revision(1) == main.revisions[0]
    assert main.revision(3) is None


@given(st.lists(st.integers(0, 20), max_size=8).map(sorted), st.integers(-1, 21))
def test_what_is_in_force_is_the_last_that_has_begun(times: list[int], now: int) -> None:
    found = flow(*map(float, times)).revision_at(now)
    begun = [number for number, time in enumerate(times, 1) if time <= now]
    assert (found.number if found else None) == (begun[-1] if begun else None)


SILENT: list[Node] = [
    ScheduleNode("hours", (), "x"),
    RegionNode((), "x"),
    CallerListNode(("vip",), "x", "y"),
    ConditionNode("caller", (ConditionBranch(("1",), "x"),), "y"),
    DIAL,
    HangUpNode(),
]
VOICED: list[Node] = [
    replace(DIAL, whisper="hello"),
    replace(DIAL, after="x"),
    replace(DIAL, ring_back="p"),
    replace(DIAL, replaces_early_media=True),
    replace(DIAL, announces=LineAnnouncement()),
    replace(DIAL, pause_keys="*1"),
    replace(DIAL, transfer_keys="*2", transfer="x"),
    HangUpNode(prompt="bye"),
    AnnounceNode("hello", answer=False, next="x"),
    MenuNode("hello", (MenuBranch("1", "x"),), "x", "x"),
    VoicemailNode("hello"),
    SurveyNode("hello"),
    SetVariableNode("a", "1", "x"),
    RequestNode("https://example.com", "key", "x", "y"),
    MessageNode("106", "hi"),
    TransferNode("a"),
    PasswordNode("p", "s", "x", "y"),
    QueueNode("d", "p", "x", "y"),
]


@pytest.mark.parametrize("node", SILENT, ids=repr)
def test_nodes_that_are_decided_at_once(node: Node) -> None:
    assert not needs_voice(node)


@pytest.mark.parametrize("node", VOICED, ids=repr)
def test_nodes_that_need_voice(node: Node) -> None:
    assert needs_voice(node)


NONE: frozenset[str] = frozenset()
EXITS: list[tuple[Node, list[Exit]]] = [
    (
        ScheduleNode("hours", (ScheduleBranch("open", "a"),), "b"),
        [Exit("schedule.branches[0].next", "a", silent=True), Exit("schedule.otherwise", "b", silent=True)],
    ),
    (
        RegionNode((RegionBranch(frozenset({"北京"}), NONE, (), frozenset(), "a"),), "b"),
        [Exit("region.branches[0].next", "a", silent=True), Exit("region.otherwise", "b", silent=True)],
    ),
    (
        CallerListNode(("vip",), "a", "b"),
        [Exit("caller_list.member", "a", silent=True), Exit("caller_list.otherwise", "b", silent=True)],
    ),
    (
        DialNode((DialLine("l"),), busy="a", no_answer="b", failed="c", after="d"),
        [
            Exit("dial.busy", "a", required=False, silent=True),
            Exit("dial.no_answer", "b", required=False, silent=True),
            Exit("dial.failed", "c", required=False, silent=True),
            Exit("dial.after", "d", required=False),
        ],
    ),
    (
        DialNode((DialLine("l"),), transfer_keys="*2", transfer="a"),
        [
            Exit("dial.busy", "", required=False, silent=True),
            Exit("dial.no_answer", "", required=False, silent=True),
            Exit("dial.failed", "", required=False, silent=True),
            Exit("dial.after", "", required=False),
            Exit("dial.transfer", "a"),
        ],
    ),
    (HangUpNode(), []),
    (AnnounceNode("p", answer=True, next="a"), [Exit("announce.next", "a")]),
    (
        MenuNode("p", (MenuBranch("1", "a"), MenuBranch("2", "b")), "c", "d"),
        [
            Exit("menu.branches[0].next", "a"),
            Exit("menu.branches[1].next", "b"),
            Exit("menu.no_input", "c"),
            Exit("menu.no_match", "d"),
        ],
    ),
    (
        MenuNode("p", (), "c", "d", variable="v", entered="e"),
        [Exit("menu.entered", "e"), Exit("menu.no_input", "c"), Exit("menu.no_match", "d")],
    ),
    (VoicemailNode("p", next="a"), [Exit("voicemail.next", "a", required=False)]),
    (
        VoicemailNode("p", no_message="a"),
        [Exit("voicemail.next", "", required=False), Exit("voicemail.no_message", "a")],
    ),
    (SurveyNode("p", next="a"), [Exit("survey.next", "a", required=False)]),
    (
        RequestNode("u", "k", "b", "c", branch_key="x", branches=(ConditionBranch(("1",), "a"),)),
        [
            Exit("request.branches[0].next", "a", silent=True),
            Exit("request.otherwise", "b", silent=True),
            Exit("request.failed", "c", silent=True),
        ],
    ),
    (
        TransferNode("l", busy="a", no_answer="b", failed="c", after="d"),
        [
            Exit("transfer.busy", "a", required=False, silent=True),
            Exit("transfer.no_answer", "b", required=False, silent=True),
            Exit("transfer.failed", "c", required=False, silent=True),
            Exit("transfer.after", "d", required=False),
        ],
    ),
    (PasswordNode("p", "s", "a", "b"), [Exit("password.ok", "a"), Exit("password.failed", "b")]),
    (
        QueueNode("d", "p", "f", "t", leave_keys="*", left="l"),
        [
            Exit("queue.dial", "d"),
            Exit("queue.full", "f", silent=True),
            Exit("queue.timed_out", "t"),
            Exit("queue.left", "l"),
        ],
    ),
    (
        QueueNode("d", "p", "f", "t"),
        [Exit("queue.dial", "d"), Exit("queue.full", "f", silent=True), Exit("queue.timed_out", "t")],
    ),
    (MessageNode("106", "hi"), [Exit("message.next", "", required=False, silent=True)]),
    (
        MessageNode("106", "hi", next="a", failed="b"),
        [Exit("message.next", "a", required=False, silent=True), Exit("message.failed", "b", silent=True)],
    ),
    (SetVariableNode("v", "1", "a"), [Exit("set_variable.next", "a", silent=True)]),
    (
        ConditionNode("v", (ConditionBranch(("1",), "a"),), "b"),
        [Exit("condition.branches[0].next", "a", silent=True), Exit("condition.otherwise", "b", silent=True)],
    ),
]


@pytest.mark.parametrize(("node", "expected"), EXITS, ids=lambda value: type(value).__name__)
def test_ways_out_of_a_node(node: Node, expected: list[Exit]) -> None:
    assert list(exits(node)) == expected
