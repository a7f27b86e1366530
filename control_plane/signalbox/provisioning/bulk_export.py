"""Exports: numbers with their lines, as they all were at one revision of the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError
from signalbox.provisioning import filters, pagetoken
from signalbox.store import codec, keys
from signalbox.store.base import MAX_OPERATIONS, CompactedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.store.base import Entry, Store

CHUNK = 500
"""Numbers read at once; then whatever else waits has its turn."""
_METHOD = "ExportNumbers"


class Export:
    """The handler of ExportNumbers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(
        self, principal: Principal, request: bulk_pb2.ExportNumbersRequest
    ) -> AsyncGenerator[bulk_pb2.ExportNumbersResponse, None]:
        """Numbers from a cursor on. Raises InvalidFieldError, NotFoundError for a tenant, and what the store raises."""
        keep = filters.parse(request.filter, types_pb2.Number.DESCRIPTOR)
        scope = f"{request.tenant}\0{request.filter}"
        revision, after = _place(pagetoken.decode(_METHOD, scope, request.cursor, "cursor"))
        if request.tenant and await self._store.get(keys.tenant(request.tenant)) is None:
            raise NotFoundError("tenant", request.tenant)
        revision = revision or await self._store.revision()
        while True:
            try:
                entries, after = await self._next(request.tenant, after, revision)
                if not after:
                    return
                numbers = [one for one in map(_number, entries) if keep(one)]
                rows = await self._rows(numbers, revision)
            except CompactedError:
                revision = await self._store.revision()
                continue
            cursor = pagetoken.encode(_METHOD, scope, f"{revision} {after}")
            yield bulk_pb2.ExportNumbersResponse(rows=rows, cursor=cursor, revision=revision)
            await asyncio.sleep(0)

    async def _next(self, tenant: str, after: str, revision: int) -> tuple[Sequence[Entry], str]:
        """The numbers that follow the key ``after`` at a revision, and the key to go on after ("": end)."""
        if tenant:
            prefix = keys.numbers_of(tenant)
            index = await self._store.page(prefix, after, MAX_OPERATIONS, revision)
            wanted = [keys.number(keys.last_part(entry.key)) for entry in index]
            return await self._many(wanted, revision), index[-1].key if index else ""
        for prefix in keys.NUMBER_PARTITIONS:
            if after and prefix < after and not after.startswith(prefix):
                continue
            entries = await self._store.page(prefix, after, CHUNK, revision)
            if entries:
                return entries, entries[-1].key
        return (), ""

    async def _rows(self, numbers: Sequence[types_pb2.Number], revision: int) -> Iterable[bulk_pb2.NumberRow]:
        wanted = {keys.line(one.tenant, id): None for one in numbers for stage in one.stages for id in stage.lines}
        found = await self._many(list(wanted), revision)
        lines = {entry.key: codec.decode(types_pb2.Line, entry) for entry in found}
        rows = []
        for number in numbers:
            dialled = dict.fromkeys(keys.line(number.tenant, id) for stage in number.stages for id in stage.lines)
            rows.append(bulk_pb2.NumberRow(number=number, lines=[lines[key] for key in dialled if key in lines]))
        return rows

    async def _many(self, wanted: Sequence[str], revision: int) -> list[Entry]:
        """Those of some keys that there were at a revision."""
        found: list[Entry | None] = []
        for start in range(0, len(wanted), MAX_OPERATIONS):
            found += await self._store.get_many(wanted[start : start + MAX_OPERATIONS], revision)
        return [entry for entry in found if entry is not None]


def _number(entry: Entry) -> types_pb2.Number:
    return codec.decode(types_pb2.Number, entry)


def _place(text: str) -> tuple[int, str]:
    """Revision and key of a cursor that was given by us."""
    if not text:
        return 0, ""
    revision, _, after = text.partition(" ")
    if not revision.isdecimal() or not after.startswith((keys.NUMBERS, keys.NUMBER_INDEX)):
        raise InvalidFieldError(FieldViolation("cursor", "was not given by a response to this request"))
    return int(revision), after
