"""Stored messages into the objects that decisions are made of.

What comes out is good for every proxy: one that could not be used would make the proxies refuse whole snapshots.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.address import endpoint
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import (
    DEFAULT_CALLS,
    DEFAULT_DURATION_S,
    DEFAULT_RING_MS,
    DEFAULT_SIP_PORT,
    DEFAULT_ZONE,
    NO_LIMITS,
    NO_SCREENING,
    NUMBER_LIMITS,
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
from signalbox.errors import FieldViolation
from signalbox.routing import convert_screening
from signalbox.routing.convert_schedules import zone
from signalbox.store import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.api.routing.v1 import routing_pb2

ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
MAX_ADDRESSES = 16
MAX_DEAD = 10_000
"""Targets that a proxy may call dead."""
DEFAULT_CHECK = HealthCheck()

_SIP_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,]{1,64}")
_TELEPHONE = re.compile(r"\+?[0-9]{1,63}")
_AGENT = re.compile(r"[0-9]{1,8}")
_DIGITS = re.compile(r"[0-9]{3,15}")
_MEDIA = {types_pb2.MEDIA_MODE_BYPASS: MediaMode.BYPASS, types_pb2.MEDIA_MODE_RECORD: MediaMode.RECORD}
_FORMATS = {
    types_pb2.NUMBER_FORMAT_E164: NumberFormat.E164,
    types_pb2.NUMBER_FORMAT_INTERNATIONAL: NumberFormat.INTERNATIONAL,
}


def tenant(message: types_pb2.Tenant) -> Tenant:
    """A tenant as it is stored. Raises DamagedValueError, as all of these do."""
    try:
        clock = zone(message.time_zone) if message.time_zone else DEFAULT_ZONE
    except ValueError as error:
        raise codec.DamagedValueError(codec.key_of(message), str(error)) from error
    refuses = message.recording.unrecordable == types_pb2.UNRECORDABLE_CALL_IS_REFUSED
    return Tenant(sys.intern(message.id), clock, _limits(message.limits), refuses)


def trunk(message: types_pb2.Trunk) -> Trunk:
    """A trunk as it is stored."""
    _expect(ID.fullmatch(message.id) is not None, message, f"id {message.id!r}")
    for source in message.source_addresses:
        _expect(_accepts(ipaddress.ip_network, source), message, f"source address {source!r}")
    for target in message.targets:
        _expect(_accepts(ipaddress.ip_address, target.host), message, f"host {target.host!r}")
        _expect(target.port <= 65535, message, f"port {target.port}")
    return Trunk(
        message.id,
        tuple(message.source_addresses),
        message.disabled,
        tuple(map(_target, message.targets)),
        _FORMATS.get(message.called_format, NumberFormat.NATIONAL),
        _limits(message.limits),
        _health_check(message) if message.targets else None,
    )


def trunk_group(message: types_pb2.TrunkGroup) -> TrunkGroup:
    """A trunk group as it is stored."""
    members = tuple(Member(one.trunk, one.priority, one.weight or 1) for one in message.members)
    return TrunkGroup(message.id, tuple(message.prefixes), members)


def line(message: types_pb2.Line) -> Line:
    """A line as it is stored."""
    _expect(_SIP_USER.fullmatch(message.user) is not None, message, f"user {message.user!r}")
    if message.host:
        _expect(_accepts(ipaddress.ip_address, message.host), message, f"host {message.host!r}")
    else:
        _expect(_TELEPHONE.fullmatch(message.user) is not None, message, f"user {message.user!r} without a host")
    _expect(message.port <= 65535, message, f"port {message.port}")
    good = not message.agent_number or _AGENT.fullmatch(message.agent_number) is not None
    _expect(good, message, f"agent_number {message.agent_number!r}")
    return Line(
        message.tenant,
        message.id,
        message.user,
        message.host,
        message.port or DEFAULT_SIP_PORT,
        transport(message.transport),
        message.identity_policy == types_pb2.IDENTITY_POLICY_REMOVE,
        message.concurrent_calls,
        message.agent_number,
    )


def number(message: types_pb2.Number) -> Number:
    """A service number as it is stored."""
    _expect(_DIGITS.fullmatch(message.number) is not None, message, f"number {message.number!r}")
    least = 0 if message.flow else 1
    _expect(least <= len(message.stages) <= 16, message, f"{len(message.stages)} stages")
    duration_s = message.max_call_duration.seconds if message.HasField("max_call_duration") else DEFAULT_DURATION_S
    _expect(10 <= duration_s <= 86_400, message, f"longest call {duration_s} s")
    return Number(
        message.number,
        sys.intern(message.tenant),
        () if message.flow else tuple(_dial_stage(message, stage) for stage in message.stages),
        message.state == types_pb2.NUMBER_STATE_SUSPENDED,
        _MEDIA.get(message.media, MediaMode.ANCHOR),
        sys.intern(message.flow),
        convert_screening.rules(message.screening) if message.HasField("screening") else NO_SCREENING,
        _limits(message.limits, DEFAULT_CALLS) if message.HasField("limits") else NUMBER_LIMITS,
        sys.intern(message.over_limit_flow),
        duration_s,
    )


def media_node(message: routing_pb2.MediaNode) -> routing_pb2.MediaNode:
    """A live media node as it is registered."""
    _expect(1 <= message.number <= 65535, message, f"number {message.number}")
    kind, _, address = message.control_address.partition(":")
    good = kind in ("udp", "udp6") and _accepts(endpoint, address) and address == address.lower()
    _expect(good, message, f"control address {message.control_address!r}")
    return message


def voice_worker(message: routing_pb2.VoiceWorker) -> routing_pb2.VoiceWorker:
    """A worker with voice as it is registered."""
    good = _accepts(endpoint, message.sip_address) and message.sip_address == message.sip_address.lower()
    _expect(good, message, f"SIP address {message.sip_address!r}")
    _expect(message.capacity > 0, message, "capacity 0")
    return message


def edge(message: routing_pb2.Edge) -> routing_pb2.Edge:
    """A proxy as it is registered."""
    violation = check_edge(message)
    _expect(violation is None, message, f"{violation.field}: {violation.reason}" if violation else "")
    return message


def dead_targets(message: routing_pb2.EdgeTargets) -> frozenset[Target]:
    """The targets that are dead to a proxy, as it told: :func:`check_targets` has seen them before they were stored."""
    return frozenset(_target(one.target) for one in message.dead)


def check_edge(edge: routing_pb2.Edge) -> FieldViolation | None:
    """What is wrong with a proxy's account of itself, if anything. Names are refused: no DNS in SIP workers."""
    if not ID.fullmatch(edge.id):
        return FieldViolation("edge.id", "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    if not 1 <= len(edge.advertised_addresses) <= MAX_ADDRESSES:
        return FieldViolation("edge.advertised_addresses", f"must be 1 to {MAX_ADDRESSES}")
    for position, address in enumerate(edge.advertised_addresses):
        if not _accepts(endpoint, address):
            return FieldViolation(f"edge.advertised_addresses[{position}]", "must be address:port")
    return None


def check_targets(targets: routing_pb2.EdgeTargets) -> FieldViolation | None:
    """What is wrong with what a proxy says of targets, if anything."""
    if len(targets.dead) > MAX_DEAD:
        return FieldViolation("targets.dead", f"must be at most {MAX_DEAD}")
    for position, one in enumerate(targets.dead):
        if not _accepts(ipaddress.ip_address, one.target.host):
            return FieldViolation(f"targets.dead[{position}].target.host", "must be an IPv4 or IPv6 address")
    return None


def _target(message: types_pb2.TrunkTarget) -> Target:
    return Target(message.host, message.port or DEFAULT_SIP_PORT, transport(message.transport))


def _health_check(owner: types_pb2.Trunk) -> HealthCheck | None:
    """How the targets of a trunk are asked; None: they are not."""
    message = owner.health_check
    if message.disabled:
        return None
    interval_s = message.interval.seconds if message.HasField("interval") else DEFAULT_CHECK.interval_s
    _expect(5 <= interval_s <= 3_600, owner, f"check every {interval_s} s")
    failures, successes = message.failures or DEFAULT_CHECK.failures, message.successes or DEFAULT_CHECK.successes
    _expect(max(failures, successes) <= 10, owner, f"{failures} failures, {successes} successes")
    return HealthCheck(interval_s, failures, successes)


def transport(given: types_pb2.SipTransport.ValueType) -> Transport:
    """UDP where none is given."""
    return Transport.TCP if given == types_pb2.SIP_TRANSPORT_TCP else Transport.UDP


def _limits(message: types_pb2.Limits, calls: int | None = None) -> Limits:
    """Limits, with so many calls at once if nothing is said of them. 0 says that there is no limit."""
    return _shared_limits(
        (message.concurrent_calls if message.HasField("concurrent_calls") else calls) or None,
        message.calls_per_second or None,
        message.calls_per_month or None,
    )


@lru_cache(maxsize=4_096)
def _shared_limits(calls: int | None, second: int | None, month: int | None) -> Limits:
    """Many numbers have equal limits: one object serves them all."""
    return NO_LIMITS if calls is second is month is None else Limits(calls, second, month)


def _dial_stage(owner: types_pb2.Number, stage: types_pb2.DialStage) -> DialStage:
    ring_ms = stage.ring_time.ToMilliseconds() if stage.HasField("ring_time") else DEFAULT_RING_MS
    _expect(1_000 <= ring_ms <= 180_000, owner, f"ring time {ring_ms} ms")
    _expect(1 <= len(stage.lines) <= 8, owner, f"{len(stage.lines)} lines in a stage")
    return DialStage(tuple(stage.lines), ring_ms)


def _expect(holds: bool, message: codec.Object, why: str) -> None:
    if not holds:
        raise codec.DamagedValueError(codec.key_of(message), why)


def _accepts(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
