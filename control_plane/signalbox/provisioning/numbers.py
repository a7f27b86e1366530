"""Service numbers."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, NotFoundError
from signalbox.provisioning import pagetoken, validate
from signalbox.provisioning.collection import PAGE_SIZE_DEFAULT, Collection
from signalbox.store import keys
from signalbox.store.base import MAX_OPERATIONS, Entry, Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.store.base import Store


class Numbers(Collection[types_pb2.Number]):
    """All numbers. Their lines are lines of their tenant."""

    resource = "number"
    message = types_pb2.Number
    immutable = frozenset({"number", "tenant"})

    async def list(self, request: pb.ListNumbersRequest) -> pb.ListNumbersResponse:
        """One page by digits, of one tenant or of all. NOT_FOUND if there is no such tenant."""
        tenant = request.tenant
        violations = list(validate.page_size(request.page_size))
        if tenant:
            violations += validate.identifier(tenant, "tenant")
        validate.require(violations)
        after = pagetoken.decode("ListNumbers", tenant, request.page_token)
        size = request.page_size or PAGE_SIZE_DEFAULT
        entries = await (self._of_tenant(tenant, after, size + 1) if tenant else merged(self._store, after, size + 1))
        if tenant and not entries and await self._store.get(keys.tenant(tenant)) is None:
            raise NotFoundError("tenant", tenant)
        numbers, token = self._cut(entries, "ListNumbers", tenant, size)
        return pb.ListNumbersResponse(numbers=numbers, next_page_token=token)

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

    def name(self, rule: types_pb2.Number) -> str:
        return rule.number

    def _key(self, rule: types_pb2.Number) -> str:
        return keys.number(rule.number)

    def _fence(self, rule: types_pb2.Number) -> str:
        return keys.tenant_fence(rule.tenant)

    async def _stored_fence(self, identity: types_pb2.Number) -> str:
        return self._fence(self._decode(await self._entry(identity)))

    def _identity(self, rule: types_pb2.Number, at: str) -> Iterable[FieldViolation]:
        return validate.digits(rule.number, f"{at}number")

    def _violations(self, rule: types_pb2.Number) -> Iterable[FieldViolation]:
        return validate.number(rule)

    def _index(self, rule: types_pb2.Number) -> Sequence[Put]:
        lines = sorted({id for stage in rule.stages for id in stage.lines})
        return [Put(keys.number_of(rule.tenant, rule.number), " ".join(lines).encode())]

    async def _check_owner(self, rule: types_pb2.Number) -> None:
        if await self._store.get(keys.tenant(rule.tenant)) is None:
            raise NotFoundError("tenant", rule.tenant)

    async def _check_references(self, rule: types_pb2.Number) -> None:
        ids = sorted({id for stage in rule.stages for id in stage.lines})
        entries = await self._store.get_many([keys.line(rule.tenant, id) for id in ids])
        missing = {id for id, entry in zip(ids, entries, strict=True) if entry is None}
        validate.require(
            FieldViolation(f"number.stages[{i}].lines[{j}]", f"tenant {rule.tenant} has no line {id}")
            for i, stage in enumerate(rule.stages)
            for j, id in enumerate(stage.lines)
            if id in missing
        )


async def merged(store: Store, after: str, limit: int) -> Sequence[Entry]:
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

    def __init__(self, store: Store, prefix: str, after: str, chunk: int) -> None:
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
