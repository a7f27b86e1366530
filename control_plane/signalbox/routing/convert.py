"""Stored messages into the objects that decisions are made of, and decisions into messages.

What comes out is good for every proxy: one that could not be used would make the proxies refuse whole snapshots.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from signalbox.address import endpoint
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decision import Decision, Reject, Stage
from signalbox.domain.rules import (
    DEFAULT_RING_MS,
    DEFAULT_SIP_PORT,
    DialStage,
    Line,
    MediaMode,
    Number,
    Transport,
    Trunk,
)
from signalbox.errors import FieldViolation
from signalbox.store import codec

if TYPE_CHECKING:
    from collections.abc import Callable

ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
MAX_ADDRESSES = 16

_SIP_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,]{1,64}")
_DIGITS = re.compile(r"[0-9]{3,15}")


def trunk(message: types_pb2.Trunk) -> Trunk:
    """A trunk as it is stored. Raises DamagedValueError, as all of these do."""
    _expect(ID.fullmatch(message.id) is not None, message, f"id {message.id!r}")
    for source in message.source_addresses:
        _expect(_accepts(ipaddress.ip_network, source), message, f"source address {source!r}")
    return Trunk(message.id, tuple(message.source_addresses), message.disabled)


def line(message: types_pb2.Line) -> Line:
    """A line as it is stored."""
    _expect(_SIP_USER.fullmatch(message.user) is not None, message, f"user {message.user!r}")
    _expect(_accepts(ipaddress.ip_address, message.host), message, f"host {message.host!r}")
    _expect(message.port <= 65535, message, f"port {message.port}")
    return Line(
        message.tenant,
        message.id,
        message.user,
        message.host,
        message.port or DEFAULT_SIP_PORT,
        Transport.TCP if message.transport == types_pb2.SIP_TRANSPORT_TCP else Transport.UDP,
        message.identity_policy == types_pb2.IDENTITY_POLICY_REMOVE,
    )


def number(message: types_pb2.Number) -> Number:
    """A service number as it is stored."""
    _expect(_DIGITS.fullmatch(message.number) is not None, message, f"number {message.number!r}")
    _expect(1 <= len(message.stages) <= 16, message, f"{len(message.stages)} stages")
    return Number(
        message.number,
        sys.intern(message.tenant),
        tuple(_dial_stage(message, stage) for stage in message.stages),
        message.state == types_pb2.NUMBER_STATE_SUSPENDED,
        MediaMode.BYPASS if message.media == types_pb2.MEDIA_MODE_BYPASS else MediaMode.ANCHOR,
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


def decision_message(decision: Decision) -> routing_pb2.Decision:
    """A decision as it is sent, with its fingerprint."""
    message = routing_pb2.Decision(
        why=decision.why.value,
        tenant=decision.tenant,
        number=decision.number,
        caller_independent=decision.caller_independent,
    )
    if isinstance(decision.action, Reject):
        message.reject.code, message.reject.phrase = decision.action.code, decision.action.phrase
    else:
        message.dial.media = (
            types_pb2.MEDIA_MODE_BYPASS if decision.action.media is MediaMode.BYPASS else types_pb2.MEDIA_MODE_ANCHOR
        )
        stages = decision.action.stages
        message.dial.stages.extend(
            _stage(stage, position + 1 if position < len(stages) else 0) for position, stage in enumerate(stages, 1)
        )
    digest = blake2b(message.SerializeToString(deterministic=True), digest_size=8).digest()
    message.fingerprint = int.from_bytes(digest) or 1
    return message


def _dial_stage(owner: types_pb2.Number, stage: types_pb2.DialStage) -> DialStage:
    ring_ms = stage.ring_time.ToMilliseconds() if stage.HasField("ring_time") else DEFAULT_RING_MS
    _expect(1_000 <= ring_ms <= 180_000, owner, f"ring time {ring_ms} ms")
    _expect(1 <= len(stage.lines) <= 8, owner, f"{len(stage.lines)} lines in a stage")
    return _shared_stage(tuple(stage.lines), ring_ms)


@lru_cache(maxsize=65_536)
def _shared_stage(lines: tuple[str, ...], ring_ms: int) -> DialStage:
    """Many numbers have equal stages: one object serves them all."""
    return DialStage(tuple(map(sys.intern, lines)), ring_ms)


def _stage(stage: Stage, following: int) -> routing_pb2.Stage:
    """``following``: position of the stage that follows, however the lines of this one fail; 0: none."""
    return routing_pb2.Stage(
        branches=[_branch(line) for line in stage.lines],
        ring_time_ms=stage.ring_time_ms,
        on_busy=following,
        on_no_answer=following,
        on_failed=following,
    )


def _branch(line: Line) -> routing_pb2.Branch:
    """RFC 3261 section 19.1: an IPv6 address stands in brackets."""
    host = f"[{line.host}]" if ":" in line.host else line.host
    return routing_pb2.Branch(
        uri=f"sip:{line.user}@{host}:{line.port}",
        destination=f"sip:{host}:{line.port};transport={line.transport.value}",
        line=line.id,
        remove_identity=line.remove_identity,
    )


def _expect(holds: bool, message: codec.Object, why: str) -> None:
    if not holds:
        raise codec.DamagedValueError(codec.key_of(message), why)


def _accepts(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
