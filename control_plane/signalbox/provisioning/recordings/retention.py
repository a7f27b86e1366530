"""What time it is for the deletion of recordings, which cannot be taken back: a clock that is wrong deletes nothing.

PostgreSQL has a clock of its own: that one rules, and ours must agree with it. With SQLite there is none but that of
this machine: then it may not have been set by much since the process began, as happens when time servers are found late
or lie. One that was wrong all the time is not noticed there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.catalog.catalog import Catalog
    from signalbox.provisioning.collection import Clock

APART_S = 300.0
"""Our clock and the database's may differ by this."""
LEAP_S = 3600.0
"""Our clock may have been set by this since the process began."""


class ClockDoubtfulError(SignalboxError):
    """Nobody knows what time it is."""


def elapsed_s() -> float:
    """Seconds since the machine started, those in which it was suspended too: nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RetentionClock:
    """Made when the process begins."""

    def __init__(self, clock: Clock, elapsed: Callable[[], float] = elapsed_s) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._began = self._offset_s()

    async def now_ms(self, catalog: Catalog) -> int:
        """Unix milliseconds. Raises ClockDoubtfulError, DatabaseUnavailableError."""
        theirs = await catalog.database.clock_ms()
        ours_s = self._clock().timestamp()
        if theirs is None:
            leapt_s = self._offset_s() - self._began
            if abs(leapt_s) > LEAP_S:
                raise ClockDoubtfulError(
                    f"the clock was set by {leapt_s:.0f} s since this process began: set it back, or, "
                    "if it is right now, restart the process"
                )
            return int(ours_s * 1000)
        apart_s = ours_s - theirs / 1000
        if abs(apart_s) > APART_S:
            raise ClockDoubtfulError(f"the clock is {apart_s:.0f} s ahead of the database's: one of them is wrong")
        return theirs

    def _offset_s(self) -> float:
        return self._clock().timestamp() - self._elapsed()
