"""The rules in memory: what was provisioned, indexed for decisions.

The objects are plain and frozen; :class:`Rules` changes by one object at a time, and every change is in force for the
next decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signalbox.domain.decision import Decision

DEFAULT_RING_MS = 30_000
DEFAULT_SIP_PORT = 5060

MEMO_LIMIT = 50_000
"""Most decisions that are remembered; all are forgotten when it is passed."""


class Transport(Enum):
    """Transport of SIP to a line (RFC 3261 section 18)."""

    UDP = "udp"
    TCP = "tcp"


class MediaMode(Enum):
    """Whether RTP passes through an rtpengine."""

    ANCHOR = "anchor"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where calls come in. ``source_addresses`` are addresses and CIDR networks."""

    id: str
    source_addresses: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Where a tenant answers. ``host`` is an IPv4 or IPv6 address without brackets."""

    tenant: str
    id: str
    user: str
    host: str
    port: int = DEFAULT_SIP_PORT
    transport: Transport = Transport.UDP
    remove_identity: bool = False


@dataclass(frozen=True, slots=True)
class DialStage:
    """Ids of lines that ring together, for ``ring_time_ms``."""

    lines: tuple[str, ...]
    ring_time_ms: int = DEFAULT_RING_MS


@dataclass(frozen=True, slots=True)
class Number:
    """A service number in national form and its rule: stages in the order they are tried."""

    number: str
    tenant: str
    stages: tuple[DialStage, ...]
    suspended: bool = False
    media: MediaMode = MediaMode.ANCHOR


class Rules:
    """All trunks, lines and numbers, and a memo of what was decided for each number.

    A decision for a number depends only on the number and on lines of its tenant, so the memo is kept by tenant and
    dropped for a tenant at once when one of its lines changes.
    """

    __slots__ = ("_lines", "_memo", "_memo_size", "_numbers", "_trunks")

    def __init__(self) -> None:
        self._trunks: dict[str, Trunk] = {}
        self._lines: dict[str, dict[str, Line]] = {}
        self._numbers: dict[str, Number] = {}
        self._memo: dict[str, dict[tuple[str, bool], Decision]] = {}
        self._memo_size = 0

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return len(self._numbers)

    def trunk(self, id: str) -> Trunk | None:
        """A trunk by its id."""
        return self._trunks.get(id)

    def trunks(self) -> list[Trunk]:
        """All trunks, in order of their ids."""
        return [self._trunks[id] for id in sorted(self._trunks)]

    def line(self, tenant: str, id: str) -> Line | None:
        """A tenant's line by its id."""
        return self._lines.get(tenant, {}).get(id)

    def number(self, digits: str) -> Number | None:
        """A service number by its national form."""
        return self._numbers.get(digits)

    def put(self, item: Trunk | Line | Number) -> None:
        """Add an object or replace the one of its id."""
        match item:
            case Trunk():
                self._trunks[item.id] = item
            case Line():
                self._lines.setdefault(item.tenant, {})[item.id] = item
                self._forget(item.tenant)
            case Number():
                self.delete_number(item.number)
                self._numbers[item.number] = item

    def delete_trunk(self, id: str) -> None:
        """Delete a trunk; an unknown one is no error."""
        self._trunks.pop(id, None)

    def delete_line(self, tenant: str, id: str) -> None:
        """Delete a line; an unknown one is no error."""
        lines = self._lines.get(tenant, {})
        if lines.pop(id, None) is not None:
            self._forget(tenant)
            if not lines:
                del self._lines[tenant]

    def delete_number(self, digits: str) -> None:
        """Delete a number; an unknown one is no error."""
        gone = self._numbers.pop(digits, None)
        if gone is not None:
            memo = self._memo.get(gone.tenant, {})
            for looped in (False, True):
                if memo.pop((digits, looped), None) is not None:
                    self._memo_size -= 1

    def shrink(self, count: int) -> bool:
        """Let go of some of what is in here, for rules no longer used: to free all at once takes long. False: empty."""
        for _ in range(count):
            part = self._numbers or self._lines or self._memo
            if not part:
                return False
            part.popitem()
        return True

    def recall(self, number: Number, looped: bool) -> Decision | None:
        """What was decided for the number before, if everything it rests on is as it was."""
        memo = self._memo.get(number.tenant)
        return memo.get((number.number, looped)) if memo is not None else None

    def remember(self, number: Number, looped: bool, decision: Decision) -> None:
        """Keep a decision until something that it rests on changes."""
        if self._memo_size >= MEMO_LIMIT:
            self._memo.clear()
            self._memo_size = 0
        self._memo.setdefault(number.tenant, {})[number.number, looped] = decision
        self._memo_size += 1

    def _forget(self, tenant: str) -> None:
        self._memo_size -= len(self._memo.pop(tenant, ()))
