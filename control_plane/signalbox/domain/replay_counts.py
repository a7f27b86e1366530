"""What is counted of past calls, from their own times: calls at once, and new calls in a second.

Calls of a month and caps of lines are not counted: the file does not have the month's beginning, and nobody knows for
how long another line would have talked.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claim, Claimed, Window

if TYPE_CHECKING:
    from collections.abc import Sequence


class Counts:
    """Settles the claims of calls that come in the order of their times."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._ends: list[tuple[float, tuple[str, ...]]] = []
        self._second = 0
        self._begun: Counter[str] = Counter()
        self._granted: Claim | None = None

    def settle(self, claim: Claim, now: float) -> Claimed:
        """Whether a limit is reached at ``now`` (epoch, seconds). What is granted is taken by :meth:`decided`."""
        if int(now) != self._second:
            # A second is one of the clock, as where calls are counted.
            self._second = int(now)
            self._begun.clear()
        while self._ends and self._ends[0][0] <= now:
            self._give_back(heappop(self._ends)[1])
        for at, limit in enumerate(claim.limits):
            if limit.window is Window.CALLS and self._held[limit.name] >= limit.most:
                return Claimed(over=at)
            if limit.window is Window.SECOND and self._begun[limit.name] >= limit.most:
                return Claimed(over=at)
        self._granted = claim
        return Claimed()

    def decided(self, rings: bool, end: float) -> None:
        """The call of the last claim is decided. If it rings lines it holds what it was granted until ``end``."""
        claim, self._granted = self._granted, None
        if claim is None or not rings:
            return
        self._begun.update(limit.name for limit in claim.limits if limit.window is Window.SECOND)
        held = tuple([limit.name for limit in claim.limits if limit.window is Window.CALLS])
        if held:
            self._held.update(held)
            heappush(self._ends, (end, held))

    def _give_back(self, names: Sequence[str]) -> None:
        for name in names:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
