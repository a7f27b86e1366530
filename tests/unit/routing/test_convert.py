"""Stored messages as objects of the domain."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from google.protobuf.duration_pb2 import Duration
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import (
    NO_LIMITS,
    DialStage,
    HealthCheck,
    Limits,
    Line,
    MediaMode,
    Member,
    Number,
    NumberFormat,
    Target,
    Tenant,
    Transport,
    Trunk,
    TrunkGroup,
)
from signalbox.domain.reaching import TRUNK
from signalbox.domain.screening import ScreeningRules
from signalbox.routing import convert
from signalbox.store.codec import DamagedValueError
from support import routing

SECONDS_20 = Duration(seconds=20)


def test_a_trunk_is_read() -> None:
    stored = routing.trunk("carrier", "192.0.2.0/24", "2001:db8::1", disabled=True)
    assert convert.trunk(stored) == Trunk("carrier", ("192.0.2.0/24", "2001:db8::1"), True)


def test_no_trunk_has_the_id_of_the_one_that_workers_call_lines_from() -> None:
    with pytest.raises(DamagedValueError, match=f"id '{TRUNK}'"):
        convert.trunk(routing.trunk(TRUNK))


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
    assert convert.number(routing.number(media=types_pb2.MEDIA_MODE_RECORD)).media is MediaMode.RECORD


def test_a_trunk_may_send_calls_and_be_limited() -> None:
    targets = [
        types_pb2.TrunkTarget(host="192.0.2.5"),
        types_pb2.TrunkTarget(host="2001:db8::5", port=5070, transport=2),
    ]
    limits = types_pb2.Limits(calls_per_second=5)
    stored = types_pb2.Trunk(id="out", targets=targets, called_format=types_pb2.NUMBER_FORMAT_E164, limits=limits)
    expected = (Target("192.0.2.5"), Target("2001:db8::5", 5070, Transport.TCP))
    sent = Trunk("out", (), False, expected, NumberFormat.E164, Limits(None, 5, None), HealthCheck())
    assert convert.trunk(stored) == sent


def test_a_trunk_group_is_read() -> None:
    members = [types_pb2.TrunkGroupMember(trunk="a"), types_pb2.TrunkGroupMember(trunk="b", priority=1, weight=7)]
    stored = types_pb2.TrunkGroup(id="g", prefixes=["", "0471"], members=members)
    assert convert.trunk_group(stored) == TrunkGroup("g", ("", "0471"), (Member("a", 0, 1), Member("b", 1, 7)))


def test_a_tenant_is_read_with_the_defaults_of_the_protocol() -> None:
    assert convert.tenant(types_pb2.Tenant(id="acme")) == Tenant("acme", ZoneInfo("Asia/Shanghai"), NO_LIMITS)
    stored = types_pb2.Tenant(id="acme", time_zone="Asia/Urumqi", limits=types_pb2.Limits(calls_per_month=5))
    assert convert.tenant(stored) == Tenant("acme", ZoneInfo("Asia/Urumqi"), Limits(None, None, 5))


@pytest.mark.parametrize(
    ("unrecordable", "refuses"),
    [
        (types_pb2.UNRECORDABLE_UNSPECIFIED, False),
        (types_pb2.UNRECORDABLE_CALL_GOES_ON, False),
        (types_pb2.UNRECORDABLE_CALL_IS_REFUSED, True),
    ],
)
def test_a_tenant_says_what_becomes_of_calls_that_cannot_be_recorded(
    unrecordable: types_pb2.Unrecordable.ValueType, refuses: bool
) -> None:
    policy = types_pb2.RecordingPolicy(unrecordable=unrecordable)
    assert convert.tenant(types_pb2.Tenant(id="acme", recording=policy)).refuses_unrecorded is refuses


def test_a_line_without_a_host_is_a_telephone_number() -> None:
    stored = routing.line(host="", user="+8613900001111", concurrent_calls=3, agent_number="017")
    assert convert.line(stored) == Line("acme", "a", "+8613900001111", "", concurrent_calls=3, agent_number="017")


def test_a_number_with_a_flow_needs_no_stages_and_has_all_that_it_is_given() -> None:
    stored = types_pb2.Number(
        number="4001234567",
        tenant="acme",
        flow="main",
        screening=types_pb2.Screening(blacklists=["bad"], refuse_anonymous=True),
        limits=types_pb2.Limits(concurrent_calls=0, calls_per_second=2),
        over_limit_flow="busy",
        max_call_duration=Duration(seconds=60),
    )
    assert convert.number(stored) == Number(
        "4001234567", "acme", (), flow="main", screening=ScreeningRules(("bad",), refuse_anonymous=True),
        limits=Limits(None, 2, None), over_limit_flow="busy", max_duration_s=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("read", "stored"),
    [
        (convert.tenant, types_pb2.Tenant(id="acme", time_zone="Asia/Nowhere")),
        (convert.line, routing.line(agent_number="17a")),
        (convert.trunk, types_pb2.Trunk(id="t", targets=[types_pb2.TrunkTarget(host="sbc.example.com")])),
        (convert.trunk, types_pb2.Trunk(id="t", targets=[types_pb2.TrunkTarget(host="192.0.2.1", port=65536)])),
        (convert.line, routing.line(host="", user="alice")),
        (convert.number, routing.number(max_call_duration=Duration(seconds=9))),
        (convert.number, routing.number(max_call_duration=Duration(seconds=86_401))),
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
        # Of calls at rtpengine what comes before a dot is a worker.
        (routing.edge("edge.1"), "edge.id"),
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


def with_check(**fields: object) -> types_pb2.Trunk:
    targets = [types_pb2.TrunkTarget(host="192.0.2.5")]
    return routing.trunk(targets=targets, health_check=types_pb2.HealthCheck(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "check"),
    [
        (routing.trunk(targets=[types_pb2.TrunkTarget(host="192.0.2.5")]), HealthCheck(30, 3, 2)),
        (routing.trunk(), None),
        (with_check(), HealthCheck(30, 3, 2)),
        (with_check(interval=Duration(seconds=5), failures=1, successes=10), HealthCheck(5, 1, 10)),
        (with_check(disabled=True, failures=1), None),
    ],
)
def test_targets_are_asked_whether_they_live_unless_the_trunk_says_otherwise(
    stored: types_pb2.Trunk, check: HealthCheck | None
) -> None:
    assert convert.trunk(stored).health_check == check


@pytest.mark.parametrize(
    "fields",
    [{"interval": Duration(seconds=4)}, {"interval": Duration(seconds=4000)}, {"failures": 11}, {"successes": 11}],
)
def test_a_damaged_check_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(DamagedValueError):
        convert.trunk(with_check(**fields))


def test_dead_targets_are_read_with_the_defaults_of_the_protocol() -> None:
    told = routing_pb2.EdgeTargets(edge="edge-1")
    told.dead.add().target.host = "192.0.2.5"
    told.dead.add().target.CopyFrom(
        types_pb2.TrunkTarget(host="2001:db8::5", port=5062, transport=types_pb2.SIP_TRANSPORT_TCP)
    )
    assert convert.dead_targets(told) == {Target("192.0.2.5"), Target("2001:db8::5", 5062, Transport.TCP)}


@pytest.mark.parametrize(
    ("told", "field"),
    [
        (routing.targets("edge-1", "192.0.2.5", "carrier.example"), "targets.dead[1].target.host"),
        (routing.targets("edge-1", *(10_001 * ["192.0.2.5"])), "targets.dead"),
    ],
)
def test_what_an_edge_cannot_have_seen_is_refused_when_it_is_told(told: routing_pb2.EdgeTargets, field: str) -> None:
    violation = convert.check_targets(told)
    assert violation is not None
    assert violation.field == field
