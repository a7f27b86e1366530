"""Graphs as messages and as objects: there and back, defaults filled in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    Distribution,
    FlowGraph,
    HangUpCause,
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
)
from signalbox.domain.regions import Carrier
from signalbox.store import flowgraph
from support.flows import graph

ids = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
maybe = st.one_of(st.just(""), ids)
names = st.frozensets(st.sampled_from(["北京", "内蒙古", "天津"]))
codes = st.frozensets(st.sampled_from(["010", "0471"]))
carriers = st.frozensets(st.sampled_from([one for one in Carrier if one is not Carrier.UNKNOWN]))


def tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=3).map(tuple)


NODES: st.SearchStrategy[Node] = st.one_of(
    st.builds(ScheduleNode, maybe, tuples(st.builds(ScheduleBranch, maybe, maybe)), maybe),
    st.builds(RegionNode, tuples(st.builds(RegionBranch, names, codes, tuples(ids), carriers, maybe)), maybe),
    st.builds(CallerListNode, tuples(ids), maybe, maybe),
    st.builds(
        DialNode,
        tuples(st.builds(DialLine, ids, st.integers(1, 1000))),
        st.sampled_from(Distribution),
        maybe,
        st.integers(1_000, 180_000),
        maybe,
        maybe,
        maybe,
        maybe,
        maybe,
    ),
    st.builds(HangUpNode, st.sampled_from(HangUpCause), maybe),
    st.builds(AnnounceNode, maybe, st.booleans(), maybe),
    st.builds(
        MenuNode,
        maybe,
        tuples(st.builds(MenuBranch, st.sampled_from(["1", "*#"]), maybe)),
        maybe,
        maybe,
        st.integers(1_000, 60_000),
        st.integers(0, 9),
    ),
    st.builds(VoicemailNode, maybe, st.integers(1_000, 600_000), maybe),
    st.builds(SurveyNode, maybe, st.sampled_from(["12345", "1"]), maybe),
)


@given(ids, NODES)
def test_a_node_comes_back_as_it_was(id: str, node: Node) -> None:
    message = flowgraph.node_message(id, node)
    assert message.id == id
    assert flowgraph.node(flows_pb2.FlowNode.FromString(message.SerializeToString())) == node


def test_what_is_absent_has_the_defaults_of_the_contract() -> None:
    found = flowgraph.graph(
        graph(
            "d",
            d={"dial": {"lines": [{"line": "a"}]}},
            h={"hangUp": {}},
            m={"menu": {}},
            v={"voicemail": {}},
            s={"survey": {}},
        )
    )
    assert found == FlowGraph(
        "d",
        {
            "d": DialNode((DialLine("a", 1),), Distribution.SEQUENTIAL, ring_ms=30_000),
            "h": HangUpNode(HangUpCause.DECLINED),
            "m": MenuNode("", (), "", "", timeout_ms=5_000, repeats=0),
            "v": VoicemailNode("", max_ms=120_000),
            "s": SurveyNode("", keys="12345"),
        },
    )


def test_nodes_keep_their_order() -> None:
    found = flowgraph.graph(graph("z", z={"hangUp": {}}, a={"hangUp": {}}, m={"hangUp": {}}))
    assert list(found.nodes) == ["z", "a", "m"]


@pytest.mark.parametrize(
    "node",
    [
        flows_pb2.FlowNode(id="a"),
        flows_pb2.FlowNode(id="a", dial=flows_pb2.DialNode(distribution=77)),  # type: ignore[arg-type]
        flows_pb2.FlowNode(id="a", hang_up=flows_pb2.HangUpNode(cause=77)),  # type: ignore[arg-type]
        flows_pb2.FlowNode(
            id="a",
            region=flows_pb2.RegionNode(branches=[flows_pb2.RegionBranch(carriers=[77])]),  # type: ignore[list-item]
        ),
    ],
    ids=["no kind", "distribution", "cause", "carrier"],
)
def test_what_only_a_newer_release_knows(node: flows_pb2.FlowNode) -> None:
    with pytest.raises(ValueError, match=r"node a: |77"):
        flowgraph.graph(flows_pb2.FlowGraph(entry="a", nodes=[node]))


def test_two_nodes_of_one_id() -> None:
    node = flows_pb2.FlowNode(id="a", hang_up=flows_pb2.HangUpNode())
    with pytest.raises(ValueError, match="two nodes have one id"):
        flowgraph.graph(flows_pb2.FlowGraph(entry="a", nodes=[node, node]))
