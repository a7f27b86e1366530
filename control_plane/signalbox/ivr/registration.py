"""The worker's entry in the store: nobody else's id, its load, whether it takes calls."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ConfigurationError, SignalboxError, StoreUnavailableError
from signalbox.store import codec, keys
from signalbox.store.base import Compare, CompareFailedError, Put
from signalbox.store.lease import RETRY_S, Registration

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.store.base import Entry as StoreEntry
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

LOAD_S = 0.5
"""The load is told this often at most: every publication goes to all routing replicas."""
LOAD_STEP = 100
"""A change of calls is told if it is this part of the capacity."""
EXPIRY_S = 3.0
"""What is waited for the end of a lease beyond its time: the store renews none for less."""


class Entry:
    """``live/voice/<id>``. ``calls``: how many there are now."""

    def __init__(self, store: Store, worker: routing_pb2.VoiceWorker, ttl_s: int, calls: Callable[[], int]) -> None:
        self._store = store
        self._worker = worker
        self._ttl_s = ttl_s
        self._calls = calls
        self._key = keys.live_voice(worker.id)
        self._registration: Registration | None = None

    @property
    def registered(self) -> bool:
        """True while the store is known to have the newest state."""
        return self._registration is not None and self._registration.registered.is_set()

    @property
    def draining(self) -> bool:
        """It says that it takes no calls."""
        return self._worker.draining

    async def claim(self) -> None:
        """Take the id, once the store is there. One that a worker had which has died is free when its lease ends.

        Raises ConfigurationError if another worker, at another address, lives under it.
        """
        waited_s, told = 0.0, False
        while True:
            try:
                other = await self._take()
            except SignalboxError as error:
                if not told:
                    logger.warning("registration_waits", key=self._key, error=str(error))
            else:
                if other is None:
                    return
                if not told:
                    logger.info("registration_waits", key=self._key, of=other)
                if waited_s > self._ttl_s + EXPIRY_S:
                    raise ConfigurationError(f"ivr.id: {self._worker.id} is the id of the worker at {other}")
                waited_s += RETRY_S
            told = True
            await asyncio.sleep(RETRY_S)

    async def run(self) -> None:
        """Long-lived coroutine: keep the entry, and its load true. :meth:`claim` the id first.

        If the store was away for so long that another worker has the id now, it keeps it: we are registered again when
        that one is gone.
        """
        self._registration = registration = Registration(
            self._store, self._key, self._value(), self._ttl_s, ours=self._is_ours
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(registration.run(), name="lease")
            while True:
                await asyncio.sleep(LOAD_S * random.uniform(0.8, 1.2))
                self._publish()

    def open(self) -> None:
        """Take calls: told at once."""
        self._worker.draining = False
        self._publish()

    def drain(self) -> None:
        """Take no new calls: told at once."""
        self._worker.draining = True
        self._publish()

    async def withdraw(self) -> None:
        """Take the entry out of the store. End :meth:`run` first."""
        if self._registration is None:
            return
        try:
            await self._registration.withdraw()
        except StoreUnavailableError as error:
            logger.warning("not_withdrawn", error=str(error), gone_after_s=self._ttl_s)
        else:
            logger.info("withdrawn")

    async def _take(self) -> str | None:
        """None: the id is ours; else where its worker is. Raises SignalboxError."""
        entry = await self._store.get(self._key)
        if entry is not None and not self._is_ours(entry):
            return _address(entry)
        # Two that start together: one of them fails. The registration puts it under a lease of its own.
        lease = await self._store.grant_lease(self._ttl_s)
        try:
            await self._store.commit(
                [Compare(self._key, entry.revision if entry else 0)], [Put(self._key, self._value(), lease)]
            )
        except CompareFailedError:
            return "another address"
        return None

    def _is_ours(self, entry: StoreEntry) -> bool:
        return _address(entry) == self._worker.sip_address

    def _publish(self) -> None:
        if self._registration is not None:
            self._registration.update(self._value())

    def _value(self) -> bytes:
        calls, capacity = self._calls(), self._worker.capacity
        told = self._worker.calls
        if calls in (0, capacity) or told >= capacity or abs(calls - told) >= max(1, capacity // LOAD_STEP):
            self._worker.calls = calls
        return codec.encode(self._worker)


def _address(entry: StoreEntry) -> str:
    """Where the worker of an entry is. Raises DamagedValueError."""
    return codec.parse(routing_pb2.VoiceWorker, entry).sip_address
