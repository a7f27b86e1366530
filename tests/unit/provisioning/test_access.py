"""Who may call what: every method, with every role, on one's own objects, another tenant's and the operator's.

A method that is new fails here until it is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import access
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.service import METHODS
from support.provisioning import As, Example, Stub, invalid, key, reason_of, refused, serving, shared, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.provisioning.access import Principal
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock

NUMBERS = {"acme": "4001111111", "best": "4002222222", "": "4003333333"}
"""Of each tenant one; the last does not exist."""

# The operator alone; tenants with what is theirs; readers too; and what the operator shares; by number.
OPERATORS, WRITES, READS, SHARED, NUMBER_READS, NUMBER_WRITES, WITHIN = range(7)


def tenant_and_id(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant, "id": "x"}


def of(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant}


def inside(field: str) -> Any:
    return lambda tenant: {field: tenant_and_id(tenant)}


def number(tenant: str) -> dict[str, Any]:
    return {"number": NUMBERS[tenant]}


def entries(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant, "list": "x", "entries": [{"number": "13800001234"}]}


CASES: dict[str, tuple[int, Any]] = {
    "CreateTenant": (OPERATORS, lambda t: {"tenant": {"id": "new"}}),
    "GetTenant": (READS, lambda t: {"id": t}),
    "ListTenants": (OPERATORS, lambda t: {}),
    "UpdateTenant": (OPERATORS, lambda t: {"tenant": {"id": t}}),
    "DeleteTenant": (OPERATORS, lambda t: {"id": t}),
    "CreateTrunk": (OPERATORS, lambda t: {"trunk": {"id": "x"}}),
    "GetTrunk": (OPERATORS, lambda t: {"id": "x"}),
    "ListTrunks": (OPERATORS, lambda t: {}),
    "UpdateTrunk": (OPERATORS, lambda t: {"trunk": {"id": "x"}}),
    "DeleteTrunk": (OPERATORS, lambda t: {"id": "x"}),
    "ListTrunkHealth": (OPERATORS, lambda t: {}),
    "CreateTrunkGroup": (OPERATORS, lambda t: {"trunk_group": {"id": "x"}}),
    "GetTrunkGroup": (OPERATORS, lambda t: {"id": "x"}),
    "ListTrunkGroups": (OPERATORS, lambda t: {}),
    "UpdateTrunkGroup": (OPERATORS, lambda t: {"trunk_group": {"id": "x"}}),
    "DeleteTrunkGroup": (OPERATORS, lambda t: {"id": "x"}),
    "CreateLine": (WRITES, inside("line")),
    "GetLine": (READS, tenant_and_id),
    "ListLines": (READS, of),
    "UpdateLine": (WRITES, inside("line")),
    "DeleteLine": (WRITES, tenant_and_id),
    "CreateLineGroup": (WRITES, inside("line_group")),
    "GetLineGroup": (READS, tenant_and_id),
    "ListLineGroups": (READS, of),
    "UpdateLineGroup": (WRITES, inside("line_group")),
    "DeleteLineGroup": (WRITES, tenant_and_id),
    "CreateNumber": (OPERATORS, lambda t: {"number": {"number": "4009999999", "tenant": t}}),
    "GetNumber": (NUMBER_READS, number),
    "ListNumbers": (READS, of),
    "UpdateNumber": (NUMBER_WRITES, lambda t: {"number": {"number": NUMBERS[t], "flow": "x"}}),
    "DeleteNumber": (OPERATORS, number),
    "CreateCalendar": (WRITES, inside("calendar")),
    "GetCalendar": (SHARED, tenant_and_id),
    "ListCalendars": (SHARED, of),
    "UpdateCalendar": (WRITES, inside("calendar")),
    "DeleteCalendar": (WRITES, tenant_and_id),
    "CreateSchedule": (WRITES, inside("schedule")),
    "GetSchedule": (READS, tenant_and_id),
    "ListSchedules": (READS, of),
    "UpdateSchedule": (WRITES, inside("schedule")),
    "DeleteSchedule": (WRITES, tenant_and_id),
    "ActivateSchedule": (WRITES, tenant_and_id),
    "RollbackSchedule": (WRITES, tenant_and_id),
    "CreateRegionGroup": (WRITES, inside("region_group")),
    "GetRegionGroup": (SHARED, tenant_and_id),
    "ListRegionGroups": (SHARED, of),
    "UpdateRegionGroup": (WRITES, inside("region_group")),
    "DeleteRegionGroup": (WRITES, tenant_and_id),
    "CreateScreeningList": (WRITES, inside("screening_list")),
    "GetScreeningList": (SHARED, tenant_and_id),
    "ListScreeningLists": (SHARED, of),
    "UpdateScreeningList": (WRITES, inside("screening_list")),
    "DeleteScreeningList": (WRITES, tenant_and_id),
    "AddScreeningEntries": (WRITES, entries),
    "RemoveScreeningEntries": (WRITES, entries),
    "ListScreeningEntries": (SHARED, lambda t: {"tenant": t, "list": "x"}),
    "CreateFlow": (WRITES, inside("flow")),
    "GetFlow": (READS, tenant_and_id),
    "ListFlows": (READS, of),
    "UpdateFlow": (WRITES, inside("flow")),
    "DeleteFlow": (WRITES, tenant_and_id),
    "ActivateFlow": (WRITES, tenant_and_id),
    "RollbackFlow": (WRITES, tenant_and_id),
    "CreatePrompt": (WRITES, inside("prompt")),
    "GetPrompt": (READS, tenant_and_id),
    "ListPrompts": (READS, of),
    "UpdatePrompt": (WRITES, inside("prompt")),
    "DeletePrompt": (WRITES, tenant_and_id),
    "CreateApiKey": (WRITES, inside("api_key")),
    "GetApiKey": (WRITES, lambda t: {"tenant": t, "id": "key"}),
    "ListApiKeys": (WRITES, of),
    "DeleteApiKey": (WRITES, lambda t: {"tenant": t, "id": "other"}),
    "Apply": (WITHIN, lambda t: {"put": [{"prompt": tenant_and_id(t)}]}),
    "Watch": (WITHIN, of),
    "Explain": (WITHIN, lambda t: {"request": {"called": NUMBERS[t]}}),
}

WITHIN_READS = {"Watch", "Explain"}


async def explain(principal: Principal, request: routing_pb2.ExplainRequest) -> routing_pb2.ExplainResponse:
    """Stands in for the routing service behind the service's own check."""
    return routing_pb2.ExplainResponse()


