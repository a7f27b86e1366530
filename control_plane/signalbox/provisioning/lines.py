"""Lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation, InUseError, NotFoundError
from signalbox.provisioning import flow_references, line_groups, references, validate
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class Lines(Collection[types_pb2.Line]):
    """All lines. One that a number, a flow or a line group dials cannot be deleted."""

    resource = "line"
    message = types_pb2.Line
    immutable = frozenset({"tenant", "id"})

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
        store, tenant, id = self._store, rule.tenant, rule.id
        user = (
            await references.number_with(store, "line", tenant, id)
            or await line_groups.group_with(store, tenant, id)
            or await flow_references.user(store, Kind.LINE, tenant, id, self._clock())
        )
        if user:
            raise InUseError("line", self.name(rule), user)
