"""Writes under fences: checks of references and the writes that rely on them exclude each other.

Every write that concerns a tenant's objects, the trunks, or what the operator shares, goes through their fence, a key
of ``store.keys``:

1. read the fence's revision,
2. read what the write depends on, and refuse or plan the write,
3. commit: the fence and the objects as they were read, or nothing; the fence is put too.

Whatever changed between 1 and 3 went through the same fence, so 3 fails and all is tried again from 1. The caller never
sees a neighbour's write; it sees a refusal only if what it asked for is refused on the new state.

A request may be several such writes: a :class:`~signalbox.provisioning.draft.Draft` collects them and commits them in
one step. Writers of one process take turns at a fence, so they don't spoil each other's transactions; what is left
are the writers of other processes.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from signalbox.errors import WriteContentionError
from signalbox.store.base import Compare, CompareFailedError, Delete, Put
from signalbox.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from signalbox.api.types.v1.audit_pb2 import AuditChange
    from signalbox.store.base import Entry, Listing, Store

logger = structlog.get_logger(__name__)

ATTEMPTS = 30
BACKOFF_MAX_S = 0.05
"""Longest pause between two attempts: some commits of etcd on a slow disk."""

T = TypeVar("T")


@dataclass(frozen=True)
class Plan(Generic[T]):
    """What a write comes to: its result, the objects it relies on, and what is written (nothing: no change).

    ``changes``: what the audit log cannot tell from the writes, because their keys hold parts of objects.
    """

    result: T
    compares: Sequence[Compare] = ()
    writes: Sequence[Put | Delete] = ()
    changes: Sequence[AuditChange] = ()


class Reader(Protocol):
    """What plans read: a Store, or one with writes to come on top of it. See Store."""

    async def get(self, key: str) -> Entry | None: ...
    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]: ...
    async def list(self, prefix: str) -> Listing: ...
    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Entry]: ...


class PlanWriter(Protocol):
    """Whoever carries out plans: at once, or as a part of a larger step."""

    async def write(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        """Write what ``plan`` makes of the present state; returns its result and the new revision (0: no change)."""
        ...

    def log(self, event: str, revision: int, **facts: str) -> None:
        """Tell the log of a write, once it is committed."""
        ...


class Writer:
    """Commits every plan by itself."""

    def __init__(self, store: Store, turns: Turns | None = None) -> None:
        self._store = store
        self._turns = turns or Turns()

    async def write(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        """See PlanWriter.

        ``plan`` reads and refuses as it likes, and is called again when the state has changed under it. Raises
        WriteContentionError after ATTEMPTS, StoreUnavailableError, and what ``plan`` raises.
        """
        async with self._turns.at(fence):
            return await repeat(lambda: self._commit(fence, plan))

    def log(self, event: str, revision: int, **facts: str) -> None:
        """See PlanWriter."""
        logger.info(event, revision=revision, **facts)

    async def _commit(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        entry = await self._store.get(fence)
        made = await plan()
        if not made.writes:
            return made.result, 0
        unchanged = Compare(fence, entry.revision if entry else 0)
        return made.result, await self._store.commit([unchanged, *made.compares], [Put(fence, b""), *made.writes])


async def repeat(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of the first attempt that does not fail with CompareFailedError.

    Raises WriteContentionError after ATTEMPTS.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return await attempt()
        except CompareFailedError:
            await asyncio.sleep(random.uniform(0, BACKOFF_MAX_S * min(1.0, number / 5)))
    raise WriteContentionError(f"others changed the store {ATTEMPTS} times while this was tried; nothing was written")
