"""Decisions and steps of call flows as messages."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from signalbox.address import bracketed
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decided import Reject
from signalbox.domain.objects import MediaMode

if TYPE_CHECKING:
    from signalbox.domain.decided import Decision, Dial, Stage
    from signalbox.domain.objects import Line


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
        put_dial(decision.action, message.dial)
    digest = blake2b(message.SerializeToString(deterministic=True), digest_size=8).digest()
    message.fingerprint = int.from_bytes(digest) or 1
    return message


def put_dial(dial: Dial, message: routing_pb2.Dial) -> None:
    """Write a dial into its message."""
    bypass = dial.media is MediaMode.BYPASS
    message.media = types_pb2.MEDIA_MODE_BYPASS if bypass else types_pb2.MEDIA_MODE_ANCHOR
    message.max_duration_s = dial.max_duration_s
    message.stages.extend(map(_stage, dial.stages))


def _stage(stage: Stage) -> routing_pb2.Stage:
    return routing_pb2.Stage(
        branches=[_branch(line, stage.cursor) for line in stage.lines],
        ring_time_ms=stage.ring_time_ms,
        on_busy=stage.on_busy,
        on_no_answer=stage.on_no_answer,
        on_failed=stage.on_failed,
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
