"""Tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class Tenants(Collection[types_pb2.Tenant]):
    """All tenants. One that owns anything cannot be deleted."""

    resource = "tenant"
    message = types_pb2.Tenant
    immutable = frozenset({"id"})

    def name(self, rule: types_pb2.Tenant) -> str:
        return rule.id

    def _fence(self, rule: types_pb2.Tenant) -> str:
        return keys.tenant_fence(rule.id)

    def _identity(self, rule: types_pb2.Tenant, at: str) -> Iterable[FieldViolation]:
        return validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: types_pb2.Tenant) -> Iterable[FieldViolation]:
        return validate.tenant(rule)

    async def _user(self, rule: types_pb2.Tenant) -> str:
        for kind, prefix in keys.owned_by(rule.id).items():
            for entry in await self._store.page(prefix, "", 1):
                return f"{kind} {keys.last_part(entry.key)}"
        return ""