@pytest.fixture
async def operator(store: MemoryStore, clock: Clock) -> AsyncIterator[Stub]:
    """A service in which two tenants and the operator have an object of each kind."""
    async with serving(store, clock=clock, explain=explain) as api:
        for tenant in ("acme", "best"):
            await api.Apply(pb.ApplyRequest(put=world(tenant, NUMBERS[tenant])))
            await key(api, tenant, READER, "other")
        await api.Apply(pb.ApplyRequest(put=shared()))
        yield api


@pytest.fixture
async def administrator(operator: Stub) -> As:
    return As(operator, await key(operator, "acme", ADMINISTRATOR))


@pytest.fixture
async def reader(operator: Stub) -> As:
    return As(operator, await key(operator, "acme", READER, "reader"))


def call(api: Any, method: str, tenant: str, **fields: Any) -> Any:
    kind = routing_pb2.ExplainRequest if method == "Explain" else getattr(pb, f"{method}Request")
    return getattr(api, method)(kind(**CASES[method][1](tenant), **fields))


async def outcome(api: Any, method: str, tenant: str) -> str:
    """ "OK", or the reason of the refusal. Of a stream the first response counts."""
    pending = call(api, method, tenant)
    if not METHODS[method].server_streaming:
        return await reason_of(pending)
    reason = await reason_of(anext(aiter(pending)))
    pending.cancel()
    return reason


def expected(method: str, role: types_pb2.Role.ValueType, tenant: str) -> str:
    """What a caller of acme meets at the door: "in", or the reason of the refusal."""
    access, own, writer = CASES[method][0], tenant == "acme", role == ADMINISTRATOR
    if access in (NUMBER_READS, NUMBER_WRITES):
        if access == NUMBER_WRITES and not writer:
            return "PERMISSION_REFUSED"
        return "in" if own else "RESOURCE_NOT_FOUND"
    let_in = {
        OPERATORS: False,
        WRITES: own and writer,
        READS: own,
        SHARED: own or not tenant,
        # What is watched without a tenant is all that one may see. The explanations are the stand-in's.
        WITHIN: method == "Explain" or ((own or (method == "Watch" and not tenant)) and (writer or method == "Watch")),
    }[access]
    return "in" if let_in else "PERMISSION_REFUSED"


def test_every_method_is_listed() -> None:
    assert set(CASES) == set(METHODS)
    assert set(access.TABLE) == set(METHODS)


@pytest.mark.parametrize("tenant", ["acme", "best", ""], ids=["own", "another's", "operator's"])
@pytest.mark.parametrize("method", CASES)
async def test_what_a_tenant_may_do(operator: Stub, method: str, tenant: str) -> None:
    for role, id in ((READER, "r"), (ADMINISTRATOR, "a")):
        caller = As(operator, await key(operator, "acme", role, id))
        met = await outcome(caller, method, tenant)
        wanted = expected(method, role, tenant)
        if wanted == "in":
            assert met not in ("PERMISSION_REFUSED", "CREDENTIALS_REFUSED"), (role, met)
        else:
            assert met == wanted, role


@pytest.mark.parametrize("method", CASES)
async def test_the_operator_may_do_everything(operator: Stub, method: str) -> None:
    caller = As(operator, await key(operator, "", OPERATOR))
    for tenant in ("acme", "best", ""):
        assert await outcome(caller, method, tenant) not in ("PERMISSION_REFUSED", "CREDENTIALS_REFUSED")


