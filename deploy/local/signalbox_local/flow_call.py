"""A call of :mod:`signalbox_local.flow_calls`, and what is counted of all."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from signalbox_local.flow_messages import Address, Message


class Stage(enum.IntEnum):
    """Where a call is."""

    INVITED = 0
    ANSWERED = 1
    KEYED = 2
    CONNECTED = 3
    BRIDGED = 4
    ENDING = 5


@dataclass(slots=True, eq=False)
class Call:
    """One call, both sides."""

    n: int
    begun: float
    stage: Stage = Stage.INVITED
    failed: bool = False
    answer: Message | None = None
    caller_media: Address | None = None
    """Where the caller sends to."""
    line_media: Address | None = None
    line_invite: Message | None = None
    line_reply: bytes = b""
    """The last one to the INVITE, sent again when that comes again."""
    keyed_at: float = 0.0
    caller_heard: float = 0.0
    """When the caller heard the line last."""
    line_heard: float = 0.0
    caller_over: bool = False
    line_over: bool = False
    sequence: int = 0
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    @property
    def heard(self) -> bool:
        """Each side has heard the other one."""
        return bool(self.caller_heard and self.line_heard)


@dataclass(slots=True)
class Counts:
    """What became of the calls so far."""

    begun: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    """How many came to each stage."""
    done: int = 0
    """Went all the way and are over on both sides."""
    failed: Counter[str] = field(default_factory=Counter)
    resent: Counter[str] = field(default_factory=Counter)
    """Messages that were sent again."""
    answered_s: list[float] = field(default_factory=list)
    """From INVITE to 200, of each call."""
    connected_s: list[float] = field(default_factory=list)
    """From the end of the key to when each side has heard the other one, without the time it rang."""
    open: int = 0
    alive: int = 0
    """Of those that are bridged: both sides have heard each other lately."""
    cpu_s: float = 0.0
