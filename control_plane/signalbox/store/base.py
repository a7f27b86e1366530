"""What a store is: versioned keys with transactions, watches and leases, as etcd has them.

Two implementations pass the same contract tests: :class:`signalbox.store.etcd.EtcdStore` and
:class:`signalbox.store.memory.MemoryStore`. Keys are text below the store's prefix, which never appears here; values
are bytes. A revision is the store's version as a whole, growing by one with every commit. Revisions of one cluster say
nothing of those of another, even if that has the same keys: it may have been restored from a copy of the first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from signalbox.errors import SignalboxError, StoreUnavailableError

MAX_OPERATIONS = 128
"""Keys in one get_many, comparisons and writes in one commit (etcd: --max-txn-ops)."""
MAX_COMMIT_BYTES = 1_500_000
"""Keys and values in one commit, a little below etcd's --max-request-bytes."""
PROGRESS_INTERVAL_S = 2.0
"""A quiet watch tells its progress about this often, seconds."""

Batch = tuple[Sequence["Change"], int]
"""Changes in order, and the revision that they bring the watcher to."""


class CompactedError(SignalboxError):
    """The revision asked for is no longer kept: list again. Never leaves the store's users."""


class CommitTooLargeError(ValueError):
    """More operations or bytes than go in one commit; nothing was written."""


class CompareFailedError(SignalboxError):
    """A transaction's comparison did not hold; nothing was written. Never leaves the store's users."""


class LeaseLostError(StoreUnavailableError):
    """The lease ended: its keys are gone. Take a new one and put them again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it was at some revision. ``revision`` is the one that wrote it last (etcd's mod revision: the etag)."""

    key: str
    value: bytes
    revision: int
    create_revision: int


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys of a prefix, in order, at one revision; watching from ``revision + 1`` misses nothing."""

    entries: list[Entry]
    revision: int


@dataclass(frozen=True, slots=True)
class Revisions:
    """Every key of a prefix, in order, and the revision that wrote it last; all as of one revision."""

    written: dict[str, int]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One key was put (``entry``) or deleted (``entry`` is None) at ``revision``."""

    key: str
    entry: Entry | None
    revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds if the key's mod revision is ``revision``; 0: the key does not exist."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class AtOrAfter:
    """Asks for the first key below ``prefix`` that is ``key`` or comes after it."""

    prefix: str
    key: str


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key, bound to a lease if ``lease`` is not 0."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; one that does not exist is no error."""

    key: str


class Store(Protocol):
    """A versioned key-value store. Every method may raise StoreUnavailableError."""

    async def get(self, key: str) -> Entry | None:
        """One key, linearizable."""
        ...

    async def get_many(self, keys: Sequence[str], revision: int = 0) -> list[Entry | None]:
        """Some keys, all at one revision, in the order asked. At most MAX_OPERATIONS.

        ``revision``: as they were then, if not 0; raises CompactedError if that is no longer known.
        """
        ...

    async def revision(self) -> int:
        """The store's revision now, linearizable."""
        ...

    async def cluster(self) -> int:
        """Which cluster's revisions these are, linearizable: never 0, and another one after a copy was restored."""
        ...

    async def list(self, prefix: str) -> Listing:
        """All keys below a prefix at one revision, however many (paged and partitioned inside)."""
        ...

    async def revisions(self, prefix: str) -> Revisions:
        """Like list, but without the values: to find out cheaply whether a copy is as it should be."""
        ...

    async def page(self, prefix: str, after: str, limit: int, revision: int = 0) -> Sequence[Entry]:
        """At most ``limit`` keys below a prefix that come after the key ``after`` ("" for the beginning), in order.

        ``revision`` as in get_many; 0: they may be of several revisions.
        """
        ...

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """Write all or nothing; returns the new revision.

        At most MAX_OPERATIONS comparisons and as many writes, of different keys, and MAX_COMMIT_BYTES. Raises
        CompareFailedError, StoreFullError, LeaseLostError for a put under a lease that has ended; after
        StoreUnavailableError it is not known whether it was written.
        """
        ...

    def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """Batches of changes in order from ``from_revision`` on, each with the revision that it brings the watcher to.

        An empty batch tells that nothing has changed up to its revision (progress); one comes every few seconds. The
        changes of one revision are never in two batches. Broken connections are mended inside, without loss or
        repetition; raises CompactedError if that cannot be (also when the store is older than ``from_revision``, or
        another cluster than at first, or than ``cluster`` if that is given), and StoreUnavailableError if the store
        stays away. Close it when leaving it early:
        ``contextlib.aclosing``.
        """
        ...

    async def grant_lease(self, ttl_s: int) -> int:
        """A lease: its keys vanish ``ttl_s`` after the last renewal. etcd may grant longer (at least 2 s or so)."""
        ...

    async def keep_lease(self, lease: int) -> None:
        """Renew once. Raises LeaseLostError."""
        ...

    async def revoke_lease(self, lease: int) -> None:
        """End a lease now; an unknown one is no error."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class SeekingStore(Store, Protocol):
    """A store that also finds keys of which only the neighbourhood is known."""

    async def get_many(self, keys: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        """See Store."""
        ...


def check_commit(compares: Sequence[Compare], writes: Sequence[Put | Delete], most: int = MAX_OPERATIONS) -> None:
    """Raise ValueError for a commit that no store takes: CommitTooLargeError, or a key written twice."""
    if max(len(compares), len(writes)) > most:
        reason = f"a commit of {len(compares)} comparisons and {len(writes)} writes, at most {most}"
        raise CommitTooLargeError(reason)
    if len({write.key for write in writes}) < len(writes):
        raise ValueError("a commit that writes a key twice")
    size = sum(len(write.value) for write in writes if isinstance(write, Put))
    if size > MAX_COMMIT_BYTES:
        raise CommitTooLargeError(f"a commit of {size} bytes, at most {MAX_COMMIT_BYTES}")
