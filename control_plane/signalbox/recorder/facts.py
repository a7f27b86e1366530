"""What must hold of the facts of a call before anything is named after them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.api.recording.v1.recording_pb2 import Capture

MEDIA_NODE_MAX = 65_535
AHEAD_S = 86_400
"""A call may have been answered so much later than our clock says."""

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NUMBER = re.compile(r"[0-9]{3,15}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LENGTHS = {
    "call_id": 256,
    "caller": 1024,
    "line": 64,
    "caller_tag": 256,
    "line_tag": 256,
    "caller_media": 64,
    "line_media": 64,
    "recording": 256,
}
"""Most characters."""
_REQUIRED = ("call_id", "line")


def filed(facts: CallFacts) -> CallFacts:
    """The facts under the id of the recording, by which it is known from here on."""
    found = CallFacts()
    found.CopyFrom(facts)
    found.call_id = facts.recording or facts.call_id
    return found


def recording_of(capture: Capture) -> str:
    """Id of the recording that a capture becomes, as far as that is known; else of its call."""
    return capture.facts.recording or capture.call or capture.call_id


def call_of(recording: str) -> str:
    """The call that a recording is of: ids of calls have no dot."""
    return recording.partition(".")[0]


def violations(facts: CallFacts, path: str = "facts") -> Iterator[FieldViolation]:
    """What is wrong with the facts of a call, field by field."""
    for name in _REQUIRED:
        if not getattr(facts, name):
            yield FieldViolation(f"{path}.{name}", "is required")
    for name, most in _LENGTHS.items():
        text = getattr(facts, name)
        if len(text) > most:
            yield FieldViolation(f"{path}.{name}", f"longer than {most} characters")
        elif _CONTROL.search(text):
            yield FieldViolation(f"{path}.{name}", "has control characters")
    if not _ID.fullmatch(facts.tenant):
        yield FieldViolation(f"{path}.tenant", "is no tenant's id")
    if not _NUMBER.fullmatch(facts.number):
        yield FieldViolation(f"{path}.number", "must be 3 to 15 digits")
    if not 1 <= facts.media_node <= MEDIA_NODE_MAX:
        yield FieldViolation(f"{path}.media_node", f"must be 1 to {MEDIA_NODE_MAX}")
    if not _is_time(facts):
        yield FieldViolation(f"{path}.answer_time", "must be a time from 1970 to 9999")
    elif facts.answer_time.seconds > time.time() + AHEAD_S:
        yield FieldViolation(f"{path}.answer_time", f"must not be more than {AHEAD_S} s ahead")


def _is_time(facts: CallFacts) -> bool:
    try:
        facts.answer_time.ToDatetime()
    except (ValueError, OverflowError):
        return False
    return facts.HasField("answer_time") and facts.answer_time.seconds > 0
