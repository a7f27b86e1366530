"""Places for captures at work: given in the order in which they were asked for."""

from __future__ import annotations

import asyncio


class Slots:
    """So many places."""

    def __init__(self, count: int) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._freed = asyncio.Event()

    async def take(self) -> None:
        """Wait for a place."""
        try:
            await self._semaphore.acquire()
        except asyncio.CancelledError:
            # The place may have been meant for us.
            self._wake()
            raise

    def give(self) -> None:
        """Give a place back."""
        self._semaphore.release()
        self._wake()

    @property
    def free(self) -> bool:
        """True if there is a place that nobody waits for: it can be taken at once."""
        return not self._semaphore.locked()

    async def some_free(self) -> None:
        """Wait until there is a place that nobody waits for."""
        while self._semaphore.locked():
            await self._freed.wait()

    def _wake(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()


class Slot:
    """One place of a job, which may do without it for a while."""

    def __init__(self, slots: Slots) -> None:
        """A place that has been taken."""
        self._slots = slots
        self.lent = False

    def lend(self) -> None:
        """Let others have it."""
        if not self.lent:
            self.lent = True
            self._slots.give()

    async def regain(self) -> None:
        """Wait for a place if it was lent."""
        if self.lent:
            await self._slots.take()
            self.lent = False

    def end(self) -> None:
        """It is needed no more."""
        self.lend()
