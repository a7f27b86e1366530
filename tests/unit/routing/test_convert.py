"""Stored messages as objects of the domain, and decisions as messages."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decision import Decision, Dial, Reject, Stage, Why
from signalbox.domain.rules import DialStage, Line, MediaMode, Number, Transport, Trunk
from signalbox.routing import convert
from signalbox.store.codec import DamagedValueError
from support import routing

SECONDS_20 = Duration(seconds=20)


def test_a_trunk_is_read() -> None:
    stored = routing.trunk("carrier", "192.0.2.0/24", "2001:db8::1", disabled=True)
    assert convert.trunk(stored) == Trunk("carrier", ("192.0.2.0/24", "2001:db8::1"), True)


def test_a_line_is_read_with_the_defaults_of_the_protocol() -> None:
    assert convert.line(routing.line()) == Line("acme", "a", "13900001111", "192.0.2.7", 5060, Transport.UDP, False)
    stored = routing.line(
        host="2001:db8::7",
        port=5080,
        transport=types_pb2.SIP_TRANSPORT_TCP,
        identity_policy=types_pb2.IDENTITY_POLICY_REMOVE,
    )
    assert convert.line(stored) == Line("acme", "a", "13900001111", "2001:db8::7", 5080, Transport.TCP, True)


def test_a_number_is_read_with_the_defaults_of_the_protocol() -> None:
    stages = [types_pb2.DialStage(lines=["a", "b"]), types_pb2.DialStage(lines=["c"], ring_time=SECONDS_20)]
    plan = (DialStage(("a", "b"), 30_000), DialStage(("c",), 20_000))
    assert convert.number(routing.number(stages=stages)) == Number("4001234567", "acme", plan)
    stored = routing.number(stages=stages, state=types_pb2.NUMBER_STATE_SUSPENDED, media=types_pb2.MEDIA_MODE_BYPASS)
    assert convert.number(stored) == Number("4001234567", "acme", plan, True, MediaMode.BYPASS)


@pytest.mark.parametrize(
    ("read", "stored"),
    [
        (convert.trunk, routing.trunk("carrier", "not-an-address")),
        (convert.line, routing.line(user="")),
        (convert.line, routing.line(user='1";x')),
        (convert.line, routing.line(user="1" * 65)),
        (convert.line, routing.line(host="pbx.example.com")),
        (convert.line, routing.line(port=65536)),
        (convert.number, routing.number("400123456x")),
        (convert.number, routing.number(stages=[])),
        (convert.number, routing.number(stages=[types_pb2.DialStage(lines=["a"])] * 17)),
        (convert.number, routing.number(stages=[types_pb2.DialStage()])),
        (convert.number, routing.number(stages=[types_pb2.DialStage(lines=["a"] * 9)])),
        (convert.number, routing.number(stages=[types_pb2.DialStage(lines=["a"], ring_time=Duration(nanos=1))])),
        (convert.number, routing.number(stages=[types_pb2.DialStage(lines=["a"], ring_time=Duration(seconds=181))])),
        (convert.media_node, routing.node(0)),
        (convert.media_node, routing.node(65536)),
        (convert.media_node, routing.node(1, control_address="")),
        (convert.media_node, routing.node(1, control_address="tcp:192.0.2.1:2223")),
        (convert.media_node, routing.node(1, control_address="udp:rtpengine:2223")),
        (convert.trunk, routing.trunk("Carrier")),
        (convert.edge, routing_pb2.Edge(id="edge-1")),
    ],
)
def test_a_stored_object_that_cannot_be_used_is_damaged(read: object, stored: object) -> None:
    with pytest.raises(DamagedValueError):
        read(stored)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("edge", "field"),
    [
        (routing.edge("Edge"), "edge.id"),
        (routing.edge(""), "edge.id"),
        (routing.edge("e1", *["192.0.2.1:5060"] * 17), "edge.advertised_addresses"),
        (routing.edge("e1", "192.0.2.1:5060", "192.0.2.1"), "edge.advertised_addresses[1]"),
        (routing.edge("e1", "192.0.2.1:5060;lr"), "edge.advertised_addresses[0]"),
        (routing.edge("e1", "proxy.example.com:5060"), "edge.advertised_addresses[0]"),
        (routing.edge("e1", "2001:db8::1:5060"), "edge.advertised_addresses[0]"),
        (routing.edge("e1", "192.0.2.1:65536"), "edge.advertised_addresses[0]"),
    ],
)
def test_an_edge_that_cannot_be_told_to_others_is_refused(edge: object, field: str) -> None:
    violation = convert.check_edge(edge)  # type: ignore[arg-type]
    assert violation is not None
    assert violation.field == field


def test_edges_may_advertise_addresses_of_both_families() -> None:
    assert convert.check_edge(routing.edge("e1", "192.0.2.1:5060", "[2001:db8::1]:5060")) is None


def test_a_dial_decision_holds_addresses_and_what_the_line_is_told() -> None:
    lines = (
        Line("acme", "a", "13900001111", "192.0.2.7"),
        Line("acme", "b", "+8610", "2001:db8::7", 5080, Transport.TCP, True),
    )
    action = Dial((Stage(lines, 20_000),), MediaMode.BYPASS)
    message = convert.decision_message(Decision(action, Why.DIAL, "acme", "4001234567", caller_independent=True))
    (stage,) = message.dial.stages
    assert stage.ring_time_ms == 20_000
    assert [(b.line, b.uri, b.destination, b.remove_identity) for b in stage.branches] == [
        ("a", "sip:13900001111@192.0.2.7:5060", "sip:192.0.2.7:5060;transport=udp", False),
        ("b", "sip:+8610@[2001:db8::7]:5080", "sip:[2001:db8::7]:5080;transport=tcp", True),
    ]
    assert message.dial.media == types_pb2.MEDIA_MODE_BYPASS
    assert (message.why, message.tenant, message.number) == ("dial", "acme", "4001234567")
    assert message.caller_independent


def test_a_stage_is_followed_by_the_next_however_its_lines_fail_and_the_last_by_nothing() -> None:
    lines = (Line("acme", "a", "13900001111", "192.0.2.7"),)
    action = Dial(tuple(Stage(lines, ring_ms) for ring_ms in (10_000, 20_000, 30_000)), MediaMode.BYPASS)
    stages = convert.decision_message(Decision(action, Why.DIAL)).dial.stages
    assert [(one.on_busy, one.on_no_answer, one.on_failed) for one in stages] == [(2, 2, 2), (3, 3, 3), (0, 0, 0)]


def test_a_refusal_is_told_with_code_and_phrase() -> None:
    message = convert.decision_message(Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN))
    assert (message.reject.code, message.reject.phrase, message.why) == (404, "Not Found", "number_unknown")


def test_equal_decisions_have_equal_fingerprints_and_others_not() -> None:
    one = Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN)
    same = Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN)
    other = Decision(Reject(403, "Forbidden"), Why.TRUNK_UNKNOWN)
    fingerprints = [convert.decision_message(decision).fingerprint for decision in (one, same, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert all(fingerprints)
