"""Taking turns: writers of one process that write the same keys do so one after the other.

Otherwise each would spoil the transactions of the others; so what is left are the writers of other processes.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class _Turn:
    """The queue at one key."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.failed_at = float("-inf")


class Turns:
    """The queues of a process."""

    def __init__(self) -> None:
        self._turns: weakref.WeakValueDictionary[str, _Turn] = weakref.WeakValueDictionary()

    @asynccontextmanager
    async def at(self, key: str) -> AsyncGenerator[None, None]:
        """Wait for our turn at a key and keep it.

        Raises StoreUnavailableError when the store failed the writer before us while we waited: not each of a queue
        may take the whole time limit.
        """
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn()
        began = time.monotonic()
        async with turn.lock:
            if turn.failed_at >= began:
                raise StoreUnavailableError("the store failed the write before this one")
            try:
                yield
            except StoreUnavailableError:
                turn.failed_at = time.monotonic()
                raise
