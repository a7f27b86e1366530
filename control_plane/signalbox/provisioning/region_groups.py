"""Region groups, of tenants and of the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.flow_check import Kind
from signalbox.provisioning import flow_references, validate_regions
from signalbox.provisioning.collection import Shared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class RegionGroups(Shared[screening_pb2.RegionGroup]):
    """All region groups. One that a flow uses cannot be deleted."""

    resource = "region_group"
    message = screening_pb2.RegionGroup

    def _violations(self, rule: screening_pb2.RegionGroup) -> Iterable[FieldViolation]:
        return validate_regions.region_group(rule)

    async def _user_of(self, tenant: str, id: str) -> str:
        return await flow_references.user(self._store, Kind.REGION_GROUP, tenant, id, self._clock())
