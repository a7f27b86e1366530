"""Raw rows of event journals: the proxy's (``kamailio/README.md``, section 4), and those of workers with voice.

A worker's rows have the same columns. Their text is ``W`` and, as base64, the ``CallEvent`` without what other columns
say.
"""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from signalbox.api.events.v1 import events_pb2
from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS_BEFORE_TEXT = 5  # method, From tag, To tag, Call-ID, code
_COLUMNS_AFTER_TEXT = 4  # seconds, seconds with fraction, id, outcome
_CALL_ID = re.compile(r"[!-{}~]{1,128}")
_SOURCES = {
    "routing": events_pb2.DECISION_SOURCE_ROUTING,
    "last_good": events_pb2.DECISION_SOURCE_LAST_GOOD,
    "edge": events_pb2.DECISION_SOURCE_EDGE,
    "": events_pb2.DECISION_SOURCE_UNSPECIFIED,
}
_PARTIES = {
    "caller": events_pb2.PARTY_CALLER,
    "line": events_pb2.PARTY_LINE,
    "signalbox": events_pb2.PARTY_SIGNALBOX,
}


class EventRowError(SignalboxError):
    """A row is not what a proxy or worker writes: damaged on disk, or of another version."""


class Row(NamedTuple):
    """The columns that say something. ``text`` is the reason phrase if there is a final ``code``, else the event."""

    code: str
    text: str
    seconds: str
    moment: str
    call_id: str
    outcome: str


def kind(row: bytes) -> bytes:
    """The letter of an event or the code of a final reply, without reading the row in full; empty if it is damaged."""
    columns = row.split(b"|", _COLUMNS_BEFORE_TEXT)
    return (columns[-2] or columns[-1][:1]) if len(columns) > _COLUMNS_BEFORE_TEXT else b""


def split(row: str) -> Row:
    """The columns of one row, without its line end. Raises EventRowError."""
    # Only the text in the middle may contain the delimiter: a line's reason phrase.
    head = row.split("|", _COLUMNS_BEFORE_TEXT)
    tail = head.pop().rsplit("|", _COLUMNS_AFTER_TEXT)
    if len(head) < _COLUMNS_BEFORE_TEXT or not head[0].isalpha() or len(tail) <= _COLUMNS_AFTER_TEXT:
        raise EventRowError(f"too few columns: {row[:200]!r}")
    if not tail[3]:
        raise EventRowError(f"no call id: {row[:200]!r}")
    return Row(head[4], *tail)


def is_leg(call_id: str) -> bool:
    """A worker with voice calls a line: the proxy ends the ids of such calls with an L."""
    return call_id.endswith("L")


class Answerer(NamedTuple):
    """Who answered: the line, or the ``worker`` with voice; and the media node, 0 if there is none."""

    line: str
    media_node: int
    worker: bool


def answered(outcome: str) -> Answerer:
    """Who answered. Raises EventRowError."""
    line, _, rest = outcome.partition(" ")
    node, _, kind = rest.partition(" ")
    if not node.isdecimal() or kind not in ("", "w"):
        raise EventRowError(f"no line and media node: {outcome!r}")
    return Answerer(line, int(node), kind == "w")


def parse(row: str) -> events_pb2.CallEvent:
    """The event of one row (without its line end). ``proxy`` and ``sequence`` are left for the journal to fill in.

    Raises EventRowError.
    """
    columns = split(row)
    try:
        time_ms = _milliseconds(columns.moment)
        event = events_pb2.CallEvent(call_id=columns.call_id)
        event.time.FromMilliseconds(time_ms)
        if columns.code:
            _final_reply(event, int(columns.code), columns.text, columns.outcome)
        else:
            letter, *fields = columns.text.split(" ")
            _READERS[letter](event, fields, time_ms)
    except (ValueError, KeyError, UnicodeDecodeError, binascii.Error, DecodeError) as error:
        raise EventRowError(f"{type(error).__name__} {error}: {row[:200]!r}") from error
    return event


