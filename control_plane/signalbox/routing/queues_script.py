"""What ``queues.lua`` is told and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.claims import Place
from signalbox.redis_client import Script

if TYPE_CHECKING:
    from signalbox.domain.claims import Waiting
    from signalbox.routing.counters_script import Operation

SCRIPT = Script(__package__, "queues.lua")

_PRIORITY_MS = 10**13
"""Priority callers are so much before the others: longer than any of them has waited."""


def operation(waiting: Waiting) -> Operation:
    """The operation of one who waits, or leaves."""
    if waiting.leaves:
        return ["leave", waiting.queue, waiting.call_id]
    rank = waiting.since_ms - _PRIORITY_MS if waiting.priority else waiting.since_ms
    return ["wait", waiting.queue, waiting.call_id, rank, waiting.most]


def place(line: bytes) -> Place:
    """What came of it."""
    return Place(full=True) if line == b"full" else Place(0 if line == b"gone" else int(line))
