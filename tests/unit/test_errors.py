"""Errors as gRPC statuses."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from signalbox import errors
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import (
    AlreadyExistsError,
    ConfigurationError,
    CredentialsRefusedError,
    CursorInvalidError,
    DrainingError,
    EtagMismatchError,
    FieldViolation,
    InUseError,
    InvalidFieldError,
    NotFoundError,
    PassedOnError,
    PermissionRefusedError,
    RequestIdReusedError,
    ResyncRequiredError,
    RoutingUnavailableError,
    RulesNotLoadedError,
    SignalboxError,
    StoreFullError,
    StoreUnavailableError,
    WriteContentionError,
    to_status,
)

CASES = [
    (
        InvalidFieldError(FieldViolation("a.b", "is bad")), "INVALID_ARGUMENT", "INVALID_FIELD",
        {"field": "a.b", "reason": "is bad"},
    ),
    (NotFoundError("line", "acme/a"), "NOT_FOUND", "RESOURCE_NOT_FOUND", {"resource": "line", "id": "acme/a"}),
    (AlreadyExistsError("trunk", "t"), "ALREADY_EXISTS", "RESOURCE_EXISTS", {"resource": "trunk", "id": "t"}),
    (
        EtagMismatchError("tenant", "acme", "7", "9"), "ABORTED", "ETAG_MISMATCH",
        {"resource": "tenant", "id": "acme", "given": "7", "stored": "9"},
    ),
    (
        InUseError("line", "acme/a", "number 400"), "FAILED_PRECONDITION", "RESOURCE_IN_USE",
        {"resource": "line", "id": "acme/a", "referrer": "number 400"},
    ),
    (WriteContentionError("busy"), "ABORTED", "WRITE_CONTENTION", {}),
    (StoreUnavailableError("away"), "UNAVAILABLE", "STORE_UNAVAILABLE", {}),
    (StoreFullError("full"), "RESOURCE_EXHAUSTED", "STORE_FULL", {}),
    (DrainingError("bye"), "UNAVAILABLE", "DRAINING", {}),
    (CredentialsRefusedError("who"), "UNAUTHENTICATED", "CREDENTIALS_REFUSED", {}),
    (PermissionRefusedError("GetLine"), "PERMISSION_DENIED", "PERMISSION_REFUSED", {"method": "GetLine"}),
    (RequestIdReusedError("r1"), "INVALID_ARGUMENT", "REQUEST_ID_REUSED", {"request_id": "r1"}),
    (ResyncRequiredError("gone"), "OUT_OF_RANGE", "RESYNC_REQUIRED", {}),
    (CursorInvalidError("forged"), "INVALID_ARGUMENT", "CURSOR_INVALID", {}),
    (RoutingUnavailableError("away"), "UNAVAILABLE", "ROUTING_UNAVAILABLE", {}),
    (RulesNotLoadedError("empty"), "UNAVAILABLE", "RULES_NOT_LOADED", {}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code", "reason", "metadata"), CASES, ids=[case[2] for case in CASES])
def test_every_error_has_its_status_and_reason(
    error: SignalboxError, code: str, reason: str, metadata: dict[str, str]
) -> None:
    status = to_status(error)
    assert status.code == grpc.StatusCode[code].value[0]
    assert status.message == str(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, "signalbox", metadata)


def test_all_reasons_are_covered() -> None:
    reasons = set(types_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED", "INTERNAL"}
    assert {case[2] for case in CASES} == reasons


def test_an_error_that_is_passed_on_stays_as_it_came() -> None:
    came = to_status(NotFoundError("line", "acme/a"))
    assert to_status(PassedOnError(grpc.StatusCode.NOT_FOUND, came)) == came


def test_invalid_fields_are_all_in_bad_request() -> None:
    violations = [FieldViolation("a", "one"), FieldViolation("b[1]", "two")]
    status = to_status(InvalidFieldError(*violations))
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [("a", "one"), ("b[1]", "two")]
    assert status.message == "a: one; b[1]: two"


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("secret")])
def test_what_is_not_ours_says_nothing(error: Exception) -> None:
    status = to_status(error)
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in str(status)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.reason == "INTERNAL"


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in SignalboxError.__subclasses__():
        if kind.__module__ == "signalbox.errors" and not kind.__name__.startswith("_"):
            assert kind.__name__ in errors.__doc__
    assert issubclass(ConfigurationError, SignalboxError)
