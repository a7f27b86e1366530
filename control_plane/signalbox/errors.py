"""The exceptions of Signalbox and how they look on gRPC.

::

    SignalboxError
     ├─ InvalidFieldError          INVALID_ARGUMENT     INVALID_FIELD
     ├─ NotFoundError              NOT_FOUND            RESOURCE_NOT_FOUND
     │   └─ HiddenError            (the same)
     ├─ AlreadyExistsError         ALREADY_EXISTS       RESOURCE_EXISTS
     ├─ EtagMismatchError          ABORTED              ETAG_MISMATCH
     ├─ InUseError                 FAILED_PRECONDITION  RESOURCE_IN_USE
     ├─ TransitionRefusedError     FAILED_PRECONDITION  TRANSITION_REFUSED
     ├─ WriteContentionError       ABORTED              WRITE_CONTENTION
     ├─ CredentialsRefusedError    UNAUTHENTICATED      CREDENTIALS_REFUSED
     ├─ PermissionRefusedError     PERMISSION_DENIED    PERMISSION_REFUSED
     ├─ RequestIdReusedError       INVALID_ARGUMENT     REQUEST_ID_REUSED
     ├─ ResyncRequiredError        OUT_OF_RANGE         RESYNC_REQUIRED
     ├─ CursorInvalidError         INVALID_ARGUMENT     CURSOR_INVALID
     ├─ RoutingUnavailableError    UNAVAILABLE          ROUTING_UNAVAILABLE
     ├─ PassedOnError              (as another of our services sent it)
     ├─ StoreUnavailableError      UNAVAILABLE          STORE_UNAVAILABLE
     ├─ StoreFullError             RESOURCE_EXHAUSTED   STORE_FULL
     ├─ AuditFullError             RESOURCE_EXHAUSTED   AUDIT_FULL
     ├─ AuditUnavailableError      UNAVAILABLE          AUDIT_UNAVAILABLE
     ├─ ObjectsUnavailableError    UNAVAILABLE          OBJECTS_UNAVAILABLE
     ├─ ContentLostError           DATA_LOSS            CONTENT_LOST
     ├─ DatabaseUnavailableError   UNAVAILABLE          DATABASE_UNAVAILABLE
     ├─ ClaimLostError             FAILED_PRECONDITION  CLAIM_LOST
     ├─ NotRecordedError           FAILED_PRECONDITION  NOT_RECORDED
     ├─ NotStoredError             FAILED_PRECONDITION  NOT_STORED
     ├─ OnHoldError                FAILED_PRECONDITION  ON_HOLD
     ├─ MediaNodeUnavailableError  UNAVAILABLE          MEDIA_NODE_UNAVAILABLE
     ├─ CacheUnusableError         RESOURCE_EXHAUSTED   CACHE_UNUSABLE
     ├─ NotSpokenError             FAILED_PRECONDITION  NOT_SPOKEN
     ├─ DrainingError              UNAVAILABLE          DRAINING
     ├─ RulesNotLoadedError        UNAVAILABLE          RULES_NOT_LOADED
     ├─ store.codec.DamagedValueError  DATA_LOSS        VALUE_DAMAGED
     ├─ recorder.pcap.UnreadableCaptureError  (never sent)
     ├─ speech.espeak.SpeechUnavailableError  (never sent)
     └─ ConfigurationError         (never sent: ends the process at start)

Library exceptions are turned into these at the adapter that called the library, chained with ``from``. All are here, in
one long module, so that no two services send different things under one reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from signalbox.api.types.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

DOMAIN = "signalbox"

MESSAGE_BYTES_MAX = 600
TEXT_BYTES_MAX = 300
"""Longest reason or other text in the details of a status."""
VIOLATIONS_BYTES_MAX = 2_500
"""All violations of a status. A status travels in headers, twice in part and encoded: clients take 8 KiB of these."""


class SignalboxError(Exception):
    """Base of all errors that we raise on purpose. ``metadata`` goes into ``google.rpc.ErrorInfo``."""

    status: grpc.StatusCode = grpc.StatusCode.INTERNAL
    reason: int = types_pb2.INTERNAL

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.metadata = metadata


@dataclass(frozen=True)
class FieldViolation:
    """One offending field: its path in the request, e.g. ``number.stages[0].lines[1]``, and what is wrong with it."""

    field: str
    reason: str


class InvalidFieldError(SignalboxError):
    """Input is missing, malformed or out of range. Names every offending field."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = types_pb2.INVALID_FIELD

    def __init__(self, *violations: FieldViolation) -> None:
        first = violations[0]
        super().__init__(
            "; ".join(f"{v.field}: {v.reason}" for v in violations), field=first.field, reason=first.reason
        )
        self.violations = violations


