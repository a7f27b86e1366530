"""Registration: one key that lives as long as its owner, and a little longer."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import SignalboxError
from signalbox.store.base import Compare, LeaseLostError, Put

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.store.base import Entry, Store

logger = structlog.get_logger(__name__)

RETRY_S = 1.0


class KeyTakenError(SignalboxError):
    """Another owner has put its value under the key. Never leaves this module."""


class Registration:
    """Keeps ``key`` in the store under a lease of ``ttl_s`` seconds while :meth:`run` runs.

    Ending :meth:`run` (cancelling it) leaves the key until its lease runs out; :meth:`withdraw` deletes it at once.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        value: bytes,
        ttl_s: int,
        *,
        renew_s: float | None = None,
        ours: Callable[[Entry], bool] | None = None,
    ) -> None:
        """``renew_s``: time between renewals, by default a third of ``ttl_s``. ``ours``: whether an entry is of this
        owner: another one's is left alone, and waited for to go. None: the key can be nobody else's."""
        self._store = store
        self._key = key
        self._value = value
        self._ttl_s = ttl_s
        self._renew_s = ttl_s / 3 if renew_s is None else renew_s
        self._ours = ours
        self._lease = 0
        self._stored: bytes | None = None
        self._changed = asyncio.Event()
        self._failing = False
        self.registered = asyncio.Event()
        """Set while the key is known to be in the store with the newest value."""

    def update(self, value: bytes) -> None:
        """Put a new value, at once if the store is there, else as soon as it is. A value equal to the old one costs
        nothing."""
        if value != self._value:
            self._value = value
            self.registered.clear()
            self._changed.set()

    async def run(self) -> None:
        """Long-lived coroutine: register, renew, and register again whenever the lease was lost."""
        while True:
            pause = self._renew_s
            self._changed.clear()
            try:
                await self._refresh()
                self._failing = False
            except LeaseLostError:
                logger.warning("lease_lost", key=self._key)
                self._forget()
                pause = random.uniform(0, 0.1)
            except SignalboxError as error:
                if not self._failing:
                    logger.warning("registration_failed", key=self._key, error=str(error))
                self._failing = True
                self.registered.clear()
                pause = min(RETRY_S, self._renew_s) * random.uniform(0.5, 1.5)
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def withdraw(self) -> None:
        """Delete the key by ending its lease. End :meth:`run` first. Raises StoreUnavailableError: it will run out."""
        lease = self._lease
        self._forget()
        if lease:
            await self._store.revoke_lease(lease)

    async def _refresh(self) -> None:
        if not self._lease:
            self._lease = await self._store.grant_lease(self._ttl_s)
        else:
            await self._store.keep_lease(self._lease)
        value = self._value
        if self._stored != value:
            await self._store.commit(await self._unless_taken(), [Put(self._key, value, self._lease)])
            self._stored = value
        if value == self._value:
            self.registered.set()

    async def _unless_taken(self) -> list[Compare]:
        """That nobody puts something else meanwhile. Raises KeyTakenError."""
        if self._ours is None:
            return []
        there = await self._store.get(self._key)
        if there is not None and not self._ours(there):
            raise KeyTakenError(f"{self._key} is the entry of another one")
        return [Compare(self._key, there.revision if there is not None else 0)]

    def _forget(self) -> None:
        self._lease = 0
        self._stored = None
        self.registered.clear()
