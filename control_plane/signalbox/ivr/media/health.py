"""Whether an rtpengine is well, by our own pings. Two questions, two answers: may a call begin there, are calls lost.

To leave a node out that only stalls costs nothing, to give up its calls costs calls: so the first is told soon and the
second late, but for a process that is gone, of which the system tells at once.
"""

from __future__ import annotations

MISSES = 2
"""Pings without an answer in a row after which no call begins there."""
ANSWERS = 3
"""Answers in a row after which calls begin there again."""
REFUSALS = 2
"""Pings in a row to a port where nobody listens after which its calls are lost."""
SILENT_S = 5.0
"""A node that has not answered for so long has lost its calls, though something listens there."""


class Health:
    """Times are seconds of any clock that only goes forward. ``trusted``: what others say of it, until we know."""

    def __init__(self, now: float, *, trusted: bool, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s
        self._answers = ANSWERS if trusted else 0
        self._misses = 0
        self._refusals = 0
        self._answered = now

    @property
    def usable(self) -> bool:
        """A call may begin there."""
        return self._misses < MISSES and self._answers >= ANSWERS

    def is_dead(self, now: float) -> bool:
        """Its calls are lost."""
        return self._refusals >= REFUSALS or (self._misses >= MISSES and now - self._answered >= self._silent_s)

    def answered(self, now: float) -> bool:
        """A pong came. True if the one before did not: it may be another process than before."""
        again = self._misses > 0
        if self._misses >= MISSES:
            self._answers = 0
        self._answers = min(ANSWERS, self._answers + 1)
        self._misses = self._refusals = 0
        self._answered = now
        return again

    def missed(self, *, refused: bool) -> None:
        """No pong came. ``refused``: nobody listens."""
        self._misses += 1
        self._refusals = self._refusals + 1 if refused else 0
