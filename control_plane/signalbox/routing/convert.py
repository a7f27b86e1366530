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
    DialStage,
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

_SIP_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,]{1,64}")
_TELEPHONE = re.compile(r"\+?[0-9]{1,63}")
_DIGITS = re.compile(r"[0-9]{3,15}")
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
    return Tenant(sys.intern(message.id), clock, _limits(message.limits))


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
        tuple(Target(one.host, one.port or DEFAULT_SIP_PORT, _transport(one.transport)) for one in message.targets),
        _FORMATS.get(message.called_format, NumberFormat.NATIONAL),
        _limits(message.limits),
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
    return Line(
        message.tenant,
        message.id,
        message.user,
        message.host,
        message.port or DEFAULT_SIP_PORT,
        _transport(message.transport),
        message.identity_policy == types_pb2.IDENTITY_POLICY_REMOVE,
        message.concurrent_calls,
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
        MediaMode.BYPASS if message.media == types_pb2.MEDIA_MODE_BYPASS else MediaMode.ANCHOR,
        sys.intern(message.flow),
        convert_screening.rules(message.screening),
        _limits(message.limits, DEFAULT_CALLS),
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


def edge(message: routing_pb2.Edge) -> routing_pb2.Edge:
    """A proxy as it is registered."""
    violation = check_edge(message)
    _expect(violation is None, message, f"{violation.field}: {violation.reason}" if violation else "")
    return message


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


def _transport(given: types_pb2.SipTransport.ValueType) -> Transport:
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
    return _shared_stage(tuple(stage.lines), ring_ms)


@lru_cache(maxsize=65_536)
def _shared_stage(lines: tuple[str, ...], ring_ms: int) -> DialStage:
    """Many numbers have equal stages: one object serves them all."""
    return DialStage(tuple(map(sys.intern, lines)), ring_ms)


def _expect(holds: bool, message: codec.Object, why: str) -> None:
    if not holds:
        raise codec.DamagedValueError(codec.key_of(message), why)


def _accepts(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
