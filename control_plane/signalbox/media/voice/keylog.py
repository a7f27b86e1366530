"""Keys that wait for the workers whose calls they are.

They are kept for a while whether or not they were sent: a stream that breaks tells nobody what its other end has read.
Times are seconds of a clock that only goes forward.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from signalbox import rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.api.media.v1 import media_pb2

KEEP_S = rpc.SILENCE_S + 7.0
"""A worker that has lost its connection, at the latest when gRPC notices that nothing comes any more, has a new one
within seconds."""
CALL_MAX = 64
"""Keys of a call that are kept."""
WORKER_MAX = 4096
"""Keys of a worker that are kept."""
WORKERS_MAX = 1000
"""Workers whose keys are kept. Who is left out first has not had a key for the longest time, and does not watch."""


class KeyLog:
    """The keys of one worker, from the oldest kept. ``lost`` is called for each that goes and was sent to nobody."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._keys: OrderedDict[int, tuple[float, media_pb2.Key]] = OrderedDict()
        self._calls: dict[str, deque[int]] = {}
        self._sent = 0
        self._news = asyncio.Event()
        self.watchers = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: media_pb2.Key, now: float) -> None:
        """The newest key; it has its sequence."""
        self.forget(now)
        of_call = self._calls.get(key.call_id)
        if of_call and len(of_call) >= CALL_MAX:
            self._drop(of_call[0])
        elif len(self._keys) >= WORKER_MAX:
            self._drop(next(iter(self._keys)))
        self._keys[key.sequence] = (now, key)
        self._calls.setdefault(key.call_id, deque()).append(key.sequence)
        self.wake()

    def forget(self, now: float) -> None:
        """Keys that are too old."""
        while self._keys:
            sequence, (at, _) = next(iter(self._keys.items()))
            if now - at < KEEP_S:
                return
            self._drop(sequence)

    def after(self, sequence: int) -> list[media_pb2.Key]:
        """Keys that came after one. They count as sent."""
        newer = []
        for at, (_, key) in reversed(self._keys.items()):
            if at <= sequence:
                break
            newer.append(key)
        if newer:
            self._sent = max(self._sent, newer[0].sequence)
        return newer[::-1]

    def wake(self) -> None:
        """All who wait for news look again."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Wait for a key, or for :meth:`wake`. Ask :meth:`after` first, with nothing awaited in between."""
        await self._news.wait()

    def _drop(self, sequence: int) -> None:
        _, key = self._keys.pop(sequence)
        of_call = self._calls[key.call_id]
        # The oldest of the worker is the oldest of its call, too.
        of_call.popleft()
        if not of_call:
            del self._calls[key.call_id]
        if sequence > self._sent:
            self._lost()


class KeyLogs:
    """Those of all workers."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._logs: OrderedDict[str, KeyLog] = OrderedDict()
        self._sequence = 0

    def __len__(self) -> int:
        """Keys that are kept."""
        return sum(map(len, self._logs.values()))

    def add(self, worker: str, key: media_pb2.Key, now: float) -> None:
        """A key of a worker's call; gives it its sequence."""
        self._sequence += 1
        key.sequence = self._sequence
        self.of(worker).add(key, now)

    def of(self, worker: str) -> KeyLog:
        """The keys of a worker."""
        log = self._logs.get(worker)
        if log is None:
            self._limit()
            log = self._logs[worker] = KeyLog(self._lost)
        self._logs.move_to_end(worker)
        return log

    def forget(self, now: float) -> None:
        """Keys that are too old, and workers that neither watch nor have any."""
        for worker, log in list(self._logs.items()):
            log.forget(now)
            if not log and not log.watchers:
                del self._logs[worker]

    def wake(self) -> None:
        """All who wait for news look again."""
        for log in self._logs.values():
            log.wake()

    def _limit(self) -> None:
        """Make room for one more, unless all of them watch."""
        if len(self._logs) < WORKERS_MAX:
            return
        for worker, log in self._logs.items():
            if not log.watchers:
                log.forget(float("inf"))
                del self._logs[worker]
                return
