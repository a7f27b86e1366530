"""A step in the making: the store as it will be, once what was written so far is committed.

Everything that a request writes goes into one draft, and from there into the store in one commit: all or nothing. Reads
see the writes made before them, so that objects of one request may refer to each other.

What the operator shares is referred to by tenants of whose fences it knows nothing. So a draft remembers the shared
objects that were read: the commit holds only if they are still as they were, and tells the operator's fence that
somebody relies on them. Tenants don't spoil each other's commits by that.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning.audit import changes, outbox
from signalbox.provisioning.writer import Plan, repeat
from signalbox.store.base import (
    MAX_OPERATIONS,
    CommitTooLargeError,
    Compare,
    CompareFailedError,
    Delete,
    Entry,
    Listing,
    Put,
)
from signalbox.store.keys import OPERATOR, is_shared, tenant_fence
from signalbox.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from signalbox.api.types.v1.audit_pb2 import AuditChange
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

SHARED_FENCE = tenant_fence(OPERATOR)
PENDING = 2**63 - 1
"""Revision of what is written but not yet committed."""

T = TypeVar("T")


class StepTooLargeError(InvalidFieldError):
    """What a request comes to is more than one commit holds."""

    def __init__(self, reason: str) -> None:
        super().__init__(FieldViolation("request", reason))


class Draft:
    """Reads and writes of one attempt. A context: it keeps the turn at the first fence that it writes under."""

    def __init__(self, store: Store, turns: Turns) -> None:
        self._store = store
        self._turns = turns
        self._turn = AsyncExitStack()
        self._has_turn = False
        self._writes: dict[str, Put | Delete] = {}
        self._compares: dict[str, int] = {}
        self._shared: dict[str, int] = {}
        self._events: list[tuple[str, dict[str, str]]] = []
        self._read: dict[str, Entry | None] = {}
        self._told: list[AuditChange] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turn.__aexit__(kind, error, trace)

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """See Store."""
        unwritten = [key for key in keys if key not in self._writes]
        stored = dict(zip(unwritten, await self._store.get_many(unwritten), strict=True)) if unwritten else {}
        for key, entry in stored.items():
            self._read.setdefault(key, entry)
            if entry is not None and is_shared(key):
                self._shared.setdefault(key, entry.revision)
        return [stored[key] if key in stored else self._written(key) for key in keys]

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Entry]:
        """See Store."""
        room = limit + sum(key.startswith(prefix) for key in self._writes)
        stored = await self._store.page(prefix, after, room)
        # What is written beyond the last key that was read must wait for what may come before it.
        end = stored[-1].key if len(stored) == room else None
        merged = self._merged(stored, prefix, after)
        return [entry for entry in merged if end is None or entry.key <= end][:limit]

    async def write(self, fence: str, plan: Callable[[], Awaitable[Plan[T]]]) -> tuple[T, int]:
        """See PlanWriter. The revision is PENDING, or 0 if the plan changes nothing."""
        if not self._has_turn:
            await self._turn.enter_async_context(self._turns.at(fence))
            self._has_turn = True
        entry = await self.get(fence)
        made = await plan()
        unchanged = Compare(fence, entry.revision if entry else 0)
        if not made.writes:
            # What is well as it is must be so still when the rest of the step is committed.
            self.add([unchanged], [])
            return made.result, 0
        self.add([unchanged, *made.compares], [Put(fence, b""), *made.writes])
        self._told += made.changes
        return made.result, PENDING

    def log(self, event: str, revision: int, **facts: str) -> None:
        """See PlanWriter."""
        self._events.append((event, facts))

    def add(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> None:
        """Take a part of the step in. Raises CompareFailedError if it was made of another state than the rest."""
        for compare in compares:
            if compare.key in self._writes:
                written = self._written(compare.key)
                known = written.revision if written else 0
            else:
                known = self._compares.setdefault(compare.key, compare.revision)
            if known != compare.revision:
                raise CompareFailedError(f"{compare.key} was read twice and has changed between")
        self._writes.update((write.key, write) for write in writes)

    def clear(self) -> None:
        """Forget all that was to be written."""
        self._writes.clear()
        self._events.clear()
        self._told.clear()

    @property
    def changes(self) -> bool:
        """True if there is something to commit."""
        return bool(self._writes)

    async def commit(self) -> int:
        """Write all of it; returns the new revision.

        Raises CompareFailedError if what it relies on has changed, StepTooLargeError, and what the store raises.
        """
        writes, compares = dict(self._writes), {**self._shared, **self._compares}
        if self._shared:
            writes[SHARED_FENCE] = Put(SHARED_FENCE, b"")
        made = await self._made(writes, compares)
        try:
            revision = await self._commit(compares, writes, made, outbox.ENTRY_BYTES_MAX)
        except CommitTooLargeError as error:
            if not 0 < len(made) <= outbox.FEW_CHANGES:
                raise StepTooLargeError(str(error)) from error
            try:
                revision = await self._commit(compares, writes, made, outbox.SHORT_ENTRY_BYTES_MAX)
            except CommitTooLargeError as still:
                raise StepTooLargeError(str(still)) from still
        for event, facts in self._events:
            logger.info(event, revision=revision, **facts)
        return revision

    async def _commit(
        self, compares: dict[str, int], writes: dict[str, Put | Delete], made: Sequence[AuditChange], room: int
    ) -> int:
        """Write it with its entry for the audit log, of so many bytes at most: both are committed, or neither."""
        entries = [outbox.origin().entry(made, room)] if made else []
        return await self._store.commit([Compare(*item) for item in compares.items()], [*writes.values(), *entries])

    async def _made(self, writes: dict[str, Put | Delete], compares: dict[str, int]) -> Sequence[AuditChange]:
        """What the audit log is to tell of; what objects were before becomes a part of the comparison."""
        objects = [key for key in writes if changes.is_object(key)]
        unread = [key for key in objects if key not in self._read]
        for begin in range(0, len(unread), MAX_OPERATIONS):
            some = unread[begin : begin + MAX_OPERATIONS]
            self._read |= zip(some, await self._store.get_many(some), strict=True)
        for key in objects:
            entry = self._read[key]
            revision = entry.revision if entry else 0
            if compares.setdefault(key, revision) != revision:
                raise CompareFailedError(f"{key} was read twice and has changed between")
        return [*self._told, *changes.of_writes(writes.values(), self._read)]

    def _written(self, key: str) -> Entry | None:
        write = self._writes[key]
        return Entry(key, write.value, PENDING, PENDING) if isinstance(write, Put) else None

    def _merged(self, stored: Sequence[Entry], prefix: str, after: str) -> list[Entry]:
        merged = {entry.key: entry for entry in stored if entry.key not in self._writes}
        for key in self._writes:
            entry = self._written(key)
            if entry is not None and key.startswith(prefix) and key > after:
                merged[key] = entry
        return [merged[key] for key in sorted(merged)]

    async def list(self, prefix: str) -> Listing:
        """See Store. The revision is the store's."""
        listing = await self._store.list(prefix)
        return Listing(self._merged(listing.entries, prefix, ""), listing.revision)


class Transactions:
    """Runs requests as steps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns = Turns()

    async def run(self, work: Callable[[Draft], Awaitable[T]], *, keep: bool = True) -> tuple[T, int]:
        """The result of ``work`` and the revision that committed what it wrote; 0: nothing was written.

        ``work`` is done again, on a new draft, when others change what it relies on meanwhile. Without ``keep``
        nothing is ever written. Raises WriteContentionError, StoreUnavailableError, and what ``work`` raises.
        """

        async def attempt() -> tuple[T, int]:
            async with Draft(self._store, self._turns) as draft:
                result = await work(draft)
                return result, await draft.commit() if keep and draft.changes else 0

        return await repeat(attempt)
