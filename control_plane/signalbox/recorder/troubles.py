"""Calls that are in some trouble, counted until they are out of it or have not been heard of for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Troubles:
    """Calls in one kind of trouble."""

    def __init__(self, forget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``forget_s``: one of which nothing was said for so long is out of it, or another recorder's."""
        self._forget_s = forget_s
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def note(self, call_id: str) -> float:
        """A call is in trouble; returns for how long it has been, seconds."""
        self._prune()
        now = self._clock()
        first, _ = self._seen.get(call_id, (now, now))
        self._seen[call_id] = first, now
        return now - first

    def over(self, call_id: str) -> None:
        """A call is out of it."""
        self._seen.pop(call_id, None)

    def count(self, least_s: float = 0.0) -> int:
        """How many have been in it for so long."""
        self._prune()
        now = self._clock()
        return sum(now - first >= least_s for first, _ in self._seen.values())

    def _prune(self) -> None:
        limit = self._clock() - self._forget_s
        self._seen = {call_id: seen for call_id, seen in self._seen.items() if seen[1] >= limit}