class _ResourceError(SignalboxError):
    """An error about one named object."""

    def __init__(self, message: str, resource: str, id: str, **metadata: str) -> None:
        super().__init__(message, resource=resource, id=id, **metadata)


class NotFoundError(_ResourceError):
    """The named object does not exist."""

    status = grpc.StatusCode.NOT_FOUND
    reason = types_pb2.RESOURCE_NOT_FOUND

    def __init__(self, resource: str, id: str) -> None:
        super().__init__(f"{resource} {id} does not exist", resource, id)


class HiddenError(NotFoundError):
    """The named object is there, and another tenant's: who asks is told that it is not. The audit log knows better."""


class AlreadyExistsError(_ResourceError):
    """An object of that id exists."""

    status = grpc.StatusCode.ALREADY_EXISTS
    reason = types_pb2.RESOURCE_EXISTS

    def __init__(self, resource: str, id: str) -> None:
        super().__init__(f"{resource} {id} exists", resource, id)


class EtagMismatchError(_ResourceError):
    """The writer saw another version than the stored one."""

    status = grpc.StatusCode.ABORTED
    reason = types_pb2.ETAG_MISMATCH

    def __init__(self, resource: str, id: str, given: str, stored: str) -> None:
        message = f"{resource} {id} was changed: you have etag {given}, stored is {stored}"
        super().__init__(message, resource, id, given=given, stored=stored)


class InUseError(_ResourceError):
    """The object cannot go while others refer to it."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.RESOURCE_IN_USE

    def __init__(self, resource: str, id: str, referrer: str) -> None:
        super().__init__(f"{resource} {id} is used by {referrer}", resource, id, referrer=referrer)


class TransitionRefusedError(_ResourceError):
    """The object's state, or a missing fact, does not allow what was asked to be done with it."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.TRANSITION_REFUSED

    def __init__(self, resource: str, id: str, state: str, transition: str, why: str) -> None:
        message = f"{transition} is refused for {resource} {id}, which is {state}: {why}"
        super().__init__(message, resource, id, state=state, transition=transition, reason=why)


class WriteContentionError(SignalboxError):
    """Others wrote so often that the request never got through. Nothing was written."""

    status = grpc.StatusCode.ABORTED
    reason = types_pb2.WRITE_CONTENTION


class CredentialsRefusedError(SignalboxError):
    """Who asks has not shown who it is: no credentials, or bad ones. Does not tell which."""

    status = grpc.StatusCode.UNAUTHENTICATED
    reason = types_pb2.CREDENTIALS_REFUSED


class PermissionRefusedError(SignalboxError):
    """Who asks may not do this, whether or not what it names exists (AIP-211)."""

    status = grpc.StatusCode.PERMISSION_DENIED
    reason = types_pb2.PERMISSION_REFUSED

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} is refused: it takes another role, or is about another tenant", method=method)


class RequestIdReusedError(SignalboxError):
    """A request id was used before, for another request."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = types_pb2.REQUEST_ID_REUSED

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request id {request_id} was used for another request", request_id=request_id)


class ResyncRequiredError(SignalboxError):
    """What a watch was to resume from is no longer known: list again, and watch from now."""

    status = grpc.StatusCode.OUT_OF_RANGE
    reason = types_pb2.RESYNC_REQUIRED


class CursorInvalidError(SignalboxError):
    """A cursor of a call flow is damaged, forged or too old."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = types_pb2.CURSOR_INVALID


class RoutingUnavailableError(SignalboxError):
    """No routing service answers."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.ROUTING_UNAVAILABLE


class PassedOnError(SignalboxError):
    """The error of another of our services, for our own caller."""

    def __init__(self, status: grpc.StatusCode, passed: status_pb2.Status) -> None:
        super().__init__(passed.message)
        self.status = status
        self.passed = passed


class StoreUnavailableError(SignalboxError):
    """etcd cannot be reached, has no leader or took too long."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.STORE_UNAVAILABLE


class StoreFullError(SignalboxError):
    """etcd refuses writes for lack of space (alarm NOSPACE)."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = types_pb2.STORE_FULL


class AuditFullError(SignalboxError):
    """The audit log cannot be written, and no more records can wait for it. Nothing was written."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = types_pb2.AUDIT_FULL


class AuditUnavailableError(SignalboxError):
    """This replica does not keep the audit log, and none that it knows of does."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.AUDIT_UNAVAILABLE


class ObjectsUnavailableError(SignalboxError):
    """The object store cannot be reached, or refuses us. It is not known whether what was asked for is done."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.OBJECTS_UNAVAILABLE


