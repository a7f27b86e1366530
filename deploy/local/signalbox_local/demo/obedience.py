"""How long until every proxy obeys a changed rule, from the proxies' own event journals."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.commands.journals import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

JOURNAL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the rule: calls to ``old`` shall from now on go to ``new``."""

    asked: float
    """When the update was sent, seconds since 1970."""
    answered: float
    """When it was answered."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """An INVITE to a line."""

    time: float
    """Seconds since 1970, to the millisecond."""
    line: str


@dataclass(frozen=True, slots=True)
class Obedience:
    """One change as one proxy followed it, milliseconds after the update was answered."""

    last_old_ms: float
    """The last call to the old line; below 0: before the answer."""
    first_new_ms: float
    """The first call to the new line."""

    @property
    def certain_ms(self) -> float:
        """From here on the proxy is known to have obeyed: not before both."""
        return max(self.last_old_ms, self.first_new_ms)


def judge(change: Change, attempts: Iterable[Attempt], until: float) -> Obedience | None:
    """How a proxy with these attempts followed a change, ``until`` the next one was asked for; None if it did not."""
    relevant = [a for a in attempts if a.time < until and a.line in {change.old, change.new}]
    after = [a.time for a in relevant if a.line == change.new and a.time > change.asked]
    before = [a.time for a in relevant if a.line == change.old]
    if not after or not before:
        return None
    return Obedience(
        last_old_ms=(max(before) - change.answered) * 1000,
        first_new_ms=(min(after) - change.answered) * 1000,
    )


async def read_attempts(journals: Mapping[str, Path], calls: int) -> dict[str, Sequence[Attempt]]:
    """By proxy: all INVITEs to lines, once the end of so many calls of each has come to the journals.

    Returns what there is after JOURNAL_TIMEOUT_S.
    """
    readers = {name: JournalReader(journal) for name, journal in journals.items()}
    attempts: dict[str, list[Attempt]] = {name: [] for name in journals}
    ended = dict.fromkeys(journals, 0)
    deadline = time.monotonic() + JOURNAL_TIMEOUT_S
    while True:
        for name, reader in readers.items():
            for event in reader.read():
                kind = event.WhichOneof("event")
                if kind == "line_tried":
                    attempts[name].append(Attempt(event.time.ToMilliseconds() / 1000, event.line_tried.line))
                ended[name] += kind in {"hung_up", "failed"}
        if min(ended.values()) >= calls or time.monotonic() > deadline:
            return dict(attempts)
        # Another process writes the journals: nothing here could set an event.
        await asyncio.sleep(0.1)
