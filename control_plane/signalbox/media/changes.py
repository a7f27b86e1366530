"""Changes that are made to their end, whoever still waits for them.

A thread cannot be stopped: were who waits for it cancelled, as a call of gRPC is whose client has gone, then what it
has done on the disk would not be known in memory, and another change would begin beside it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_T = TypeVar("_T")


class Tasks:
    """Those that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run it in a task of its own. Wait for this with ``asyncio.shield`` alone."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ended(self, timeout_s: float) -> None:
        """Wait until there are none, or so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)


class Changes:
    """One after the other."""

    def __init__(self, tasks: Tasks) -> None:
        self.lock = asyncio.Lock()
        self._tasks = tasks

    async def make(self, change: Callable[[], Awaitable[_T]]) -> _T:
        """Make one, with the lock held until it is whole."""
        return await asyncio.shield(self._tasks.begin(self._make(change)))

    async def _make(self, change: Callable[[], Awaitable[_T]]) -> _T:
        async with self.lock:
            return await change()


class Shared(Generic[_T]):
    """A question that takes its time. Who asks while it has not begun yet gets the same answer."""

    def __init__(self, tasks: Tasks, lock: asyncio.Lock, ask: Callable[[], Awaitable[_T]]) -> None:
        self._tasks = tasks
        self._lock = lock
        self._ask = ask
        self._next: asyncio.Task[_T] | None = None

    async def __call__(self) -> _T:
        """Ask, and go on asking even if nobody waits any more."""
        if self._next is None:
            self._next = self._tasks.begin(self._turn())
        return await asyncio.shield(self._next)

    async def _turn(self) -> _T:
        async with self._lock:
            self._next = None
            return await self._ask()
