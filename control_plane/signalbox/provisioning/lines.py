"""Lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, InUseError, NotFoundError
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class Lines(Collection[types_pb2.Line]):
    """All lines. One that a number dials cannot be deleted."""

    resource = "line"
    message = types_pb2.Line
    immutable = frozenset({"tenant", "id"})

    async def list(self, request: pb.ListLinesRequest) -> pb.ListLinesResponse:
        """One page of a tenant's lines, by id. NOT_FOUND if there is no such tenant."""
        validate.require(validate.identifier(request.tenant, "tenant"))
        lines, token = await self._page(
            keys.lines_of(request.tenant), "ListLines", request.tenant, request.page_size, request.page_token
        )
        if not lines and await self._store.get(keys.tenant(request.tenant)) is None:
            raise NotFoundError("tenant", request.tenant)
        return pb.ListLinesResponse(lines=lines, next_page_token=token)

    def name(self, rule: types_pb2.Line) -> str:
        return f"{rule.tenant}/{rule.id}"

    def _key(self, rule: types_pb2.Line) -> str:
        return keys.line(rule.tenant, rule.id)

    def _fence(self, rule: types_pb2.Line) -> str:
        return keys.tenant_fence(rule.tenant)

    def _identity(self, rule: types_pb2.Line, at: str) -> Iterable[FieldViolation]:
        yield from validate.identifier(rule.tenant, f"{at}tenant")
        yield from validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: types_pb2.Line) -> Iterable[FieldViolation]:
        return validate.line(rule)

    async def _check_owner(self, rule: types_pb2.Line) -> None:
        if await self._store.get(keys.tenant(rule.tenant)) is None:
            raise NotFoundError("tenant", rule.tenant)

    async def _check_unused(self, rule: types_pb2.Line) -> None:
        for entry in (await self._store.list(keys.numbers_of(rule.tenant))).entries:
            if rule.id in entry.value.decode().split():
                raise InUseError("line", self.name(rule), f"number {keys.last_part(entry.key)}")
