"""Service numbers."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, HiddenError, NotFoundError
from signalbox.provisioning import references, validate
from signalbox.provisioning.collection import Collection
from signalbox.store import keys
from signalbox.store.base import MAX_OPERATIONS, Entry, Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from signalbox.provisioning.writer import Reader


class Numbers(Collection[types_pb2.Number]):
    """All numbers. What they refer to is their tenant's; screening lists may be the operator's."""

    resource = "number"
    message = types_pb2.Number
    identity = "number"
    immutable = frozenset({"number", "tenant"})
    operators = frozenset({"state", "limits"})

    async def entries(self, parent: str, after: str, limit: int) -> Sequence[Entry]:
        """Of one tenant, or of all, by their digits."""
        return await (self._of_tenant(parent, after, limit) if parent else merged(self._store, after, limit))

    async def _of_tenant(self, tenant: str, after: str, limit: int) -> Sequence[Entry]:
        prefix, found = keys.numbers_of(tenant), list[Entry]()
        position = prefix + after if after else ""
        while len(found) < limit:
            index = await self._store.page(prefix, position, min(limit - len(found), MAX_OPERATIONS))
            if not index:
                break
            entries = await self._store.get_many([keys.number(keys.last_part(entry.key)) for entry in index])
            # One that was deleted since the index was read is no longer there.
            found += [entry for entry in entries if entry is not None]
            position = index[-1].key
        return found

    async def _entry(self, identity: types_pb2.Number) -> Entry:
        """A number of another tenant is to a tenant as one that does not exist."""
        entry = await super()._entry(identity)
        if self._viewer and self._decode(entry).tenant != self._viewer:
            raise HiddenError(self.resource, self.name(identity))
        return entry

    def name(self, rule: types_pb2.Number) -> str:
        return rule.number

    def _fence(self, rule: types_pb2.Number) -> str:
        return keys.tenant_fence(rule.tenant)

    async def _stored_fence(self, identity: types_pb2.Number) -> str:
        return self._fence(self._decode(await self._entry(identity)))

    def _identity(self, rule: types_pb2.Number, at: str) -> Iterable[FieldViolation]:
        return validate.digits(rule.number, f"{at}number")

    def _violations(self, rule: types_pb2.Number) -> Iterable[FieldViolation]:
        return validate.number(rule)

    def _index(self, rule: types_pb2.Number) -> Sequence[Put]:
        return [Put(keys.number_of(rule.tenant, rule.number), indexed(rule))]

    async def _check_owner(self, rule: types_pb2.Number) -> None:
        if await self._store.get(keys.tenant(rule.tenant)) is None:
            raise NotFoundError("tenant", rule.tenant)

    async def _check_references(self, rule: types_pb2.Number) -> None:
        wanting = list(named(rule))
        wanted = list(dict.fromkeys(key for _, _, places in wanting for key in places))
        entries = await self._store.get_many(wanted)
        there = {key for key, entry in zip(wanted, entries, strict=True) if entry is not None}
        validate.require(
            FieldViolation(path, f"tenant {rule.tenant} has no {what}")
            for path, what, places in wanting
            if there.isdisjoint(places)
        )


def indexed(rule: types_pb2.Number) -> bytes:
    """A number's entry in the index of its tenant."""
    words = [("line", id) for stage in rule.stages for id in stage.lines]
    words += [("flow", rule.flow), ("flow", rule.over_limit_flow)]
    words += [("screening_list", id) for id in (*rule.screening.blacklists, *rule.screening.whitelists)]
    return references.index(words)


def named(rule: types_pb2.Number) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Every field that names another object: its path, what it names, and the keys of which one must exist."""
    for i, stage in enumerate(rule.stages):
        for j, id in enumerate(stage.lines):
            yield f"number.stages[{i}].lines[{j}]", f"line {id}", [keys.line(rule.tenant, id)]
    for field, id in (("flow", rule.flow), ("over_limit_flow", rule.over_limit_flow)):
        if id:
            yield f"number.{field}", f"flow {id}", [keys.flow(rule.tenant, id)]
    lists = (("blacklists", rule.screening.blacklists), ("whitelists", rule.screening.whitelists))
    for field, ids in lists:
        for position, id in enumerate(ids):
            places = [keys.screening_list(rule.tenant, id), keys.screening_list("", id)]
            yield f"number.screening.{field}[{position}]", f"screening list {id}, nor has the operator", places


async def merged(store: Reader, after: str, limit: int) -> Sequence[Entry]:
    """At most ``limit`` numbers of all partitions, in order of their digits, that come after the digits ``after``."""
    chunk = max(4, limit // 25)
    streams = [_Partition(store, prefix, after, chunk) for prefix in keys.NUMBER_PARTITIONS]
    await asyncio.gather(*(stream.fill() for stream in streams))
    heap = [(stream.head, position) for position, stream in enumerate(streams) if stream.head]
    heapq.heapify(heap)
    found: list[Entry] = []
    while heap and len(found) < limit:
        _, position = heap[0]
        found.append(await streams[position].pop())
        head = streams[position].head
        if head:
            heapq.heapreplace(heap, (head, position))
        else:
            heapq.heappop(heap)
    return found


class _Partition:
    """The numbers of one partition in order, read as they are needed."""

    def __init__(self, store: Reader, prefix: str, after: str, chunk: int) -> None:
        self._store = store
        self._prefix = prefix
        self._position = prefix + after if after else ""
        self._chunk = chunk
        self._entries: deque[Entry] = deque()

    @property
    def head(self) -> str:
        """Digits of the next number; "" at the end."""
        return keys.last_part(self._entries[0].key) if self._entries else ""

    async def fill(self) -> None:
        """Read the next chunk."""
        self._entries.extend(await self._store.page(self._prefix, self._position, self._chunk))
        if self._entries:
            self._position = self._entries[-1].key

    async def pop(self) -> Entry:
        """Take the next number; reads on when none is left."""
        entry = self._entries.popleft()
        if not self._entries:
            await self.fill()
        return entry
