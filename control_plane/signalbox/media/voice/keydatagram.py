"""What rtpengine tells of a key: a datagram of JSON to ``--dtmf-log-dest`` when the key is let go.

10.5 and 12.5 tell the same, 12.5 with ``source_label`` beside it::

    {"callid":"ivr-1.7","source_tag":"a","tags":["b","a"],"type":"DTMF","timestamp":1795367000,"source_ip":"192.0.2.1",
     "event":5,"duration":100,"volume":10}

rtpengine escapes nothing: a tag with a quotation mark in it can make it no JSON, or give it a name twice. Either is
refused, so what is taken has the call-id that rtpengine wrote, which comes first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

DIGITS = "0123456789*#ABCD"
"""By their event (RFC 4733 section 3.2)."""
EVENT_MAX = 255
DURATION_MS_MAX = 0xFFFF_FFFF
VOLUME_MAX = 63

WORKER = re.compile(r"[a-z][a-z0-9-]{0,62}")
_CALL_ID = re.compile(rf"({WORKER.pattern})\..+", re.DOTALL)


class MalformedKeyError(Exception):
    """The datagram is not what rtpengine sends; the text says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key as rtpengine tells of it."""

    call_id: str
    tag: str
    event: int
    """0 to 255; a key is 0 to 15."""
    duration_ms: int
    volume: int
    """0 to 63: so many dB below 0 dBm0."""

    @property
    def digit(self) -> str:
        """Empty if it is no key, as a flash of the hook (16) is not."""
        return DIGITS[self.event] if self.event < len(DIGITS) else ""

    @property
    def worker(self) -> str:
        """Whose call it is; empty: no worker's."""
        match = _CALL_ID.fullmatch(self.call_id)
        return match[1] if match else ""


def parse(datagram: bytes) -> KeyPress:
    """Raises MalformedKeyError."""
    try:
        told = json.loads(datagram.decode(), object_pairs_hook=_named_once)
    except RecursionError as error:
        raise MalformedKeyError("it is nested too deeply") from error
    except ValueError as error:
        raise MalformedKeyError(f"it is no JSON: {type(error).__name__}") from error
    if not isinstance(told, dict):
        raise MalformedKeyError("it is no object")
    if told.get("type") != "DTMF":
        raise MalformedKeyError("its type is not DTMF")
    return KeyPress(
        _text(told, "callid"),
        _text(told, "source_tag"),
        _number(told, "event", EVENT_MAX),
        _number(told, "duration", DURATION_MS_MAX),
        _number(told, "volume", VOLUME_MAX),
    )


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise MalformedKeyError("a name is in it twice")
    return named


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    # JSON can tell of halves of characters, which are no text elsewhere.
    if not isinstance(value, str) or not value or any("\ud800" <= one <= "\udfff" for one in value):
        raise MalformedKeyError(f"its {name} is no text")
    return value


def _number(told: dict[str, Any], name: str, most: int) -> int:
    value = told.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedKeyError(f"its {name} is no number from 0 to {most}")
    return value
