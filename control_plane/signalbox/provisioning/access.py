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
    from collections.abc import Mapping, Set

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
    actor: str = "anonymous"
    """For the audit log: what kind of credential, and whose."""
    peer: str = ""
    """Where the request comes from, as grpc says it."""

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


OPERATOR_ONLY = Rule({OPERATOR})


def reads(tenant: str = "tenant", *, shared: bool = False) -> Rule:
    """A method that reads. See Rule."""
    return Rule({OPERATOR, ADMINISTRATOR, READER}, tenant, shared)


def writes(tenant: str = "tenant") -> Rule:
    """A method that writes. See Rule."""
    return Rule({OPERATOR, ADMINISTRATOR}, tenant)


TABLE: dict[str, Rule] = {
    "CreateTenant": OPERATOR_ONLY,
    "GetTenant": reads("id"),
    "ListTenants": OPERATOR_ONLY,
    "UpdateTenant": OPERATOR_ONLY,
    "DeleteTenant": OPERATOR_ONLY,
    "CreateTrunk": OPERATOR_ONLY,
    "GetTrunk": OPERATOR_ONLY,
    "ListTrunks": OPERATOR_ONLY,
    "UpdateTrunk": OPERATOR_ONLY,
    "DeleteTrunk": OPERATOR_ONLY,
    "ListTrunkHealth": OPERATOR_ONLY,
    "CreateTrunkGroup": OPERATOR_ONLY,
    "GetTrunkGroup": OPERATOR_ONLY,
    "ListTrunkGroups": OPERATOR_ONLY,
    "UpdateTrunkGroup": OPERATOR_ONLY,
    "DeleteTrunkGroup": OPERATOR_ONLY,
    "CreateLine": writes("line.tenant"),
    "GetLine": reads(),
    "ListLines": reads(),
    "UpdateLine": writes("line.tenant"),
    "DeleteLine": writes(),
    "CreateLineGroup": writes("line_group.tenant"),
    "GetLineGroup": reads(),
    "ListLineGroups": reads(),
    "UpdateLineGroup": writes("line_group.tenant"),
    "DeleteLineGroup": writes(),
    # Which tenant has which number, whether it takes calls and how many is the operator's to say.
    "CreateNumber": OPERATOR_ONLY,
    "GetNumber": reads(NUMBER),
    "ListNumbers": reads(),
    "UpdateNumber": writes(NUMBER),
    "DeleteNumber": OPERATOR_ONLY,
    "CreateCalendar": writes("calendar.tenant"),
    "GetCalendar": reads(shared=True),
    "ListCalendars": reads(shared=True),
    "UpdateCalendar": writes("calendar.tenant"),
    "DeleteCalendar": writes(),
    "CreateSchedule": writes("schedule.tenant"),
    "GetSchedule": reads(),
    "ListSchedules": reads(),
    "UpdateSchedule": writes("schedule.tenant"),
    "DeleteSchedule": writes(),
    "ActivateSchedule": writes(),
    "RollbackSchedule": writes(),
    "CreateRegionGroup": writes("region_group.tenant"),
    "GetRegionGroup": reads(shared=True),
    "ListRegionGroups": reads(shared=True),
    "UpdateRegionGroup": writes("region_group.tenant"),
    "DeleteRegionGroup": writes(),
    "CreateScreeningList": writes("screening_list.tenant"),
    "GetScreeningList": reads(shared=True),
    "ListScreeningLists": reads(shared=True),
    "UpdateScreeningList": writes("screening_list.tenant"),
    "DeleteScreeningList": writes(),
    "AddScreeningEntries": writes(),
    "RemoveScreeningEntries": writes(),
    "ListScreeningEntries": reads(shared=True),
    "CreateFlow": writes("flow.tenant"),
    "GetFlow": reads(),
    "ListFlows": reads(),
    "UpdateFlow": writes("flow.tenant"),
    "DeleteFlow": writes(),
    "ActivateFlow": writes(),
    "RollbackFlow": writes(),
    "CreatePrompt": writes("prompt.tenant"),
    "GetPrompt": reads(),
    "ListPrompts": reads(),
    "UpdatePrompt": writes("prompt.tenant"),
    "DeletePrompt": writes(),
    "CreateApiKey": writes("api_key.tenant"),
    "GetApiKey": writes(),
    "ListApiKeys": writes(),
    "DeleteApiKey": writes(),
    "Apply": writes(WITHIN),
    "Watch": reads(WITHIN),
    "Explain": reads(WITHIN),
}

BULK: dict[str, Rule] = {
    # Each row as CreateNumber, UpdateNumber, CreateLine and UpdateLine would be.
    "ImportNumbers": writes(WITHIN),
    "ExportNumbers": reads(),
}


def check(principal: Principal, method: str, request: Any, table: Mapping[str, Rule] = TABLE) -> None:
    """Raise PermissionRefusedError unless the caller may make this request; ``table`` is that of its service."""
    rule = table[method]
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
