"""The exceptions of Signalbox and how they look on gRPC.

::

    SignalboxError
     ├─ InvalidFieldError          INVALID_ARGUMENT     INVALID_FIELD
     ├─ NotFoundError              NOT_FOUND            RESOURCE_NOT_FOUND
     ├─ AlreadyExistsError         ALREADY_EXISTS       RESOURCE_EXISTS
     ├─ EtagMismatchError          ABORTED              ETAG_MISMATCH
     ├─ InUseError                 FAILED_PRECONDITION  RESOURCE_IN_USE
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
     ├─ DrainingError              UNAVAILABLE          DRAINING
     ├─ RulesNotLoadedError        UNAVAILABLE          RULES_NOT_LOADED
     └─ ConfigurationError         (never sent: ends the process at start)

Library exceptions are turned into these at the adapter that called the library, chained with ``from``.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from signalbox.api.types.v1 import types_pb2

DOMAIN = "signalbox"


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
        super().__init__(f"you may not {method} there", method=method)


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

    An exception that is not ours becomes INTERNAL without its text: the log has it, the caller must not.
    """
    if isinstance(error, PassedOnError):
        return error.passed
    if not isinstance(error, SignalboxError):
        error = SignalboxError("internal error")
    details: list[any_pb2.Any] = []
    info = any_pb2.Any()
    info.Pack(
        error_details_pb2.ErrorInfo(
            reason=types_pb2.ErrorReason.Name(error.reason),  # type: ignore[arg-type]
            domain=DOMAIN,
            metadata=error.metadata,
        )
    )
    details.append(info)
    if isinstance(error, InvalidFieldError):
        bad = any_pb2.Any()
        bad.Pack(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.reason)
                    for v in error.violations
                ]
            )
        )
        details.append(bad)
    code = getattr(code_pb2, error.status.name)
    return status_pb2.Status(code=code, message=str(error), details=details)
