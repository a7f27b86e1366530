"""The kinds of objects: one table, from which the standard methods of all of them are made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from signalbox.provisioning.apikeys import ApiKeys
from signalbox.provisioning.calendars import Calendars
from signalbox.provisioning.flows import Flows
from signalbox.provisioning.inventory.agreement import AgreeingNumbers
from signalbox.provisioning.line_groups import LineGroups
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.prompts import Prompts
from signalbox.provisioning.region_groups import RegionGroups
from signalbox.provisioning.schedules import Schedules
from signalbox.provisioning.screening import ScreeningLists
from signalbox.provisioning.tenants import Tenants
from signalbox.provisioning.trunks import TrunkGroups, Trunks

if TYPE_CHECKING:
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock, Collection
    from signalbox.provisioning.draft import Draft


class Owner(Enum):
    """Whose the objects of a kind are."""

    NOBODY = "nobody"
    """They belong to the cluster as a whole."""
    TENANT = "tenant"
    """Each is a tenant's."""
    ANY = "any"
    """Each is a tenant's, or the operator's (an empty tenant)."""
    NUMBERED = "numbered"
    """Each is a tenant's, and named without it; the list of an empty tenant is that of all."""


@dataclass(frozen=True)
class Kind:
    """One kind of objects."""

    collection: type[Collection[Any]]
    owner: Owner

    @property
    def name(self) -> str:
        """As in the names of methods: "LineGroup"."""
        return str(self.collection.message.DESCRIPTOR.name)

    @property
    def resource(self) -> str:
        """As in the names of fields: "line_group"."""
        return self.collection.resource

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The fields that name an object in requests."""
        own = self.collection.identity
        return (own,) if self.owner in (Owner.NOBODY, Owner.NUMBERED) else ("tenant", own)

    @property
    def message(self) -> Any:
        """The type of an object."""
        return self.collection.message

    def identified(self, request: Any) -> Any:
        """An object with the identity that a request, or another object, has."""
        return self.collection.message(**{field: getattr(request, field) for field in self.identity})

    def within(self, draft: Draft, clock: Clock, principal: Principal) -> Any:
        """The objects of this kind as who asks sees them; writes go into the draft."""
        return self.collection(draft, draft, clock, principal.tenant)


PROVISIONED = (
    Kind(Tenants, Owner.NOBODY),
    Kind(Trunks, Owner.NOBODY),
    Kind(TrunkGroups, Owner.NOBODY),
    Kind(Lines, Owner.TENANT),
    Kind(LineGroups, Owner.TENANT),
    Kind(Calendars, Owner.ANY),
    Kind(RegionGroups, Owner.ANY),
    Kind(ScreeningLists, Owner.ANY),
    Kind(Prompts, Owner.TENANT),
    Kind(Schedules, Owner.TENANT),
    Kind(Flows, Owner.TENANT),
    Kind(AgreeingNumbers, Owner.NUMBERED),
)
"""What can be applied and watched. An object refers only to kinds that stand before its own."""

API_KEY = Kind(ApiKeys, Owner.ANY)

ALL = (*PROVISIONED, API_KEY)

BY_NAME = {kind.name: kind for kind in ALL}
BY_RESOURCE = {kind.resource: kind for kind in PROVISIONED}
