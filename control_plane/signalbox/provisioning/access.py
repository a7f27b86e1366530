"""Who may do what: one table over all methods, asked in one place before any of them begins.

A tenant sees and touches what is its own, and reads what the operator shares. That a request is about another tenant's
objects is refused whether or not these exist (AIP-211).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import PermissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Set

OPERATOR = types_pb2.ROLE_OPERATOR
ADMINISTRATOR = types_pb2.ROLE_TENANT_ADMINISTRATOR
READER = types_pb2.ROLE_TENANT_READER

NUMBER = "(number)"
"""In place of a path: the method names a number. One of another tenant is to the caller as one that does not exist."""
WITHIN = "(within)"
"""In place of a path: the method looks at each object that it is about by itself, through this table or the caller."""


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    role: types_pb2.Role.ValueType
    tenant: str = ""
    """The tenant that it belongs to; "" for the operator."""
    name: str = ""
    """For the log."""

    @property
    def is_operator(self) -> bool:
        """True if everything is allowed."""
        return self.role == OPERATOR


@dataclass(frozen=True)
class Rule:
    """Who may call a method, and where in its request the tenant is that it is about."""

    roles: Set[types_pb2.Role.ValueType]
    tenant: str = ""
    """Path of the field with the tenant, or NUMBER or WITHIN; "": the method is about no tenant's objects."""
    shared: bool = False
    """True: an empty tenant stands for what the operator shares, and every tenant may read it."""


_operator = Rule({OPERATOR})


def _reads(tenant: str = "tenant", *, shared: bool = False) -> Rule:
    return Rule({OPERATOR, ADMINISTRATOR, READER}, tenant, shared)


def _writes(tenant: str = "tenant") -> Rule:
    return Rule({OPERATOR, ADMINISTRATOR}, tenant)


TABLE: dict[str, Rule] = {
    "CreateTenant": _operator,
    "GetTenant": _reads("id"),
    "ListTenants": _operator,
    "UpdateTenant": _operator,
    "DeleteTenant": _operator,
    "CreateTrunk": _operator,
    "GetTrunk": _operator,
    "ListTrunks": _operator,
    "UpdateTrunk": _operator,
    "DeleteTrunk": _operator,
    "CreateTrunkGroup": _operator,
    "GetTrunkGroup": _operator,
    "ListTrunkGroups": _operator,
    "UpdateTrunkGroup": _operator,
    "DeleteTrunkGroup": _operator,
    "CreateLine": _writes("line.tenant"),
    "GetLine": _reads(),
    "ListLines": _reads(),
    "UpdateLine": _writes("line.tenant"),
    "DeleteLine": _writes(),
    "CreateLineGroup": _writes("line_group.tenant"),
    "GetLineGroup": _reads(),
    "ListLineGroups": _reads(),
    "UpdateLineGroup": _writes("line_group.tenant"),
    "DeleteLineGroup": _writes(),
    # Which tenant has which number, whether it takes calls and how many is the operator's to say.
    "CreateNumber": _operator,
    "GetNumber": _reads(NUMBER),
    "ListNumbers": _reads(),
    "UpdateNumber": _writes(NUMBER),
    "DeleteNumber": _operator,
    "CreateCalendar": _writes("calendar.tenant"),
    "GetCalendar": _reads(shared=True),
    "ListCalendars": _reads(shared=True),
    "UpdateCalendar": _writes("calendar.tenant"),
    "DeleteCalendar": _writes(),
    "CreateSchedule": _writes("schedule.tenant"),
    "GetSchedule": _reads(),
    "ListSchedules": _reads(),
    "UpdateSchedule": _writes("schedule.tenant"),
    "DeleteSchedule": _writes(),
    "ActivateSchedule": _writes(),
    "RollbackSchedule": _writes(),
    "CreateRegionGroup": _writes("region_group.tenant"),
    "GetRegionGroup": _reads(shared=True),
    "ListRegionGroups": _reads(shared=True),
    "UpdateRegionGroup": _writes("region_group.tenant"),
    "DeleteRegionGroup": _writes(),
    "CreateScreeningList": _writes("screening_list.tenant"),
    "GetScreeningList": _reads(shared=True),
    "ListScreeningLists": _reads(shared=True),
    "UpdateScreeningList": _writes("screening_list.tenant"),
    "DeleteScreeningList": _writes(),
    "AddScreeningEntries": _writes(),
    "RemoveScreeningEntries": _writes(),
    "ListScreeningEntries": _reads(shared=True),
    "CreateFlow": _writes("flow.tenant"),
    "GetFlow": _reads(),
    "ListFlows": _reads(),
    "UpdateFlow": _writes("flow.tenant"),
    "DeleteFlow": _writes(),
    "ActivateFlow": _writes(),
    "RollbackFlow": _writes(),
    "CreatePrompt": _writes("prompt.tenant"),
    "GetPrompt": _reads(),
    "ListPrompts": _reads(),
    "UpdatePrompt": _writes("prompt.tenant"),
    "DeletePrompt": _writes(),
    "CreateApiKey": _writes("api_key.tenant"),
    "GetApiKey": _writes(),
    "ListApiKeys": _writes(),
    "DeleteApiKey": _writes(),
    "Apply": _writes(WITHIN),
    "Watch": _reads(WITHIN),
    "Explain": _reads(WITHIN),
}


def check(principal: Principal, method: str, request: Any) -> None:
    """Raise PermissionRefusedError unless the caller may make this request."""
    rule = TABLE[method]
    if principal.role not in rule.roles:
        raise PermissionRefusedError(method)
    if principal.is_operator or rule.tenant in (NUMBER, WITHIN):
        return
    tenant = request
    for name in rule.tenant.split("."):
        tenant = getattr(tenant, name)
    if tenant != principal.tenant and not (rule.shared and tenant == ""):
        raise PermissionRefusedError(method)


def sees(principal: Principal, tenant: str | None) -> bool:
    """True if the caller may read what a tenant owns ("": what the operator shares; None: what is of no tenant)."""
    return principal.is_operator or tenant in ("", principal.tenant)
