"""The course of a run: what was counted in each window of some seconds."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest import rows
from loadtest.figures import Count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadtest.figures import Counts
    from loadtest.outcome import Outcome

WINDOW_S = 5.0
SHOWN = (
    (rows.SIP, rows.DELAY),
    (rows.SIP, rows.SHED),
    (rows.RTP, rows.LOST),
    (rows.RTP, rows.THROUGH),
    (rows.GRPC, rows.DECIDE),
    (rows.GRPC, rows.DECIDE_STREAM),
    (rows.GRPC, rows.EDIT),
    (rows.GRPC, rows.IN_FORCE),
)
"""Rows whose course is kept."""


@dataclass(frozen=True, slots=True)
class Window:
    """A few seconds of a run."""

    at_s: float
    """Its end, since the start of the run."""
    length_s: float
    open_calls: int
    """At its end."""
    outcomes: Mapping[Outcome, int]
    """Of the calls that ended in it."""
    counts: Counts

    @property
    def rate(self) -> float:
        """Calls that ended, a second."""
        return sum(self.outcomes.values()) / self.length_s

    def share(self, kind: Callable[[Outcome], bool]) -> float | None:
        """Of the calls that ended, those whose outcome is of a kind; None: none ended."""
        ended = sum(self.outcomes.values())
        return sum(number for outcome, number in self.outcomes.items() if kind(outcome)) / ended if ended else None

    def p99_ms(self, row: tuple[str, str]) -> float | None:
        """Of a row, in this window; None: nothing was counted."""
        count = self.counts.get(row)
        return None if count is None else count.percentile(0.99)


class Series:
    """Windows, made of what is counted in all at different times."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.windows: list[Window] = []
        self.over = False
        self.load_s = 0.0
        """So long calls were begun; then those under way ended."""
        self._clock = clock
        self._began = self._last = clock()
        self._counts: Counts = {}
        self._outcomes: Counter[Outcome] = Counter()

    @property
    def due(self) -> bool:
        """A window is as long as one is."""
        return self._clock() - self._last >= WINDOW_S

    def look(self, counts: Counts, outcomes: Mapping[Outcome, int], open_calls: int) -> None:
        """All that was counted until now; a window ends if it is :attr:`due`. The counts are kept as they are."""
        if not self.due:
            return
        now = self._clock()
        kept = {row: counts[row] for row in SHOWN if row in counts}
        self.windows.append(
            Window(
                now - self._began,
                now - self._last,
                open_calls,
                Counter(outcomes) - self._outcomes,
                {row: count.since(self._counts.get(row, Count())) for row, count in kept.items()},
            )
        )
        self._last, self._counts, self._outcomes = now, kept, Counter(outcomes)

    def stop(self) -> None:
        """No more calls are begun."""
        self.load_s = self._clock() - self._began

    def end(self) -> None:
        """There are no more windows."""
        self.over = True