@pytest.mark.parametrize("method", CASES)
async def test_without_credentials_nothing_is_answered(operator: Stub, method: str) -> None:
    for secret in ("", "nonsense", "sb.acme.other.guessed", "sb._.x.y"):
        assert await outcome(As(operator, secret), method, "acme") == "CREDENTIALS_REFUSED"


async def test_a_refusal_names_the_method(reader: As) -> None:
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED") as refusal:
        await call(reader, "DeleteLine", "acme")
    assert refusal.metadata == {"method": "DeleteLine"}


async def test_lists_hold_nothing_of_others(administrator: As) -> None:
    for method in METHODS:
        if method.startswith("List") and CASES[method][0] in (READS, SHARED, WRITES) and "Entries" not in method:
            page = await call(administrator, method, "acme")
            objects = next(value for field, value in page.ListFields() if field.is_repeated)
            assert {one.tenant for one in objects} == {"acme"}, method


async def test_a_page_token_of_another_tenant_opens_nothing(operator: Stub, administrator: As) -> None:
    await operator.CreateLine(pb.CreateLineRequest(line=Example.line("y", "best")))
    token = (await operator.ListLines(pb.ListLinesRequest(tenant="best", page_size=1))).next_page_token
    with invalid() as refusal:
        await administrator.ListLines(pb.ListLinesRequest(tenant="acme", page_token=token))
    assert list(refusal.fields) == ["page_token"]
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await administrator.ListLines(pb.ListLinesRequest(tenant="best", page_token=token))


async def test_a_request_id_of_another_tenant_tells_nothing(operator: Stub, administrator: As) -> None:
    """Each tenant's ids are its own: the same id is another request, and never another's answer."""
    other = As(operator, await key(operator, "best", ADMINISTRATOR))
    theirs = pb.CreatePromptRequest(prompt=types_pb2.Prompt(tenant="best", id="p"), request_id="one")
    ours = pb.CreatePromptRequest(prompt=types_pb2.Prompt(tenant="acme", id="p"), request_id="one")
    assert (await other.CreatePrompt(theirs)).tenant == "best"
    assert (await administrator.CreatePrompt(ours)).tenant == "acme"
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await administrator.CreatePrompt(theirs)


async def test_apply_looks_at_every_object(administrator: As, reader: As) -> None:
    prompt = pb.Object(prompt=types_pb2.Prompt(tenant="acme", id="fine"))
    for bad in (
        pb.Object(prompt=types_pb2.Prompt(tenant="best", id="x")),
        pb.Object(calendar=shared()[0].calendar),
        pb.Object(tenant=types_pb2.Tenant(id="acme")),
        pb.Object(number=types_pb2.Number(number="4009999999", tenant="acme", flow="x")),
        pb.Object(number=types_pb2.Number(number=NUMBERS["best"], tenant="acme", flow="x")),
    ):
        for request in (
            pb.ApplyRequest(put=[prompt, bad]),
            pb.ApplyRequest(put=[prompt], delete=[bad]),
        ):
            with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
                await administrator.Apply(request)
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await administrator.GetPrompt(pb.GetPromptRequest(tenant="acme", id="fine"))
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await reader.Apply(pb.ApplyRequest(put=[prompt]))
    await administrator.Apply(pb.ApplyRequest(put=[prompt]))


async def test_a_tenant_changes_what_its_number_does_but_not_its_state_and_limits(administrator: As) -> None:
    stored = await administrator.GetNumber(pb.GetNumberRequest(number=NUMBERS["acme"]))
    stored.screening.refuse_anonymous = True
    assert (await administrator.UpdateNumber(pb.UpdateNumberRequest(number=stored))).screening.refuse_anonymous
    for field, value in (
        ("state", types_pb2.NUMBER_STATE_SUSPENDED),
        ("limits", types_pb2.Limits(concurrent_calls=1000)),
    ):
        changed = types_pb2.Number(number=NUMBERS["acme"], **{field: value})
        with invalid() as refusal:
            await administrator.UpdateNumber(
                pb.UpdateNumberRequest(number=changed, update_mask=FieldMask(paths=[field]))
            )
        assert refusal.fields == {f"number.{field}": "cannot be changed"}


async def test_masking_a_fixed_field_does_not_clear_it(operator: Stub, administrator: As) -> None:
    limits = types_pb2.Limits(concurrent_calls=5)
    mask = FieldMask(paths=["limits"])
    await operator.UpdateNumber(
        pb.UpdateNumberRequest(number=types_pb2.Number(number=NUMBERS["acme"], limits=limits), update_mask=mask)
    )
    bare = types_pb2.Number(number=NUMBERS["acme"])
    updated = await administrator.UpdateNumber(pb.UpdateNumberRequest(number=bare, update_mask=mask))
    assert updated.limits == limits
