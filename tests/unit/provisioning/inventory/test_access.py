"""Who may call what of the inventory: every method, with every role. A method that is new fails until it is listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.inventory.service import METHODS, TABLE
from support.provisioning import As, key, reason_of

if TYPE_CHECKING:
    from support.inventory import Site

OPERATORS, WRITES, READS = "the operator", "and administrators", "and readers"
NUMBER = {"number": "4001230001"}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "CreateNumberRange": (OPERATORS, {"number_range": {"id": "x", "first": "95105", "last": "95106"}}),
    "GetNumberRange": (OPERATORS, {"id": "main"}),
    "ListNumberRanges": (OPERATORS, {}),
    "UpdateNumberRange": (OPERATORS, {"number_range": {"id": "main", "display_name": "x"}}),
    "DeleteNumberRange": (OPERATORS, {"id": "main"}),
    "CreateNumberClass": (OPERATORS, {"number_class": {"id": "x"}}),
    "GetNumberClass": (READS, {"id": "gold"}),
    "ListNumberClasses": (READS, {}),
    "UpdateNumberClass": (OPERATORS, {"number_class": {"id": "gold"}}),
    "DeleteNumberClass": (OPERATORS, {"id": "gold"}),
    "SearchNumbers": (READS, {}),
    "GetInventoryNumber": (READS, NUMBER),
    "ListInventoryNumbers": (READS, {"tenant": "acme"}),
    "ListNumberHistory": (READS, NUMBER),
    "ReserveNumber": (WRITES, {**NUMBER, "tenant": "acme"}),
    "ApplyForNumber": (WRITES, NUMBER),
    "ApproveNumber": (OPERATORS, NUMBER),
    "RejectNumber": (OPERATORS, {**NUMBER, "reason": "x"}),
    "ActivateNumber": (WRITES, {**NUMBER, "rule": {"flow": "x"}}),
    "SuspendNumber": (OPERATORS, {**NUMBER, "reason": 1}),
    "ResumeNumber": (OPERATORS, NUMBER),
    "WithdrawNumber": (WRITES, NUMBER),
    "ReleaseNumber": (WRITES, NUMBER),
    "QuarantineNumber": (OPERATORS, NUMBER),
    "RecoverNumber": (OPERATORS, NUMBER),
    "AdoptNumbers": (OPERATORS, {"range": "main"}),
}
SHUT = ("PERMISSION_REFUSED", "CREDENTIALS_REFUSED")


def call(api: Any, method: str, **fields: Any) -> Any:
    return getattr(api, method)(getattr(pb, f"{method}Request")(**{**CASES[method][1], **fields}))


def test_every_method_is_listed() -> None:
    assert set(CASES) == set(METHODS) == set(TABLE)


@pytest.mark.parametrize("method", CASES)
async def test_who_may_call_it(api: Site, method: str) -> None:
    for role, tenant, allowed in (
        (OPERATOR, "", {OPERATORS, WRITES, READS}),
        (ADMINISTRATOR, "acme", {WRITES, READS}),
        (READER, "acme", {READS}),
    ):
        caller = As(api.inventory, await key(api.rules, tenant, role, f"k{role}"))  # type: ignore[arg-type]
        met = await reason_of(call(caller, method))
        if CASES[method][0] in allowed:
            assert met not in SHUT, (role, met)
        else:
            assert met == "PERMISSION_REFUSED", role
    assert await reason_of(call(As(api.inventory, "sb.acme.x.y"), method)) == "CREDENTIALS_REFUSED"  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["ReserveNumber", "ListInventoryNumbers"])
@pytest.mark.parametrize("tenant", ["best", ""])
async def test_nobody_acts_for_another_tenant(api: Site, method: str, tenant: str) -> None:
    caller = As(api.inventory, await key(api.rules, "acme", ADMINISTRATOR))  # type: ignore[arg-type]
    assert await reason_of(call(caller, method, tenant=tenant)) == "PERMISSION_REFUSED"
