"""Decisions and steps of call flows as messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from signalbox.address import bracketed
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decided import Dial, Reject
from signalbox.domain.objects import MediaMode

if TYPE_CHECKING:
    from signalbox.domain.decided import Decision, Stage
    from signalbox.domain.objects import Line


MEDIA = {
    MediaMode.ANCHOR: types_pb2.MEDIA_MODE_ANCHOR,
    MediaMode.BYPASS: types_pb2.MEDIA_MODE_BYPASS,
    MediaMode.RECORD: types_pb2.MEDIA_MODE_RECORD,
}


@dataclass(frozen=True, slots=True)
class DialMessage:
    """A dial as it is sent, made once for all decisions that have it."""

    dial: Dial
    message: routing_pb2.Dial
    digest: bytes


def dial_message(dial: Dial) -> DialMessage:
    """A dial as its message."""
    recorded = dial.media is MediaMode.RECORD
    message = routing_pb2.Dial(
        stages=[_stage(stage, recorded) for stage in dial.stages],
        media=MEDIA[dial.media],
        max_duration_s=dial.max_duration_s,
    )
    return DialMessage(dial, message, blake2b(message.SerializeToString(deterministic=True)).digest())


def decision_message(decision: Decision) -> routing_pb2.Decision:
    """A decision as it is sent."""
    message = routing_pb2.Decision()
    action = decision.action
    write_decision(decision, dial_message(action) if isinstance(action, Dial) else None, message)
    return message


def write_decision(decision: Decision, dial: DialMessage | None, message: routing_pb2.Decision) -> None:
    """Write a decision into an empty message, with its fingerprint. ``dial`` is that of a decision to dial."""
    why, tenant, number, independent = decision.why, decision.tenant, decision.number, decision.caller_independent
    message.why = why
    message.tenant = tenant
    message.number = number
    if independent:
        message.caller_independent = True
    action = decision.action
    if dial is not None:
        message.dial.CopyFrom(dial.message)
        content = dial.digest
    else:
        assert isinstance(action, Reject)
        message.reject.code, message.reject.phrase = action.code, action.phrase
        content = f"{action.code}\n{action.phrase}".encode()
    # No field has control characters.
    head = f"{why}\n{tenant}\n{number}\n{independent}\n"
    message.fingerprint = int.from_bytes(blake2b(head.encode() + content, digest_size=8).digest()) or 1


def _stage(stage: Stage, recorded: bool) -> routing_pb2.Stage:
    return routing_pb2.Stage(
        branches=[_branch(line, stage.cursor) for line in stage.lines],
        ring_time_ms=stage.ring_time_ms,
        on_busy=stage.on_busy,
        on_no_answer=stage.on_no_answer,
        on_failed=stage.on_failed,
        record=recorded and stage.record,
    )


def _branch(line: Line, cursor: str) -> routing_pb2.Branch:
    branch = _plain_branch(line)
    if cursor:
        branch = routing_pb2.Branch(
            uri=branch.uri,
            destination=branch.destination,
            line=branch.line,
            remove_identity=branch.remove_identity,
            cursor=cursor,
        )
    return branch


@lru_cache(maxsize=16_384)
def _plain_branch(line: Line) -> routing_pb2.Branch:
    """Made once for a line: it is copied into what it is put into. RFC 3261 section 19.1: an IPv6 address stands in
    brackets."""
    host = bracketed(line.host)
    return routing_pb2.Branch(
        uri=f"sip:{line.user}@{host}:{line.port}",
        destination=f"sip:{host}:{line.port};transport={line.transport.value}",
        line=line.id,
        remove_identity=line.remove_identity,
    )
