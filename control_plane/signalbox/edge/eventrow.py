"""Reads one raw row of the proxy's event files (``kamailio/README.md``, section 4) as a ``CallEvent``."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from signalbox.api.events.v1 import events_pb2
from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS_BEFORE_TEXT = 5  # method, From tag, To tag, Call-ID, code
_COLUMNS_AFTER_TEXT = 4  # seconds, seconds with fraction, id, outcome
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
    """A row is not what the proxy writes: damaged on disk, or of another version."""


def parse(row: str) -> events_pb2.CallEvent:
    """The event of one row (without its line end). ``proxy`` and ``sequence`` are left for the journal to fill in.

    Raises EventRowError.
    """
    # Only the text in the middle may contain the delimiter: a line's reason phrase.
    head = row.split("|", _COLUMNS_BEFORE_TEXT)
    if len(head) <= _COLUMNS_BEFORE_TEXT or not head[0].isalpha():
        raise EventRowError(f"too few columns: {row[:200]!r}")
    tail = head.pop().rsplit("|", _COLUMNS_AFTER_TEXT)
    if len(tail) <= _COLUMNS_AFTER_TEXT:
        raise EventRowError(f"too few columns: {row[:200]!r}")
    code, (text, _, moment, call_id, outcome) = head[4], tail
    try:
        time_ms = _milliseconds(moment)
        if not call_id:
            raise ValueError("no call id")
        event = events_pb2.CallEvent(call_id=call_id)
        event.time.FromMilliseconds(time_ms)
        if code:
            _final_reply(event, int(code), text, outcome)
        else:
            kind, *fields = text.split(" ")
            _READERS[kind](event, fields, time_ms)
    except (ValueError, KeyError, UnicodeDecodeError, binascii.Error) as error:
        raise EventRowError(f"{type(error).__name__} {error}: {row[:200]!r}") from error
    return event


def _final_reply(event: events_pb2.CallEvent, code: int, phrase: str, outcome: str) -> None:
    if code < 300:
        line, node = outcome.split(" ")
        event.answered.line = line
        event.answered.media_node = int(node)
    else:
        event.failed.code = code
        event.failed.phrase = phrase


def _asked(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    trunk, source, called, calling, call_id = fields
    asked = event.asked
    asked.trunk, asked.source_address = trunk, source
    asked.called, asked.calling, asked.sip_call_id = _text(called), _text(calling), _text(call_id)


def _decided(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    asked_at, action, source, why, tenant, number, node, unusable = fields
    decided = event.decided
    decided.action, decided.why, decided.tenant, decided.number = action, why, tenant, number
    decided.source = _SOURCES[source]
    decided.media_node = int(node)
    decided.took_ms = max(0, time_ms - _milliseconds(asked_at))
    decided.unusable_decision = _text(unusable)


def _line_tried(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, stage, uri = fields
    event.line_tried.line, event.line_tried.stage, event.line_tried.uri = line, int(stage), _text(uri)


def _ringing(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, code = fields
    event.ringing.line, event.ringing.code = line, int(code)


def _line_failed(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, code, phrase = fields
    event.line_failed.line, event.line_failed.code, event.line_failed.phrase = line, int(code), _text(phrase)


def _hung_up(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    party, cause, *tag = fields  # rows of earlier versions have no tag
    event.hung_up.party = _PARTIES[party]
    event.hung_up.cause = _text(cause)
    event.hung_up.line_tag = "".join(tag)


def _connected(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    line, max_duration, cseq, tag, call_id, from_, to, caller, contact, routes = fields
    connected = event.connected
    connected.line, connected.line_tag, connected.sip_call_id = line, tag, _text(call_id)
    connected.max_duration_s, connected.cseq = int(max_duration), int(cseq)
    connected.from_header, connected.to_header = _text(from_), _text(to)
    connected.caller_contact, connected.line_contact = _text(caller), _text(contact)
    connected.record_route = _text(routes)


def _dialog_changed(event: events_pb2.CallEvent, fields: list[str], time_ms: int) -> None:
    party, tag, cseq, contact = fields
    changed = event.dialog_changed
    changed.party, changed.line_tag, changed.cseq, changed.contact = _PARTIES[party], tag, int(cseq), _text(contact)


_READERS: dict[str, Callable[[events_pb2.CallEvent, list[str], int], None]] = {
    "Q": _asked,
    "D": _decided,
    "T": _line_tried,
    "R": _ringing,
    "L": _line_failed,
    "H": _hung_up,
    "C": _connected,
    "U": _dialog_changed,
}


def _milliseconds(seconds: str) -> int:
    try:
        return int(Decimal(seconds) * 1000)
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"no time: {seconds!r}") from error


def _text(encoded: str) -> str:
    """Text of a message part: what is not UTF-8 in it is replaced, for a caller may send any bytes."""
    return base64.b64decode(encoded, validate=True).decode(errors="replace")
