"""Errors as gRPC statuses."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from signalbox import errors
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import (
    AlreadyExistsError,
    AuditFullError,
    AuditUnavailableError,
    CacheUnusableError,
    ClaimLostError,
    ConfigurationError,
    ContentLostError,
    CredentialsRefusedError,
    CursorInvalidError,
    DatabaseUnavailableError,
    DrainingError,
    EtagMismatchError,
    FieldViolation,
    InUseError,
    InvalidFieldError,
    MediaNodeUnavailableError,
    NotFoundError,
    NotRecordedError,
    NotSpokenError,
    NotStoredError,
    ObjectsUnavailableError,
    OnHoldError,
    PassedOnError,
    PermissionRefusedError,
    RequestIdReusedError,
    ResyncRequiredError,
    RoutingUnavailableError,
    RulesNotLoadedError,
    SignalboxError,
    StoreFullError,
    StoreUnavailableError,
    TransitionRefusedError,
    WriteContentionError,
    to_status,
)
from signalbox.store.codec import DamagedValueError

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
    (
        TransitionRefusedError("number", "400", "active", "apply", "too late"),
        "FAILED_PRECONDITION", "TRANSITION_REFUSED",
        {"resource": "number", "id": "400", "state": "active", "transition": "apply", "reason": "too late"},
    ),
    (WriteContentionError("busy"), "ABORTED", "WRITE_CONTENTION", {}),
    (StoreUnavailableError("away"), "UNAVAILABLE", "STORE_UNAVAILABLE", {}),
    (StoreFullError("full"), "RESOURCE_EXHAUSTED", "STORE_FULL", {}),
    (AuditFullError("full"), "RESOURCE_EXHAUSTED", "AUDIT_FULL", {}),
    (AuditUnavailableError("elsewhere"), "UNAVAILABLE", "AUDIT_UNAVAILABLE", {}),
    (ObjectsUnavailableError("away"), "UNAVAILABLE", "OBJECTS_UNAVAILABLE", {}),
    (DatabaseUnavailableError("away"), "UNAVAILABLE", "DATABASE_UNAVAILABLE", {}),
    (ClaimLostError(), "FAILED_PRECONDITION", "CLAIM_LOST", {}),
    (NotRecordedError("c1"), "FAILED_PRECONDITION", "NOT_RECORDED", {"resource": "recording", "id": "c1"}),
    (
        NotStoredError("c1", "missing"),
        "FAILED_PRECONDITION",
        "NOT_STORED",
        {"resource": "recording", "id": "c1", "state": "missing"},
    ),
    (OnHoldError("c1"), "FAILED_PRECONDITION", "ON_HOLD", {"resource": "recording", "id": "c1"}),
    (
        NotSpokenError("a/b", "no voice"),
        "FAILED_PRECONDITION",
        "NOT_SPOKEN",
        {"resource": "prompt", "id": "a/b", "reason": "no voice"},
    ),
    (CacheUnusableError("no room"), "RESOURCE_EXHAUSTED", "CACHE_UNUSABLE", {}),
    (MediaNodeUnavailableError(3, "refused"), "UNAVAILABLE", "MEDIA_NODE_UNAVAILABLE", {"media_node": "3"}),
    (ContentLostError("a/b", "it is gone"), "DATA_LOSS", "CONTENT_LOST", {"object": "a/b"}),
    (DamagedValueError("k", "no page"), "DATA_LOSS", "VALUE_DAMAGED", {"key": "k"}),
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


@pytest.mark.parametrize(
    "violations",
    [
        [FieldViolation(f"entries[{n}].number", "must be 3 to 20 digits, not 'x'") for n in range(10_000)],
        [FieldViolation("flow.draft", "→ 中文" * 100_000)],
        [FieldViolation("update_mask" * 100_000, "x"), FieldViolation("a", "b")],
        [FieldViolation(f"流[{n}]" * 40, "错" * 200) for n in range(20)],
    ],
    ids=["very many", "a long reason", "a long field", "long ones, many bytes a character"],
)
def test_a_status_is_never_too_large_for_headers(violations: list[FieldViolation]) -> None:
    status = to_status(InvalidFieldError(*violations))
    encoded = 3 * len(status.message.encode()) + 4 * status.ByteSize() / 3
    assert encoded < 8 * 1024, "the message by itself, percent-encoded, and all of it in base64"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    told = len(bad.field_violations)
    assert told
    assert info.metadata.get("more", "0") == str(len(violations) - told)
    assert (f"{len(violations) - told} more fields are wrong" in status.message) is (told < len(violations))


def test_what_the_caller_sent_does_not_come_back_at_length() -> None:
    status = to_status(EtagMismatchError("line", "acme/a", "x" * 1_000_000, "7"))
    assert status.ByteSize() < 2_000
