"""Between messages and rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import recordings_pb2
from signalbox.api.types.v1.recordings_pb2 import Recording, RecordingEvent
from signalbox.catalog.tables import CALLER_CHARACTERS, MISSING, STORED
from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from sqlalchemy import Row

    from signalbox.api.recording.v1.recording_pb2 import CallFacts

CALL_ID_BYTES = 1024
INTEGER_MAX = 2**63 - 1
SECONDS_MAX = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Query:
    """What recordings are looked for. What is empty or 0 does not matter; times are Unix milliseconds of the answer."""

    tenant: str = ""
    number: str = ""
    caller: str = ""
    line: str = ""
    start_ms: int = 0
    """From then on."""
    end_ms: int = 0
    """Before then."""
    state: int = 0
    flawed: bool = False
    """Only those that are partial or missing."""


@dataclass(frozen=True, slots=True)
class Position:
    """A recording's place among those that are listed: others follow it."""

    answer_ms: int
    call_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """A recording, the name of its audio in the object store (empty unless it is stored), and its version."""

    recording: Recording
    object: str
    version: int
    attempt: int = 0
    """The latest attempt to store it: this one and all before may have left objects (:func:`names.left`)."""


def milliseconds(time: Timestamp) -> int:
    """Unix milliseconds of a time."""
    return time.ToMilliseconds()


def text(value: str) -> str:
    """As PostgreSQL can store it: it knows no NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def caller(value: str) -> str:
    """What of a caller is searched for."""
    return text(value)[:CALLER_CHARACTERS]


def check(facts: CallFacts, sequence: int = 0, path: str = "facts") -> None:
    """Raise InvalidFieldError if there cannot be a row of these facts."""
    call_id = facts.call_id
    if not call_id or "\0" in call_id or len(call_id.encode()) > CALL_ID_BYTES:
        raise InvalidFieldError(
            FieldViolation(f"{path}.call_id", f"must have 1 to {CALL_ID_BYTES} bytes, none of them 0")
        )
    if not 0 <= facts.answer_time.seconds <= SECONDS_MAX:
        raise InvalidFieldError(FieldViolation(f"{path}.answer_time", "must be between 1970 and 9999"))
    if sequence > INTEGER_MAX:
        raise InvalidFieldError(FieldViolation("sequence", f"must be at most {INTEGER_MAX}"))


def promised(facts: CallFacts, proxy: str = "", sequence: int = 0) -> dict[str, Any]:
    """The row of a recording that has been promised."""
    recording = Recording(
        tenant=facts.tenant,
        call_id=facts.call_id,
        state=recordings_pb2.RECORDING_STATE_PROMISED,
        number=facts.number,
        caller=facts.caller,
        line=facts.line,
        media_node=facts.media_node,
        answer_time=facts.answer_time,
        kind=facts.kind,
    )
    return {
        "call_id": facts.call_id,
        **_searched(recording),
        "legal_hold": False,
        "attempt": 0,
        "object": "",
        "deleting": False,
        "version": 1,
        "proxy": text(proxy),
        "sequence": sequence,
        "facts": facts.SerializeToString(),
    }


def changed(recording: Recording) -> dict[str, Any]:
    """Columns of a recording that is stored or missing."""
    expires = milliseconds(recording.expire_time) if recording.HasField("expire_time") else None
    return {**_searched(recording), "expire_ms": expires}


def _searched(recording: Recording) -> dict[str, Any]:
    return {
        "tenant": text(recording.tenant),
        "number": text(recording.number),
        "caller": caller(recording.caller),
        "line": text(recording.line),
        "media_node": recording.media_node,
        "answer_ms": milliseconds(recording.answer_time),
        "state": recording.state,
        "flawed": recording.partial or recording.state == MISSING,
        "recording": recording.SerializeToString(),
    }


def recording(row: Row[Any]) -> Recording:
    """The recording of a row, with what the columns know better."""
    message = Recording.FromString(row.recording)
    message.state = row.state
    message.legal_hold = row.legal_hold
    message.etag = str(row.version)
    return message


def found(row: Row[Any]) -> Found:
    """A recording and where it is."""
    return Found(recording(row), row.object if row.state == STORED else "", row.version, row.attempt)


def event(row: Row[Any]) -> RecordingEvent:
    """The event of a row."""
    message = RecordingEvent(
        sequence=row.sequence,
        tenant=row.tenant,
        call_id=row.call_id,
        kind=row.kind,
        actor=row.actor,
        detail=row.detail,
    )
    message.time.FromMilliseconds(row.time_ms)
    return message