def written(event: events_pb2.CallEvent) -> bytes:
    """The row of a worker's event, without a line end: its time in milliseconds, no ``proxy`` and no ``sequence``.

    Raises EventRowError if the call id would break the row.
    """
    if not _CALL_ID.fullmatch(event.call_id):
        raise EventRowError(f"no call id: {event.call_id[:200]!r}")
    rest = events_pb2.CallEvent()
    rest.CopyFrom(event)
    for field in ("proxy", "sequence", "call_id", "time"):
        rest.ClearField(field)
    seconds, ms = divmod(event.time.ToMilliseconds(), 1000)
    text = base64.b64encode(rest.SerializeToString()).decode()
    return f"FLOW|||||W {text}|{seconds}|{seconds}.{ms:03d}|{event.call_id}|".encode()


def _final_reply(event: events_pb2.CallEvent, code: int, phrase: str, outcome: str) -> None:
    if code < 300:
        event.answered.line, event.answered.media_node, _ = answered(outcome)
    else:
        event.failed.code = code
        event.failed.phrase = phrase


def _asked(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    trunk, source, called, calling, call_id, *rest = fields
    [parent] = rest or [""]  # rows of earlier versions have none
    asked = event.asked
    asked.trunk, asked.source_address = trunk, source
    asked.called, asked.calling, asked.sip_call_id = decoded(called), decoded(calling), decoded(call_id)
    asked.parent = parent


def _decided(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    asked_at, action, source, why, tenant, number, node, unusable = fields
    decided = event.decided
    decided.action, decided.why, decided.tenant, decided.number = action, why, tenant, number
    decided.source = _SOURCES[source]
    decided.media_node = int(node)
    decided.took_ms = max(0, time_ms - _milliseconds(asked_at))
    decided.unusable_decision = decoded(unusable)


def _line_tried(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, stage, uri = fields
    event.line_tried.line, event.line_tried.stage, event.line_tried.uri = line, int(stage), decoded(uri)


def _ringing(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, code = fields
    event.ringing.line, event.ringing.code = line, int(code)


def _line_failed(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, code, phrase = fields
    event.line_failed.line, event.line_failed.code, event.line_failed.phrase = line, int(code), decoded(phrase)


def _hung_up(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    party, cause, *tag = fields  # rows of earlier versions have no tag
    event.hung_up.party = _PARTIES[party]
    event.hung_up.cause = decoded(cause)
    event.hung_up.line_tag = "".join(tag)


def _connected(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, max_duration, cseq, tag, call_id, from_, to, caller, contact, routes = fields
    connected = event.connected
    connected.line, connected.line_tag, connected.sip_call_id = line, tag, decoded(call_id)
    connected.max_duration_s, connected.cseq = int(max_duration), int(cseq)
    connected.from_header, connected.to_header = decoded(from_), decoded(to)
    connected.caller_contact, connected.line_contact = decoded(caller), decoded(contact)
    connected.record_route = decoded(routes)


def _dialog_changed(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    party, tag, cseq, contact = fields
    changed = event.dialog_changed
    changed.party, changed.line_tag, changed.cseq, changed.contact = _PARTIES[party], tag, int(cseq), decoded(contact)


def _recording_started(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, node, tenant, number, caller_tag, line_tag, caller_media, line_media, caller = fields
    started = event.recording_started
    started.line, started.media_node, started.tenant, started.number = line, int(node), tenant, number
    started.caller_tag, started.line_tag = caller_tag, line_tag
    started.caller_media, started.line_media = _known(caller_media), _known(line_media)
    started.caller = decoded(caller)


def _of_worker(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    [encoded] = fields
    event.MergeFromString(base64.b64decode(encoded, validate=True))


def _known(media: str) -> str:
    """An address of media; the proxy writes "-" if it has seen none."""
    return "" if media == "-" else media


_READERS: dict[str, Callable[[events_pb2.CallEvent, list[str], int], None]] = {
    "Q": _asked,
    "D": _decided,
    "T": _line_tried,
    "R": _ringing,
    "L": _line_failed,
    "H": _hung_up,
    "C": _connected,
    "U": _dialog_changed,
    "S": _recording_started,
    "W": _of_worker,
}


def _milliseconds(seconds: str) -> int:
    try:
        return int(Decimal(seconds) * 1000)
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"no time: {seconds!r}") from error


def decoded(encoded: str) -> str:
    """Text of a message part: what is not UTF-8 in it is replaced, for a caller may send any bytes.

    Raises ValueError if it is no base64.
    """
    return base64.b64decode(encoded, validate=True).decode(errors="replace")
