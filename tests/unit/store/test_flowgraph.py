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
    DialRecording,
    Distribution,
    FlowGraph,
    HangUpCause,
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
)
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
        tuples(st.builds(DialLine, ids, st.integers(1, 1000), st.just(0) | st.integers(1_000, 180_000))),
        st.sampled_from(Distribution),
        maybe,
        st.integers(1_000, 180_000),
        maybe,
        maybe,
        maybe,
        maybe,
        maybe,
        st.sampled_from(DialRecording),
        maybe,
        st.booleans(),
        st.none() | st.builds(LineAnnouncement, maybe, maybe),
        st.sampled_from(["", "*1"]),
        st.sampled_from(["", "*1"]),
        st.sampled_from(["", "*2"]),
        maybe,
    ),
    st.builds(HangUpNode, st.sampled_from(HangUpCause), maybe),
    st.builds(AnnounceNode, maybe, st.booleans(), maybe),
    st.builds(
        MenuNode,
        maybe,
        tuples(st.builds(MenuBranch, st.sampled_from(["1", "*#"]), maybe, st.sampled_from(["", "en"]))),
        maybe,
        maybe,
        st.integers(1_000, 60_000),
        st.integers(0, 9),
        st.integers(1, 20),
        st.sampled_from(["", "#"]),
        st.integers(1_000, 30_000),
        maybe,
        maybe,
        maybe,
        maybe,
        st.integers(1, 20),
    ),
    st.builds(
        VoicemailNode,
        maybe,
        st.integers(1_000, 600_000),
        maybe,
        st.sampled_from(["#", "*#"]),
        st.integers(1_000, 60_000),
        st.booleans(),
        st.integers(0, 60_000),
        maybe,
    ),
    st.builds(
        SurveyNode,
        maybe,
        st.sampled_from(["12345", "1"]),
        maybe,
        st.integers(1_000, 60_000),
        st.integers(0, 9),
        maybe,
        maybe,
    ),
    st.builds(
        RequestNode,
        maybe,
        maybe,
        maybe,
        maybe,
        st.integers(1_000, 10_000),
        tuples(ids),
        tuples(st.builds(ReceivedValue, ids, ids)),
        maybe,
        tuples(st.builds(ConditionBranch, tuples(st.text(max_size=3)), maybe)),
    ),
    st.builds(
        TransferNode,
        maybe,
        st.text(max_size=5),
        tuples(st.sampled_from(["1", "02"])),
        st.integers(1_000, 180_000),
        st.booleans(),
        st.sampled_from(["", "*1"]),
        st.sampled_from(["", "*2"]),
        maybe,
        st.sampled_from(DialRecording),
        maybe,
        maybe,
        maybe,
        maybe,
    ),
    st.builds(
        PasswordNode,
        maybe,
        maybe,
        maybe,
        maybe,
        st.integers(1, 9),
        st.integers(1_000, 60_000),
        st.integers(1_000, 30_000),
        st.sampled_from(["#", "*"]),
        maybe,
    ),
    st.builds(
        QueueNode,
        maybe,
        maybe,
        maybe,
        maybe,
        st.just(0) | st.integers(10_000, 300_000),
        maybe,
        maybe,
        st.integers(10_000, 3_600_000),
        st.integers(1, 1_000),
        st.sampled_from(["", "*1"]),
        maybe,
    ),
    st.builds(MessageNode, maybe, st.text(max_size=5), maybe, maybe, maybe),
    st.builds(SetVariableNode, maybe, st.text(max_size=5), maybe),
    st.builds(ConditionNode, maybe, tuples(st.builds(ConditionBranch, tuples(st.text(max_size=3)), maybe)), maybe),
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
            "m": MenuNode(
                "", (), "", "", timeout_ms=5_000, repeats=0, max_digits=20, next_digit_ms=3_000, min_digits=1
            ),
            "v": VoicemailNode("", 120_000, "", "0123456789*#ABCD", 5_000, beep=True, min_ms=1_000),
            "s": SurveyNode("", keys="12345", timeout_ms=5_000, repeats=0),
        },
    )


def test_a_menu_takes_as_many_digits_as_its_longest_branch_unless_others_are_entered() -> None:
    branches = [{"digits": "1"}, {"digits": "123"}]
    menu = {"branches": branches, "entered": "x"}
    found = flowgraph.graph(graph("m", m={"menu": {"branches": branches}}, e={"menu": menu}))
    assert [one.max_digits for one in found.nodes.values() if isinstance(one, MenuNode)] == [3, 20]


def test_nodes_keep_their_order() -> None:
    found = flowgraph.graph(graph("z", z={"hangUp": {}}, a={"hangUp": {}}, m={"hangUp": {}}))
    assert list(found.nodes) == ["z", "a", "m"]


@pytest.mark.parametrize(
    "node",
    [
        flows_pb2.FlowNode(id="a"),
        flows_pb2.FlowNode(id="a", dial=flows_pb2.DialNode(distribution=77)),  # type: ignore[arg-type]
        flows_pb2.FlowNode(id="a", dial=flows_pb2.DialNode(early_media=77)),  # type: ignore[arg-type]
        flows_pb2.FlowNode(id="a", hang_up=flows_pb2.HangUpNode(cause=77)),  # type: ignore[arg-type]
        flows_pb2.FlowNode(
            id="a",
            region=flows_pb2.RegionNode(branches=[flows_pb2.RegionBranch(carriers=[77])]),  # type: ignore[list-item]
        ),
    ],
    ids=["no kind", "distribution", "early media", "cause", "carrier"],
)
def test_what_only_a_newer_release_knows(node: flows_pb2.FlowNode) -> None:
    with pytest.raises(ValueError, match=r"node a: |77"):
        flowgraph.graph(flows_pb2.FlowGraph(entry="a", nodes=[node]))


def test_two_nodes_of_one_id() -> None:
    node = flows_pb2.FlowNode(id="a", hang_up=flows_pb2.HangUpNode())
    with pytest.raises(ValueError, match="two nodes have one id"):
        flowgraph.graph(flows_pb2.FlowGraph(entry="a", nodes=[node, node]))


@given(st.dictionaries(ids, NODES, min_size=1, max_size=6))
def test_what_is_known_to_be_good_is_read_when_it_is_looked_at(nodes: dict[str, Node]) -> None:
    message = flows_pb2.FlowGraph(
        entry=next(iter(nodes)), nodes=[flowgraph.node_message(id, node) for id, node in nodes.items()]
    )
    read, known = flowgraph.graph(message), flowgraph.known_graph(message)
    assert known.entry == read.entry
    assert list(known.nodes) == list(read.nodes)
    assert known.nodes.get("nobody") is None
    first = list(nodes)[-1]
    assert known.nodes[first] is known.nodes[first]
    assert known == read
