"""The pace of imports: how many rows are written at once, and how long is waited in between. Pure but for the clock.

Everything that changes goes through etcd in one order, so a commit that takes long makes others wait, and the routing
replicas take every change in beside their calls. So commits are kept short: their latency is the sign that the cluster
is busy. Above the limit there are half as many rows in the next one, and a pause as long as the commit was; below it
there are a few more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS_MIN = 10
ROWS_FIRST = 50
ROWS_MAX = 500
GROWTH = 1.2
PAUSE_MAX_S = 5.0


class Pace:
    """The pace of all imports of a process together."""

    def __init__(self, rows_per_second: int, slow_commit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """``rows_per_second``: most that are written; 0: any number. ``slow_commit_s``: longest bearable commit."""
        self._limit = rows_per_second
        self._slow_s = slow_commit_s
        self._now = now
        self._due = 0.0
        self.rows = ROWS_FIRST
        """Rows to write at once."""

    def committed(self, rows: int, commit_s: float, limit: int = 0) -> float:
        """Tell of a commit of so many rows; returns how long to wait now, seconds.

        ``commit_s`` 0: there was nothing to write, so that nobody feels it.
        ``limit``: most rows per second of the import itself; 0: it has none.
        """
        pause = 0.0
        if commit_s > self._slow_s:
            self.rows = max(ROWS_MIN, min(self.rows, rows) // 2)
            pause = min(commit_s, PAUSE_MAX_S)
        elif rows >= self.rows:
            self.rows = min(ROWS_MAX, int(self.rows * GROWTH) + 1)
        rate = min((one for one in (limit, self._limit if commit_s else 0) if one), default=0)
        now = self._now()
        self._due = max(self._due, now) + (rows / rate if rate else 0.0)
        return max(pause, self._due - now)

    def refused(self, rows: int) -> None:
        """So many rows were too many for one commit."""
        self.rows = max(1, rows // 2)
