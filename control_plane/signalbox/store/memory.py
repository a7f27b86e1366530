"""The in-memory twin of the etcd store: the same behaviour in one process, for tests and trials."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from signalbox.errors import StoreFullError, StoreUnavailableError
from signalbox.store.base import (
    MAX_OPERATIONS,
    PROGRESS_INTERVAL_S,
    Batch,
    Change,
    CompactedError,
    Compare,
    CompareFailedError,
    Delete,
    Entry,
    LeaseLostError,
    Listing,
    Put,
    Revisions,
    check_commit,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from signalbox.store.base import AtOrAfter


class MemoryStore:
    """A Store without a server. ``available`` and ``full`` make it fail as etcd does, ``compact`` forgets history."""

    def __init__(self, *, progress_interval_s: float = PROGRESS_INTERVAL_S) -> None:
        self._progress_interval_s = progress_interval_s
        self._entries: dict[str, Entry] = {}
        self._revision = 1
        self._compacted = 0
        self._past: dict[str, Entry] = {}
        """All entries as they were before the history begins."""
        self._history: list[Change] = []
        self._leases: dict[int, tuple[int, asyncio.TimerHandle]] = {}
        self._lease_of: dict[str, int] = {}
        self._last_lease = 0
        self._wakers: set[asyncio.Event] = set()
        self._available = True
        self.cluster_id = 1
        """Another one: as if a copy had been restored."""
        self.full = False
        """True: writes raise StoreFullError."""

    @property
    def available(self) -> bool:
        """False: every method raises StoreUnavailableError, and so do the watches that run."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        self._wake()

    def compact(self, revision: int) -> None:
        """Forget all changes before ``revision``: a watch from before it raises CompactedError."""
        self._compacted = revision
        forgotten = bisect_left(self._history, revision, key=lambda change: change.revision)
        self._past = self._after(self._history[:forgotten])
        del self._history[:forgotten]

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        self._check_available()
        return self._entries.get(key)

    def _after(self, changes: Sequence[Change]) -> dict[str, Entry]:
        """All entries after the first changes of the history."""
        entries = dict(self._past)
        for change in changes:
            entries.pop(change.key, None)
            if change.entry is not None:
                entries[change.key] = change.entry
        return entries

    def _at(self, revision: int) -> dict[str, Entry]:
        """All entries as they were at a revision; 0: now."""
        self._check_available()
        if not revision:
            return self._entries
        if not self._compacted <= revision <= self._revision:
            raise CompactedError(f"revision {revision} is not known")
        return self._after(self._history[: bisect_right(self._history, revision, key=lambda one: one.revision)])

    async def get_many(self, keys: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        """See SeekingStore."""
        entries = self._at(revision)
        if len(keys) > MAX_OPERATIONS:
            raise ValueError(f"{len(keys)} keys at once, at most {MAX_OPERATIONS}")
        return [entries.get(key) if isinstance(key, str) else _first(entries, key) for key in keys]

    async def revision(self) -> int:
        """See Store."""
        self._check_available()
        return self._revision

    async def cluster(self) -> int:
        """See Store."""
        self._check_available()
        return self.cluster_id

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        self._check_available()
        return Listing([self._entries[key] for key in self._keys(prefix)], self._revision)

    async def revisions(self, prefix: str) -> Revisions:
        """See Store."""
        self._check_available()
        return Revisions({key: self._entries[key].revision for key in self._keys(prefix)}, self._revision)

    async def page(self, prefix: str, after: str, limit: int, revision: int = 0) -> Sequence[Entry]:
        """See Store."""
        entries = self._at(revision)
        keys = sorted(key for key in entries if key.startswith(prefix))
        first = bisect_right(keys, after)
        return [entries[key] for key in keys[first : first + limit]]

    def _keys(self, prefix: str) -> Sequence[str]:
        return sorted(key for key in self._entries if key.startswith(prefix))

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """See Store."""
        self._check_available()
        check_commit(compares, writes)
        if self.full and any(isinstance(write, Put) for write in writes):
            raise StoreFullError("the store is full")
        for compare in compares:
            stored = self._entries.get(compare.key)
            if (stored.revision if stored else 0) != compare.revision:
                raise CompareFailedError(f"{compare.key} is not at revision {compare.revision}")
        for write in writes:
            if isinstance(write, Put) and write.lease and write.lease not in self._leases:
                raise LeaseLostError(f"lease {write.lease} has ended")
        self._apply(writes)
        return self._revision

    def _apply(self, writes: Sequence[Put | Delete]) -> None:
        revision = self._revision + 1
        for write in writes:
            old = self._entries.pop(write.key, None)
            self._lease_of.pop(write.key, None)
            entry = None
            if isinstance(write, Put):
                entry = Entry(write.key, write.value, revision, old.create_revision if old else revision)
                self._entries[write.key] = entry
                if write.lease:
                    self._lease_of[write.key] = write.lease
            elif old is None:
                continue
            self._history.append(Change(write.key, entry, revision))
            self._revision = revision
        self._wake()

    async def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        cluster = cluster or self.cluster_id
        waker = asyncio.Event()
        self._wakers.add(waker)
        loop = asyncio.get_running_loop()
        next_revision = from_revision
        due = loop.time() + self._progress_interval_s
        try:
            while True:
                waker.clear()
                self._check_available()
                if cluster != self.cluster_id:
                    raise CompactedError(f"it is cluster {self.cluster_id} now, not {cluster}")
                if next_revision < self._compacted or next_revision > self._revision + 1:
                    raise CompactedError(f"revision {next_revision} is not kept")
                first = bisect_left(self._history, next_revision, key=lambda change: change.revision)
                changes = [change for change in self._history[first:] if change.key.startswith(prefix)]
                reached = self._revision
                next_revision = reached + 1
                if changes:
                    yield changes, reached
                    continue
                try:
                    async with asyncio.timeout_at(due):
                        await waker.wait()
                except TimeoutError:
                    due = loop.time() + self._progress_interval_s
                    yield (), reached
        finally:
            self._wakers.discard(waker)

    async def grant_lease(self, ttl_s: int) -> int:
        """See Store."""
        self._check_available()
        if self.full:
            raise StoreFullError("the store is full")
        self._last_lease += 1
        self._leases[self._last_lease] = (ttl_s, self._timer(self._last_lease, ttl_s))
        return self._last_lease

    async def keep_lease(self, lease: int) -> None:
        """See Store."""
        self._check_available()
        if lease not in self._leases:
            raise LeaseLostError(f"lease {lease} has ended")
        ttl_s, timer = self._leases[lease]
        timer.cancel()
        self._leases[lease] = (ttl_s, self._timer(lease, ttl_s))

    async def revoke_lease(self, lease: int) -> None:
        """See Store."""
        self._check_available()
        self.expire_lease(lease)

    def expire_lease(self, lease: int) -> None:
        """End a lease now, as if its time had run out."""
        if lease not in self._leases:
            return
        _, timer = self._leases.pop(lease)
        timer.cancel()
        self._apply([Delete(key) for key, of in self._lease_of.items() if of == lease])

    def _timer(self, lease: int, ttl_s: int) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(ttl_s, self.expire_lease, lease)

    async def close(self) -> None:
        """See Store."""
        for _, timer in self._leases.values():
            timer.cancel()

    def _check_available(self) -> None:
        if not self._available:
            raise StoreUnavailableError("the store is away")

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()


def _first(entries: Mapping[str, Entry], wanted: AtOrAfter) -> Entry | None:
    keys = (key for key in entries if key >= wanted.key and key.startswith(wanted.prefix))
    first = min(keys, default=None)
    return None if first is None else entries[first]
