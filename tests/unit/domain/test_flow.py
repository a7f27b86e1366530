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
    Exit,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    RegionBranch,
    RegionNode,
    ScheduleBranch,
    ScheduleNode,
    SurveyNode,
    VoicemailNode,
    exits,
    needs_voice,
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
    DIAL,
    HangUpNode(),
]
VOICED: list[Node] = [
    replace(DIAL, whisper="hello"),
    replace(DIAL, after="x"),
    HangUpNode(prompt="bye"),
    AnnounceNode("hello", answer=False, next="x"),
    MenuNode("hello", (MenuBranch("1", "x"),), "x", "x"),
    VoicemailNode("hello"),
    SurveyNode("hello"),
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
    (VoicemailNode("p", next="a"), [Exit("voicemail.next", "a", required=False)]),
    (SurveyNode("p", next="a"), [Exit("survey.next", "a", required=False)]),
]


@pytest.mark.parametrize(("node", "expected"), EXITS, ids=lambda value: type(value).__name__)
def test_ways_out_of_a_node(node: Node, expected: list[Exit]) -> None:
    assert list(exits(node)) == expected
