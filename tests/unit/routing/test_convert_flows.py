"""Stored flows and line groups as objects of the domain; what could not be walked through is refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import DialLine, DialNode, Distribution, Flow, FlowGraph, FlowRevision, LineGroup
from signalbox.routing import convert_flows
from signalbox.store.codec import DamagedValueError
from support.flows import dial, graph

DIAL = FlowGraph("a", {"a": DialNode((DialLine("a"),))})


def stored(*graphs: flows_pb2.FlowGraph) -> flows_pb2.Flow:
    revisions = [
        flows_pb2.FlowRevision(
            number=number, graph=one, activate_time=Timestamp(seconds=100 * number, nanos=500_000_000)
        )
        for number, one in enumerate(graphs, 1)
    ]
    return flows_pb2.Flow(tenant="acme", id="main", draft=graph("half"), revisions=revisions)


def test_a_flow_is_its_revisions() -> None:
    plain = graph("a", a=dial())
    expected = (FlowRevision(1, 100.5, DIAL), FlowRevision(2, 200.5, DIAL))
    assert convert_flows.flow(stored(plain, plain)) == Flow("acme", "main", expected)
    assert convert_flows.known_flow(stored(plain, plain)) == Flow("acme", "main", expected)


def test_a_flow_with_a_draft_alone_has_no_revisions() -> None:
    assert convert_flows.flow(stored()) == Flow("acme", "main", ())


@pytest.mark.parametrize(
    "nodes",
    [
        {"a": {}},
        {"a": dial(busy="gone")},
        {"a": dial(busy="a")},
        {"a": {"announce": {"prompt": "p", "next": "a"}}},
        {"a": {"dial": {}}},
    ],
    ids=["no kind", "way to nowhere", "silent circle", "no end", "no lines"],
)
def test_a_graph_that_cannot_be_walked_through_is_damaged(nodes: dict[str, Any]) -> None:
    with pytest.raises(DamagedValueError, match=r"value of rules/flows/acme/main is damaged: revision 2: "):
        convert_flows.flow(stored(graph("a", a=dial()), graph("a", **nodes)))


def test_a_line_group_is_read() -> None:
    lines = [flows_pb2.DialLine(line="a", weight=70), flows_pb2.DialLine(line="b")]
    message = flows_pb2.LineGroup(
        tenant="acme", id="sales", lines=lines, distribution=flows_pb2.DISTRIBUTION_ROUND_ROBIN
    )
    expected = LineGroup("acme", "sales", (DialLine("a", 70), DialLine("b", 1)), Distribution.ROUND_ROBIN)
    assert convert_flows.line_group(message) == expected


@pytest.mark.parametrize(
    "fields",
    [{"lines": []}, {"lines": [flows_pb2.DialLine()]}, {"lines": [flows_pb2.DialLine(line="a")], "distribution": 77}],
)
def test_a_line_group_that_cannot_be_rung_is_damaged(fields: dict[str, Any]) -> None:
    with pytest.raises(DamagedValueError):
        convert_flows.line_group(flows_pb2.LineGroup(tenant="acme", id="sales", **fields))
