"""Whether a call flow is good: random graphs of up to 7 nodes, small enough to follow every way, against a slow,
obvious reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    FlowGraph,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    ScheduleBranch,
    ScheduleNode,
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
    RequestNode,
    SetVariableNode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

END = HangUpNode()
IDS = [f"n{i}" for i in range(7)]
targets = st.sampled_from([*IDS[:5], *IDS, "gone", ""])


def nodes() -> st.SearchStrategy[Node]:
    line, key = (DialLine("l"),), st.builds(MenuBranch, st.just("1"), targets)
    return st.one_of(
        st.builds(ScheduleNode, st.just("s"), st.tuples(st.builds(ScheduleBranch, st.just("p"), targets)), targets),
        st.builds(CallerListNode, st.just(("l",)), targets, targets),
        st.builds(DialNode, st.just(line), busy=targets, no_answer=targets, failed=targets, after=targets),
        st.builds(DialNode, st.just(line), busy=targets),
        st.builds(DialNode, st.just(line), transfer_keys=st.just("*"), transfer=targets),
        st.just(END),
        st.builds(AnnounceNode, st.just("p"), st.booleans(), targets),
        st.builds(MenuNode, st.just("p"), st.tuples(key), targets, targets),
        st.builds(MenuNode, st.just("p"), st.just(()), targets, targets, variable=st.just("v"), entered=targets),
        st.builds(VoicemailNode, st.just("p"), next=targets),
        st.builds(VoicemailNode, st.just("p"), next=targets, no_message=targets),
        st.builds(SurveyNode, st.just("p"), next=targets),
        st.builds(SetVariableNode, st.just("v"), st.just("{caller}"), targets),
        st.builds(RequestNode, st.just("u"), st.just("k"), targets, targets),
        st.builds(MessageNode, st.just("106"), st.just("hi"), next=targets, failed=targets),
        st.builds(TransferNode, st.just("l"), busy=targets, after=targets),
        st.builds(PasswordNode, st.just("p"), st.just("s"), targets, targets),
        st.builds(
            ConditionNode, st.just("v"), st.tuples(st.builds(ConditionBranch, st.just(("1",)), targets)), targets
        ),
    )


graphs = st.builds(FlowGraph, targets, st.dictionaries(st.sampled_from(IDS), nodes(), min_size=1))


def walks(graph: FlowGraph, start: str) -> Iterator[list[str]]:
    """Every way from a node that passes no node twice, with where it ends: the node before, a circle, or ""."""
    stack = [[start]]
    while stack:
        walk = stack.pop()
        yield walk
        if walk[-1] in graph.nodes and walk[-1] not in walk[:-1]:
            stack += [[*walk, way.target] for way in exits(graph.nodes[walk[-1]])]


def reached_slowly(graph: FlowGraph) -> set[str]:
    return {walk[-1] for walk in walks(graph, graph.entry)}


def ends_slowly(graph: FlowGraph, id: str) -> bool:
    """A way comes to a node that hangs up, or to none."""
    lasts = [walk[-1] for walk in walks(graph, id)]
    return any(last not in graph.nodes or isinstance(graph.nodes[last], HangUpNode) for last in lasts)


def circles_slowly(graph: FlowGraph) -> set[frozenset[str]]:
    """The nodes of every circle that a call can run through without hearing anything."""
    found = set()
    for id in graph.nodes:
        stack = [[id]]
        while stack:
            walk = stack.pop()
            for way in exits(graph.nodes[walk[-1]]):
                if way.silent and way.target == id:
                    found.add(frozenset(walk))
                elif way.silent and way.target in graph.nodes and way.target not in walk:
                    stack.append([*walk, way.target])
    return found


@settings(max_examples=400, deadline=None)
@given(graphs)
def test_random_graphs_are_judged_as_by_following_every_way(graph: FlowGraph) -> None:
    found = structure(graph)
    ids = list(graph.nodes)
    unreachable = {one.reason.split(":")[0] for one in found if one.reason.endswith("no way leads here from the entry")}
    endless = {one.reason.split(":")[0] for one in found if one.reason.endswith("no way from here ends the call")}
    told = [re.findall(r"\w+", one.reason.split("played: ")[1]) for one in found if "played: " in one.reason]
    nowhere = {one.field for one in found if "there is no node" in one.reason or one.reason.endswith("is required")}

    if graph.entry in graph.nodes:
        assert unreachable == {f"node {id}" for id in ids if id not in reached_slowly(graph)}
    assert endless == {f"node {id}" for id in ids if not ends_slowly(graph, id)}
    circles = circles_slowly(graph)
    assert bool(told) == bool(circles)
    for way in told:
        assert way[0] == way[-1]
        assert frozenset(way) in circles
    for circle in circles:
        assert any(circle & frozenset(way) or meets(circle, set(way), circles) for way in told)
    assert nowhere == {
        *({"entry"} if graph.entry not in graph.nodes else set()),
        *(
            f"nodes[{at}].{way.field}"
            for at, id in enumerate(ids)
            for way in exits(graph.nodes[id])
            if way.target not in graph.nodes and (way.target or way.required)
        ),
    }


def meets(circle: frozenset[str], told: set[str], circles: set[frozenset[str]]) -> bool:
    """True if a circle hangs together with one that was told, over other circles."""
    reached = set(circle)
    while True:
        more = {id for other in circles if other & reached for id in other} | reached
        if more & told:
            return True
        if more == reached:
            return False
        reached = more


@given(graphs)
def test_faults_of_a_random_graph_name_fields_that_are_there(graph: FlowGraph) -> None:
    for one in structure(graph):
        at = re.match(r"nodes\[(\d+)\]\.", one.field)
        assert one.field == "entry" or at is not None
        if at is not None:
            assert one.reason.startswith(f"node {list(graph.nodes)[int(at[1])]}: ")
