"""A prefix of the store followed for ever: listed once, then kept in step by its changes."""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import structlog

from signalbox.errors import StoreFullError, StoreUnavailableError
from signalbox.store.base import CompactedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from signalbox.store.base import Batch, Change, Listing

logger = structlog.get_logger(__name__)

FAR_BEHIND = 5_000
"""Revisions missed, of any prefix, above which listing anew is quicker than catching up."""
SLICE = 200
"""So many entries are dealt with at once, about 2 ms; then whatever else waits has its turn."""
RETRY_S = 0.2
RETRY_MAX_S = 5.0


class Source(Protocol):
    """What is needed of a Store: see there."""

    async def revision(self) -> int:
        """See Store."""
        ...

    async def cluster(self) -> int:
        """See Store."""
        ...

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        ...

    def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        ...


class Mirror:
    """Tells its owner the content of a prefix and every change to it, in order, each once.

    ``on_reset`` gets all of it (replace what you have), ``on_changes`` what has changed since and the revision reached.
    Both are awaited, one after the other, and must not raise: a value that cannot be used is for them to skip, loudly.
    Both may be long: their owner goes through them in slices. A listing is not kept by ``on_reset`` (it is emptied).
    """

    def __init__(
        self,
        store: Source,
        prefix: str,
        *,
        on_reset: Callable[[Listing], Awaitable[None]],
        on_changes: Callable[[Sequence[Change], int], Awaitable[None]],
        start: tuple[int, int] = (0, 0),
        far_behind: int = FAR_BEHIND,
        retry_s: float = RETRY_S,
    ) -> None:
        """``start``: a cluster and the revision up to which the owner has everything of it already; 0: it has nothing.

        ``retry_s`` is the first pause after an error; pauses double up to RETRY_MAX_S and are jittered.
        """
        self._store = store
        self._prefix = prefix
        self._on_reset = on_reset
        self._on_changes = on_changes
        self._far_behind = far_behind
        self._retry_s = retry_s
        self._pause_s = retry_s
        self._current_at = -math.inf
        self._cluster, self.revision = start
        """The owner has everything up to this revision; 0: nothing yet."""
        self.synced = asyncio.Event()
        """Set once the owner has had the state as the store itself tells it, not only that of a snapshot."""
        self.available = False
        """The store answered when it was last asked; a broken watch is mended for some seconds before that counts."""

    def age_s(self) -> float:
        """Seconds since the owner's state was last known to be the store's; infinite before the first time."""
        return time.monotonic() - self._current_at

    async def run(self) -> None:
        """Long-lived coroutine. Ends only by being cancelled, or with an exception of a callback."""
        while True:
            try:
                await self._follow()
            except CompactedError as error:
                logger.info("mirror_lists_anew", prefix=self._prefix, revision=self.revision, reason=str(error))
                self.revision = 0
            except (StoreUnavailableError, StoreFullError) as error:
                if self.available or self._pause_s == self._retry_s:
                    logger.warning("mirror_store_away", prefix=self._prefix, revision=self.revision, error=str(error))
                self.available = False
            # Jitter, lest all replicas list at the same moment.
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))
            self._pause_s = min(2 * self._pause_s, RETRY_MAX_S)

    async def _follow(self) -> None:
        """List if there is no other way, then follow the watch until it ends. Raises the store's errors."""
        cluster = await self._store.cluster()
        if self.revision:
            behind = await self._store.revision() - self.revision
            self.available = True
            if cluster != self._cluster or not 0 <= behind <= self._far_behind:
                logger.info(
                    "mirror_lists_anew",
                    prefix=self._prefix,
                    revision=self.revision,
                    behind=behind,
                    exchanged=cluster != self._cluster,
                )
                self.revision = 0
        self._cluster = cluster
        if not self.revision:
            began = time.monotonic()
            listing = await self._store.list(self._prefix)
            keys = len(listing.entries)
            await self._on_reset(listing)
            self._reached(listing.revision, began)
            logger.info("mirror_listed", prefix=self._prefix, revision=self.revision, keys=keys)
            while listing.entries:
                # To free all at once takes long too.
                del listing.entries[-SLICE:]
                await asyncio.sleep(0)
        async with aclosing(self._store.watch(self._prefix, self.revision + 1, cluster)) as batches:
            async for changes, revision in batches:
                if changes:
                    await self._on_changes(changes, revision)
                self._reached(revision, time.monotonic(), current=not changes)

    def _reached(self, revision: int, at: float, *, current: bool = True) -> None:
        """The owner is at ``revision``; if ``current``, that was all there was at the time ``at``."""
        self.revision = revision
        self.available = True
        self._pause_s = self._retry_s
        if current:
            self._current_at = at
            self.synced.set()
