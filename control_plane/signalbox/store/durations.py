"""Durations of messages in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from google.protobuf.message import Message


def ms(owner: Message, field: str, absent: int) -> int:
    """The milliseconds of a message's field; ``absent`` if it is not given."""
    given: Duration = getattr(owner, field)
    return given.ToMilliseconds() if owner.HasField(field) else absent


def message(milliseconds: int) -> Duration:
    """So many milliseconds."""
    duration = Duration()
    duration.FromMilliseconds(milliseconds)
    return duration
