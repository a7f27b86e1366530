"""What a valid request about recordings is, and what it asks of the catalog. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import recordings_pb2
from signalbox.catalog.catalog import Position, Query
from signalbox.errors import FieldViolation
from signalbox.provisioning import pagetoken
from signalbox.provisioning import validate as common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from signalbox.api.provisioning.v1 import recordings_pb2 as pb

CALLER_MAX = 1024
EVENTS_MAX = 1_000
SEQUENCE_MAX = 2**63 - 1
MILLISECONDS_MAX = 253_402_300_800_000
"""The end of the year 9999: later is no Timestamp."""

_CALL_ID = re.compile(r"[^\0]{1,1024}")
_METHOD = "ListRecordings"


def named(request: Any) -> Iterator[FieldViolation]:
    """A request about one recording, with fields tenant and call_id."""
    yield from common.owner(request.tenant, "tenant")
    if not request.call_id:
        yield FieldViolation("call_id", "is required")
    else:
        yield from call_id(request.call_id)


def call_id(value: str) -> Iterator[FieldViolation]:
    """A call's id, if there is one."""
    if value and not _CALL_ID.fullmatch(value):
        yield FieldViolation("call_id", "must have at most 1024 characters, none of them NUL")


def events(request: pb.ListRecordingEventsRequest) -> Iterator[FieldViolation]:
    """A request for events. More than a page holds is refused: fewer than asked for means that there are no more."""
    yield from common.owner(request.tenant, "tenant")
    yield from call_id(request.call_id)
    if request.page_size > EVENTS_MAX:
        yield FieldViolation("page_size", f"must be at most {EVENTS_MAX}")


def query(request: pb.ListRecordingsRequest) -> tuple[Query, Position | None]:
    """What is asked for, and where the page begins. Raises InvalidFieldError."""
    violations = list(common.owner(request.tenant, "tenant"))
    if request.number:
        violations += common.digits(request.number, "number")
    if request.line:
        violations += common.identifier(request.line, "line")
    if len(request.caller) > CALLER_MAX:
        violations.append(FieldViolation("caller", f"must have at most {CALLER_MAX} characters"))
    if request.state not in recordings_pb2.RecordingState.values():
        violations.append(FieldViolation("state", "is no state"))
    start, end = (_moment(request, name, violations) for name in ("start_time", "end_time"))
    if start and end and start >= end:
        violations.append(FieldViolation("end_time", "must be after start_time"))
    common.require(violations)
    asked = Query(
        request.tenant, request.number, request.caller, request.line, start, end, request.state, request.flawed
    )
    place = pagetoken.decode(_METHOD, repr(asked), request.page_token)
    if not place:
        return asked, None
    answered, _, after = place.partition("/")
    return asked, Position(int(answered), after)


def token(asked: Query, last: recordings_pb2.Recording) -> str:
    """Token of the page that begins after a recording."""
    return pagetoken.encode(_METHOD, repr(asked), f"{last.answer_time.ToMilliseconds()}/{last.call_id}")


def _moment(request: Any, name: str, violations: list[FieldViolation]) -> int:
    """A time, milliseconds since the epoch; 0: none."""
    if not request.HasField(name):
        return 0
    given: Timestamp = getattr(request, name)
    try:
        moment = given.ToMilliseconds()
    except ValueError:
        moment = -1
    if not 0 <= moment < MILLISECONDS_MAX:
        violations.append(FieldViolation(name, "is no time since 1970"))
        return 0
    return max(1, moment)
