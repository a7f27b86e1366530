"""Region groups, of tenants and of the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation, InUseError
from signalbox.provisioning import flow_references, validate_regions
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class RegionGroups(Collection[screening_pb2.RegionGroup]):
    """All region groups. One that a flow uses cannot be deleted.

    An empty tenant is the operator, whose groups serve every tenant that has none of the same id.
    """

    resource = "region_group"
    message = screening_pb2.RegionGroup
    immutable = frozenset({"tenant", "id"})

    def name(self, rule: screening_pb2.RegionGroup) -> str:
        return f"{rule.tenant}/{rule.id}" if rule.tenant else rule.id

    def _key(self, rule: screening_pb2.RegionGroup) -> str:
        return keys.region_group(rule.tenant, rule.id)

    def _fence(self, rule: screening_pb2.RegionGroup) -> str:
        return keys.tenant_fence(rule.tenant or keys.OPERATOR)

    def _identity(self, rule: screening_pb2.RegionGroup, at: str) -> Iterable[FieldViolation]:
        return validate_regions.identity(rule, at)

    def _violations(self, rule: screening_pb2.RegionGroup) -> Iterable[FieldViolation]:
        return validate_regions.region_group(rule)

    async def _check_owner(self, rule: screening_pb2.RegionGroup) -> None:
        await self.check_parent(rule.tenant)

    async def _check_unused(self, rule: screening_pb2.RegionGroup) -> None:
        user = await flow_references.user(self._store, Kind.REGION_GROUP, rule.tenant, rule.id, self._clock())
        if user:
            raise InUseError(self.resource, self.name(rule), user)
