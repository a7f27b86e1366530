"""Every method that writes leaves one record for each object that it changes, and nothing else leaves any.

A method that is new fails here until it is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox import rpc
from signalbox.api.provisioning.v1 import (
    audit_pb2_grpc,
    bulk_pb2,
    bulk_pb2_grpc,
    inventory_pb2_grpc,
    provisioning_pb2_grpc,
)
from signalbox.api.provisioning.v1 import inventory_pb2 as stock
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.provisioning import access
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit import service as audit_service
from signalbox.provisioning.bulk import BulkService
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.inventory.service import TABLE as INVENTORY_TABLE
from signalbox.provisioning.inventory.service import InventoryService
from signalbox.settings import BulkSettings
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore
from support.audit import forget, told, waiting
from support.inventory import DOCUMENTS, RULE
from support.provisioning import Example, service, shared, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.audit import Told

NUMBER, FREE = "4001111111", "4001230001"
PROMPT = {"tenant": "acme", "id": "new"}
ENTRY = [{"number": "13800001234"}]


class Services:
    """A client of all services over one store, and the store."""

    def __init__(self, store: PagedStore, channel: grpc.aio.Channel) -> None:
        self.store = store
        self._stubs = [
            provisioning_pb2_grpc.ProvisioningServiceStub(channel),
            inventory_pb2_grpc.InventoryServiceStub(channel),
            bulk_pb2_grpc.BulkServiceStub(channel),
            audit_pb2_grpc.AuditServiceStub(channel),
        ]

    def __getattr__(self, method: str) -> Any:
        return next(getattr(stub, method) for stub in self._stubs if hasattr(stub, method))

    async def ask(self, method: str, **fields: Any) -> Any:
        """Call a method with a request of these fields."""
        kind = getattr(pb, f"{method}Request", None) or getattr(stock, f"{method}Request")
        return await getattr(self, method)(kind(**fields))

    async def records(self) -> list[Told]:
        """What has been recorded since the last time."""
        found = told(await waiting(self.store))
        await forget(self.store)
        return found


@pytest.fixture
async def api() -> AsyncIterator[Services]:
    """All services, with an object of each kind."""
    store = PagedStore(MemoryStore())
    authenticator = Authenticator(store, utc_now, anonymous=Principal(OPERATOR))
    inventory = InventoryService(store, authenticator)
    served = [service(store), inventory, BulkService(store, authenticator, BulkSettings())]
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    for one in served:
        one.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            made = Services(store, channel)
            await fill(made)
            yield made
    finally:
        await server.stop(None)


async def fill(made: Services) -> None:
    """An object of each kind."""
    await made.ask("Apply", put=world("acme", NUMBER))
    await made.ask("Apply", put=shared())
    await made.ask("CreateLine", line=Example.line("a"))
    await made.ask("CreateTrunk", trunk={"id": "t", "targets": [{"host": "192.0.2.1"}]})
    await made.ask("CreateTrunkGroup", trunk_group={"id": "g", "prefixes": [""], "members": [{"trunk": "t"}]})
    await made.ask("CreateNumberClass", number_class={"id": "c", "patterns": ["AAAA"], "rank": 1})
    await made.ask("CreateNumberRange", number_range={"id": "r", "first": "4001230000", "last": "4001230999"})
    await forget(made.store)


async def steps(api: Services, *methods: str) -> None:
    """Bring a number of the inventory so far."""
    fields: dict[str, dict[str, Any]] = {
        "ReserveNumber": {"tenant": "acme"},
        "ApplyForNumber": {"documents": DOCUMENTS},
        "ActivateNumber": {"rule": RULE},
        "SuspendNumber": {"reason": inventory_pb2.SUSPENSION_REASON_UNPAID},
    }
    for method in methods:
        await api.ask(method, number=FREE, **fields.get(method, {}))


RESERVE, APPLY, APPROVE, ACTIVATE = "ReserveNumber", "ApplyForNumber", "ApproveNumber", "ActivateNumber"
IN_SERVICE = (RESERVE, APPLY, APPROVE, ACTIVATE)


async def activated(api: Services) -> None:
    """A new draft of the flow."""
    graph = world("acme", NUMBER)[-2].flow.draft
    graph.nodes[0].hang_up.cause = 4
    await api.ask(
        "UpdateFlow", flow={"tenant": "acme", "id": "x", "draft": graph}, update_mask=FieldMask(paths=["draft"])
    )


async def closed(api: Services) -> None:
    await api.ask(
        "UpdateNumberRange", number_range={"id": "r", "disabled": True}, update_mask=FieldMask(paths=["disabled"])
    )


def held(*before: str) -> Any:
    async def prepare(api: Services) -> None:
        await steps(api, *before)

    return prepare


def named(field: str, **more: Any) -> dict[str, Any]:
    return {field: {"tenant": "acme", "id": "new", **more}}


def renamed(field: str, *, tenant: str | None = "acme", id: str = "x") -> dict[str, Any]:
    identity = {"id": id} if tenant is None else {"tenant": tenant, "id": id}
    return {field: {**identity, "display_name": "Renamed"}, "update_mask": FieldMask(paths=["display_name"])}


async def nothing(api: Services) -> None:
    pass


async def unused(api: Services) -> None:
    """A new object of every kind, to be deleted."""
    await api.ask("CreateTenant", tenant={"id": "new"})
    await api.ask("CreateTrunk", trunk={"id": "new", "source_addresses": ["198.51.100.1"]})
    for kind, field in (
        ("Line", "line"), ("LineGroup", "line_group"), ("Calendar", "calendar"), ("Schedule", "schedule"),
        ("RegionGroup", "region_group"), ("ScreeningList", "screening_list"), ("Flow", "flow"), ("Prompt", "prompt"),
    ):  # fmt: skip
        fields: dict[str, Any] = {"tenant": "acme", "id": "new"}
        if kind == "Line":
            fields |= {"user": "100", "host": "192.0.2.7"}
        if kind == "LineGroup":
            fields |= {"lines": [{"line": "x"}]}
        if kind == "RegionGroup":
            fields |= {"provinces": ["北京"]}
        await api.ask(f"Create{kind}", **{field: fields})
    await api.ask("CreateApiKey", api_key={"tenant": "acme", "id": "new", "role": "ROLE_TENANT_READER"})


NEW = {"tenant": "acme", "id": "new"}
X = {"tenant": "acme", "id": "x"}
GRAPH = world("acme", NUMBER)[-2].flow.draft
RULES = world("acme", NUMBER)[-3].schedule.draft

Case = tuple[Any, dict[str, Any], list["Told"]]
"""What comes before, the request, and what is recorded of it."""

CASES: dict[str, Case] = {
    "CreateTenant": (nothing, {"tenant": {"id": "new"}}, [("tenant", "new", "new", "created")]),
    "UpdateTenant": (nothing, renamed("tenant", tenant=None, id="acme"), [("tenant", "acme", "acme", "changed")]),
    "DeleteTenant": (unused, {"id": "new"}, [("tenant", "new", "new", "deleted")]),
    "CreateTrunk": (
        nothing,
        {"trunk": {"id": "new", "source_addresses": ["198.51.100.1"]}},
        [("trunk", "", "new", "created")],
    ),
    "UpdateTrunk": (nothing, renamed("trunk", tenant=None, id="t"), [("trunk", "", "t", "changed")]),
    "DeleteTrunk": (unused, {"id": "new"}, [("trunk", "", "new", "deleted")]),
    "CreateTrunkGroup": (
        nothing,
        {"trunk_group": {"id": "new", "prefixes": ["0"], "members": [{"trunk": "t"}]}},
        [("trunk_group", "", "new", "created")],
    ),
    "UpdateTrunkGroup": (nothing, renamed("trunk_group", tenant=None, id="g"), [("trunk_group", "", "g", "changed")]),
    "DeleteTrunkGroup": (nothing, {"id": "g"}, [("trunk_group", "", "g", "deleted")]),
    "CreateLine": (nothing, named("line", user="1", host="192.0.2.7"), [("line", "acme", "new", "created")]),
    "UpdateLine": (nothing, renamed("line"), [("line", "acme", "x", "changed")]),
    "DeleteLine": (unused, NEW, [("line", "acme", "new", "deleted")]),
    "CreateLineGroup": (
        nothing,
        named("line_group", lines=[{"line": "x"}]),
        [("line_group", "acme", "new", "created")],
    ),
    "UpdateLineGroup": (nothing, renamed("line_group"), [("line_group", "acme", "x", "changed")]),
    "DeleteLineGroup": (unused, NEW, [("line_group", "acme", "new", "deleted")]),
    "CreateNumber": (
        nothing,
        {"number": {"number": "4009999999", "tenant": "acme", "flow": "x"}},
        [("number", "acme", "4009999999", "created")],
    ),
    "UpdateNumber": (
        nothing,
        {"number": {"number": NUMBER, "media": "MEDIA_MODE_BYPASS"}, "update_mask": FieldMask(paths=["media"])},
        [("number", "acme", NUMBER, "changed")],
    ),
    "DeleteNumber": (nothing, {"number": NUMBER}, [("number", "acme", NUMBER, "deleted")]),
    "CreateCalendar": (nothing, named("calendar"), [("calendar", "acme", "new", "created")]),
    "UpdateCalendar": (nothing, renamed("calendar", tenant=""), [("calendar", "", "x", "changed")]),
    "DeleteCalendar": (unused, NEW, [("calendar", "acme", "new", "deleted")]),
    "CreateSchedule": (nothing, named("schedule", draft=RULES), [("schedule", "acme", "new", "created")]),
    "UpdateSchedule": (nothing, renamed("schedule"), [("schedule", "acme", "x", "changed")]),
    "DeleteSchedule": (unused, NEW, [("schedule", "acme", "new", "deleted")]),
    "ActivateSchedule": (
        lambda api: api.ask("CreateSchedule", **named("schedule", draft=RULES)),
        NEW,
        [("schedule", "acme", "new", "changed")],
    ),
    "RollbackSchedule": (
        lambda api: later(api, "schedule"),
        {**X, "revision": 1},
        [("schedule", "acme", "x", "changed")],
    ),
    "CreateRegionGroup": (
        nothing,
        named("region_group", provinces=["北京"]),
        [("region_group", "acme", "new", "created")],
    ),
    "UpdateRegionGroup": (nothing, renamed("region_group"), [("region_group", "acme", "x", "changed")]),
    "DeleteRegionGroup": (unused, NEW, [("region_group", "acme", "new", "deleted")]),
    "CreateScreeningList": (nothing, named("screening_list"), [("screening_list", "acme", "new", "created")]),
    "UpdateScreeningList": (nothing, renamed("screening_list"), [("screening_list", "acme", "x", "changed")]),
    "DeleteScreeningList": (
        lambda api: filled(api),
        X,
        [("screening_list", "acme", "x", "deleted")],
    ),
    "AddScreeningEntries": (
        nothing,
        {"tenant": "acme", "list": "x", "entries": ENTRY},
        [("screening_list", "acme", "x", "+1 -0")],
    ),
    "RemoveScreeningEntries": (
        lambda api: filled(api),
        {"tenant": "acme", "list": "x", "entries": ENTRY},
        [("screening_list", "acme", "x", "+0 -1")],
    ),
    "CreateFlow": (nothing, named("flow", draft=GRAPH), [("flow", "acme", "new", "created")]),
    "UpdateFlow": (nothing, renamed("flow"), [("flow", "acme", "x", "changed")]),
    "DeleteFlow": (unused, NEW, [("flow", "acme", "new", "deleted")]),
    "ActivateFlow": (activated, X, [("flow", "acme", "x", "changed")]),
    "RollbackFlow": (lambda api: later(api, "flow"), {**X, "revision": 1}, [("flow", "acme", "x", "changed")]),
    "CreatePrompt": (nothing, named("prompt"), [("prompt", "acme", "new", "created")]),
    "UpdatePrompt": (nothing, renamed("prompt"), [("prompt", "acme", "x", "changed")]),
    "DeletePrompt": (nothing, X, [("prompt", "acme", "x", "deleted")]),
    "CreateApiKey": (nothing, named("api_key", role="ROLE_TENANT_READER"), [("api_key", "acme", "new", "created")]),
    "DeleteApiKey": (unused, NEW, [("api_key", "acme", "new", "deleted")]),
    "Apply": (
        nothing,
        {
            "put": [{"flow": {"tenant": "acme", "id": "new", "draft": GRAPH}}, {"prompt": PROMPT}],
            "delete": [{"prompt": X}],
        },
        [
            ("flow", "acme", "new", "created"),
            ("prompt", "acme", "new", "created"),
            ("prompt", "acme", "x", "deleted"),
        ],
    ),
    "CreateNumberRange": (
        nothing,
        {"number_range": {"id": "new", "first": "4004000000", "last": "4004000099"}},
        [("number_range", "", "new", "created")],
    ),
    "UpdateNumberRange": (
        nothing,
        renamed("number_range", tenant=None, id="r"),
        [("number_range", "", "r", "changed")],
    ),
    "DeleteNumberRange": (closed, {"id": "r"}, [("number_range", "", "r", "deleted")]),
    "CreateNumberClass": (
        nothing,
        {"number_class": {"id": "new", "patterns": ["ABCD"], "rank": 2}},
        [("number_class", "", "new", "created")],
    ),
    "UpdateNumberClass": (
        nothing,
        renamed("number_class", tenant=None, id="c"),
        [("number_class", "", "c", "changed")],
    ),
    "DeleteNumberClass": (nothing, {"id": "c"}, [("number_class", "", "c", "deleted")]),
    "ReserveNumber": (nothing, {"number": FREE, "tenant": "acme"}, [("inventory_number", "acme", FREE, "changed")]),
    "ApplyForNumber": (
        held(RESERVE),
        {"number": FREE, "documents": DOCUMENTS},
        [("inventory_number", "acme", FREE, "changed")],
    ),
    "ApproveNumber": (held(RESERVE, APPLY), {"number": FREE}, [("inventory_number", "acme", FREE, "changed")]),
    "RejectNumber": (
        held(RESERVE, APPLY),
        {"number": FREE, "reason": "no stamp"},
        [("inventory_number", "acme", FREE, "changed")],
    ),
    "ActivateNumber": (
        held(RESERVE, APPLY, APPROVE),
        {"number": FREE, "rule": RULE},
        [("inventory_number", "acme", FREE, "changed"), ("number", "acme", FREE, "created")],
    ),
    "SuspendNumber": (
        held(*IN_SERVICE),
        {"number": FREE, "reason": "SUSPENSION_REASON_UNPAID"},
        [("inventory_number", "acme", FREE, "changed"), ("number", "acme", FREE, "changed")],
    ),
    "ResumeNumber": (
        held(*IN_SERVICE, "SuspendNumber"),
        {"number": FREE},
        [("inventory_number", "acme", FREE, "changed"), ("number", "acme", FREE, "changed")],
    ),
    "WithdrawNumber": (held(RESERVE), {"number": FREE}, [("inventory_number", "acme", FREE, "changed")]),
    "ReleaseNumber": (
        held(*IN_SERVICE),
        {"number": FREE},
        [("inventory_number", "acme", FREE, "changed"), ("number", "acme", FREE, "changed")],
    ),
    "QuarantineNumber": (
        held(*IN_SERVICE, "ReleaseNumber"),
        {"number": FREE},
        [("inventory_number", "acme", FREE, "changed"), ("number", "acme", FREE, "deleted")],
    ),
    "RecoverNumber": (
        held(*IN_SERVICE, "ReleaseNumber", "QuarantineNumber"),
        {"number": FREE},
        # It is nobody's any more.
        [("inventory_number", "", FREE, "changed")],
    ),
    "AdoptNumbers": (
        lambda api: older(api),
        {"range": "old"},
        [("inventory_number", "acme", NUMBER, "changed")],
    ),
}

STREAMS = {"ImportNumbers"}
"""Have a test of their own."""


async def filled(api: Services) -> None:
    await api.ask("UpdateNumber", number={"number": NUMBER, "flow": "x"})
    await api.ask("AddScreeningEntries", tenant="acme", list="x", entries=ENTRY)


async def older(api: Services) -> None:
    """A range around a number that has a rule."""
    await api.ask("CreateNumberRange", number_range={"id": "old", "first": "4001111100", "last": "4001111199"})


async def later(api: Services, kind: str) -> None:
    """A second revision in force."""
    if kind == "flow":
        await activated(api)
        await api.ask("ActivateFlow", **X)
        return
    rules = type(RULES)()
    await api.ask("UpdateSchedule", schedule={**X, "draft": rules}, update_mask=FieldMask(paths=["draft"]))
    await api.ask("ActivateSchedule", **X)


def test_every_method_that_writes_is_listed() -> None:
    methods = {*access.TABLE, *INVENTORY_TABLE, *audit_service.TABLE}
    methods |= {method.name for one in bulk_pb2.DESCRIPTOR.services_by_name.values() for method in one.methods}
    reading = {method for method in methods if method.startswith(("Get", "List"))}
    reading |= {"Watch", "Explain", "SearchNumbers", "ExportNumbers", "VerifyAudit"}
    assert set(CASES) | STREAMS == methods - reading


@pytest.mark.parametrize("method", CASES)
async def test_a_change_is_recorded_once_for_each_object(api: Services, method: str) -> None:
    before, fields, expected = CASES[method]
    await before(api)
    await forget(api.store)
    await api.ask(method, **fields)
    records = await waiting(api.store)
    assert sorted(told(records)) == sorted(expected)
    assert {record.method for record in records} == {method}
    assert len({record.commit for record in records}) == 1
    assert {record.actor.name for record in records} == {"anonymous"}
    assert all(record.actor.peer.startswith("ipv") for record in records)
    assert all(record.actor.role == OPERATOR for record in records)


@pytest.mark.parametrize("method", [method for method in CASES if method != "AdoptNumbers"])
async def test_what_is_only_tried_and_what_comes_again_is_not_recorded(api: Services, method: str) -> None:
    before, fields, expected = CASES[method]
    await before(api)
    await forget(api.store)
    request = getattr(pb, f"{method}Request", None) or getattr(stock, f"{method}Request")
    if "validate_only" in request.DESCRIPTOR.fields_by_name:
        await api.ask(method, **fields, validate_only=True)
        assert await api.records() == []
    if "request_id" not in request.DESCRIPTOR.fields_by_name:
        return
    await api.ask(method, **fields, request_id="once")
    assert [record.request_id for record in await waiting(api.store)] == ["once"] * len(expected)
    await forget(api.store)
    await api.ask(method, **fields, request_id="once")
    assert await api.records() == []


async def test_an_import_is_recorded_number_by_number_and_line_by_line(api: Services) -> None:
    rows = [
        bulk_pb2.NumberRow(number=Example.number(f"400555000{n}", [f"line-{n}"]), lines=[Example.line(f"line-{n}")])
        for n in range(3)
    ]
    request = bulk_pb2.ImportNumbersRequest(options=bulk_pb2.ImportOptions(), rows=rows)
    async for _ in api.ImportNumbers(iter([request])):
        pass
    records = await waiting(api.store)
    expected = [("line", "acme", f"line-{n}", "created") for n in range(3)]
    expected += [("number", "acme", f"400555000{n}", "created") for n in range(3)]
    assert sorted(told(records)) == expected
    assert {record.method for record in records} == {"ImportNumbers"}
    await forget(api.store)
    async for _ in api.ImportNumbers(iter([request])):
        pass
    assert await api.records() == []


async def test_what_changes_nothing_is_not_recorded(api: Services) -> None:
    await api.ask("UpdateLine", line=Example.line("a"), update_mask=FieldMask(paths=["user"]))
    await api.ask("AddScreeningEntries", tenant="acme", list="x", entries=ENTRY)
    assert await api.records() == [("screening_list", "acme", "x", "+1 -0")]
    await api.ask("AddScreeningEntries", tenant="acme", list="x", entries=ENTRY)
    assert await api.records() == []


async def test_no_record_has_a_secret(api: Services) -> None:
    secret = (await api.ask("CreateApiKey", api_key={"tenant": "acme", "id": "k", "role": "ROLE_TENANT_READER"})).secret
    await api.ask("DeleteApiKey", tenant="acme", id="k")
    created, deleted = await waiting(api.store)
    for state in (created.change.after, deleted.change.before):
        stored = types_pb2.ApiKey()
        assert state.object.Unpack(stored)
        assert stored.id == "k"
        assert not stored.secret_hash
    assert secret.encode() not in created.SerializeToString()
