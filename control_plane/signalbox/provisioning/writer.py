"""Writes under fences: checks of references and the writes that rely on them exclude each other.

Every write that concerns a tenant's objects, or the trunks, goes through their fence, a key of ``store.keys``:

1. read the fence's revision,
2. read what the write depends on, and refuse or plan the write,
3. commit: the fence and the objects as they were read, or nothing; the fence is put too.

Whatever changed between 1 and 3 went through the same fence, so 3 fails and all is tried again from 1. The caller never
sees a neighbour's write; it sees a refusal only if what it asked for is refused on the new state.

Writers of one process take turns at a fence, so they don't spoil each other's transactions; what is left are the
writers of other processes.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from signalbox.errors import StoreUnavailableError, WriteContentionError
from signalbox.store.base import Compare, CompareFailedError, Delete, Put

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from signalbox.store.base import Store

ATTEMPTS = 30
BACKOFF_MAX_S = 0.05
"""Longest pause between two attempts: some commits of etcd on a slow disk."""

T = TypeVar("T")


@dataclass(frozen=True)
class Plan(Generic[T]):
    """What a write comes to: its result, the objects it relies on, and what is written (nothing: no change)."""

    result: T
    compares: Sequence[Compare] = ()
    writes: Sequence[Put | Delete] = ()


class _Turn:
    """The queue of this process at one fence."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.failed_at = float("-inf")


class Writer:
    """Commits plans under fences."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: weakref.WeakValueDictionary[str, _Turn] = weakref.WeakValueDictionary()

    async def write(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        """Commit what ``plan`` makes of the present state; returns its result and the new revision (0: no change).

        ``plan`` reads and refuses as it likes, and is called again when the state has changed under it. Raises
        WriteContentionError after ATTEMPTS, StoreUnavailableError (also when the store failed the writer before us
        while we waited for our turn), and what ``plan`` raises.
        """
        turn = self._turns.get(fence)
        if turn is None:
            turn = self._turns[fence] = _Turn()
        began = time.monotonic()
        async with turn.lock:
            if turn.failed_at >= began:
                raise StoreUnavailableError("the store failed the write before this one")
            try:
                return await self._commit(fence, plan)
            except StoreUnavailableError:
                turn.failed_at = time.monotonic()
                raise

    async def _commit(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        for attempt in range(ATTEMPTS):
            entry = await self._store.get(fence)
            made = await plan()
            if not made.writes:
                return made.result, 0
            unchanged = Compare(fence, entry.revision if entry else 0)
            try:
                revision = await self._store.commit([unchanged, *made.compares], [Put(fence, b""), *made.writes])
            except CompareFailedError:
                await asyncio.sleep(random.uniform(0, BACKOFF_MAX_S * min(1.0, (attempt + 1) / 5)))
                continue
            return made.result, revision
        raise WriteContentionError(
            f"others changed the store {ATTEMPTS} times while this was tried; nothing was written"
        )