class ContentLostError(SignalboxError):
    """An object that should be in the object store is not there, or is not what was stored."""

    status = grpc.StatusCode.DATA_LOSS
    reason = types_pb2.CONTENT_LOST

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}", object=name)


class DatabaseUnavailableError(SignalboxError):
    """The database cannot be reached, or refuses us. It is not known whether what was asked for is done."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.DATABASE_UNAVAILABLE


class ClaimLostError(SignalboxError):
    """The claim of a capture has ended: another recorder may have it."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.CLAIM_LOST

    def __init__(self) -> None:
        super().__init__("the claim of this capture has ended")


class NotRecordedError(SignalboxError):
    """The call is not being recorded."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.NOT_RECORDED

    def __init__(self, call_id: str) -> None:
        super().__init__(f"call {call_id} is not being recorded", resource="recording", id=call_id)


class NotStoredError(SignalboxError):
    """The recording is not in the object store, or not yet. ``state``: in which it is."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.NOT_STORED

    def __init__(self, call_id: str, state: str) -> None:
        super().__init__(f"recording {call_id} is {state}", resource="recording", id=call_id, state=state)


class OnHoldError(SignalboxError):
    """The recording is under legal hold."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.ON_HOLD

    def __init__(self, call_id: str) -> None:
        super().__init__(f"recording {call_id} is under legal hold", resource="recording", id=call_id)


class MediaNodeUnavailableError(SignalboxError):
    """The media node that a call is at cannot be reached."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.MEDIA_NODE_UNAVAILABLE

    def __init__(self, node: int, why: str) -> None:
        super().__init__(f"media node {node}: {why}", media_node=str(node))


class NotSpokenError(_ResourceError):
    """A prompt's text cannot be spoken."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = types_pb2.NOT_SPOKEN

    def __init__(self, id: str, why: str) -> None:
        super().__init__(f"prompt {id} is not spoken: {why}", "prompt", id, reason=why)


class CacheUnusableError(SignalboxError):
    """A media node has no room for audio on its disk, or cannot write there."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = types_pb2.CACHE_UNUSABLE


class DrainingError(SignalboxError):
    """This process is stopping; ask another replica."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.DRAINING


class RulesNotLoadedError(SignalboxError):
    """No rules have been loaded yet, neither from etcd nor from a snapshot."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.RULES_NOT_LOADED


class ConfigurationError(SignalboxError):
    """A setting is wrong. Ends the process at start with exit code 2."""


def to_status(error: BaseException) -> status_pb2.Status:
    """``google.rpc.Status`` of an error (AIP-193): ErrorInfo always, BadRequest for invalid fields.

    Long texts are cut. Of more violations than fit the first are told; ``more`` in ErrorInfo counts those left out.
    An exception that is not ours becomes INTERNAL without its text: the log has it, the caller must not.
    """
    if isinstance(error, PassedOnError):
        return error.passed
    if not isinstance(error, SignalboxError):
        error = SignalboxError("internal error")
    metadata = {name: _cut(value) for name, value in error.metadata.items()}
    message = _cut(str(error), MESSAGE_BYTES_MAX)
    violations: list[error_details_pb2.BadRequest.FieldViolation] = []
    if isinstance(error, InvalidFieldError):
        violations = _fitting(error.violations)
        more = len(error.violations) - len(violations)
        if more:
            metadata["more"] = str(more)
            message += f"; {more} more fields are wrong"
    details: list[any_pb2.Any] = []
    info = any_pb2.Any()
    info.Pack(
        error_details_pb2.ErrorInfo(
            reason=types_pb2.ErrorReason.Name(error.reason),  # type: ignore[arg-type]
            domain=DOMAIN,
            metadata=metadata,
        )
    )
    details.append(info)
    if violations:
        bad = any_pb2.Any()
        bad.Pack(error_details_pb2.BadRequest(field_violations=violations))
        details.append(bad)
    code = getattr(code_pb2, error.status.name)
    return status_pb2.Status(code=code, message=message, details=details)


def _fitting(violations: Sequence[FieldViolation]) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """The first violations, as many as a status has room for."""
    fitting = []
    room = VIOLATIONS_BYTES_MAX
    for one in violations:
        told = error_details_pb2.BadRequest.FieldViolation(field=_cut(one.field), description=_cut(one.reason))
        room -= told.ByteSize()
        if room < 0:
            break
        fitting.append(told)
    return fitting


def _cut(text: str, most: int = TEXT_BYTES_MAX) -> str:
    """A text of at most so many bytes as UTF-8, and a mark if there was more."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore") + "…"
