"""Who may read the audit log, what they find in it, and what a replica does that does not keep it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox import rpc
from signalbox.api.provisioning.v1 import audit_pb2, audit_pb2_grpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.commands.audit import _what
from signalbox.errors import StoreUnavailableError
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER, Principal
from signalbox.provisioning.audit.keeper import Keeper
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.audit.service import TABLE, AuditService, Others
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.routing import orders
from signalbox.settings import AuditSettings
from signalbox.store import keys
from signalbox.store.memory import MemoryStore
from support import provisioning
from support.audit import waiting
from support.provisioning import As, Example, Stub, invalid, key, reason_of, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.api.types.v1.audit_pb2 import AuditRecord

METHODS = set(audit_pb2.DESCRIPTOR.services_by_name["AuditService"].methods_by_name)


class Replica:
    """The provisioning and the audit service of one replica."""

    def __init__(self, keeper: Keeper, outbox: Outbox, channel: grpc.aio.Channel, address: str) -> None:
        self.keeper = keeper
        self.outbox = outbox
        self.rules = Stub(channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(channel)
        self.address = address

    async def list(self, **asked: Any) -> list[AuditRecord]:
        """Records by the operator's question."""
        found = await self.audit.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(**asked))
        return list(found.audit_records)


@asynccontextmanager
async def replica(store: MemoryStore, directory: Path | None, *others: str) -> AsyncIterator[Replica]:
    outbox = Outbox()
    settings = AuditSettings(directory=directory, replicas=list(others))
    keeper, asking = Keeper(store, settings, outbox), Others(settings)
    authenticator = Authenticator(store, utc_now, anonymous=Principal(OPERATOR))
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    for service in (provisioning.service(store), AuditService(keeper, asking, authenticator)):
        service.outbox = outbox
        service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Replica(keeper, outbox, channel, f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
        await keeper.close()
        await asking.close()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def site(store: MemoryStore, tmp_path: Path) -> AsyncIterator[Replica]:
    """A replica that keeps the log, with a line of acme and one of best."""
    async with replica(store, tmp_path) as one:
        for tenant in ("acme", "best"):
            await one.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
            await one.rules.CreateLine(pb.CreateLineRequest(line=Example.line("a", tenant)))
        yield one


def told(records: list[AuditRecord]) -> list[tuple[str, str]]:
    """Methods and objects, the first first."""
    return [(record.method, f"{record.change.tenant}/{record.change.id}") for record in reversed(records)]


def test_every_method_has_a_rule() -> None:
    assert set(TABLE) == METHODS


async def test_the_operator_reads_and_verifies_everything(site: Replica) -> None:
    assert told(await site.list()) == [
        ("CreateTenant", "acme/acme"),
        ("CreateLine", "acme/a"),
        ("CreateTenant", "best/best"),
        ("CreateLine", "best/a"),
    ]
    verdict = await site.audit.VerifyAudit(audit_pb2.VerifyAuditRequest())
    assert (verdict.records, verdict.first_sequence, verdict.last_sequence, len(verdict.faults)) == (4, 1, 4, 0)
    record = await site.audit.GetAuditRecord(audit_pb2.GetAuditRecordRequest(sequence=2))
    line = types_pb2.Line()
    assert record.change.after.object.Unpack(line)
    assert line.user == "100"
    for sequence in (0, 5, 2**64 - 1):
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await site.audit.GetAuditRecord(audit_pb2.GetAuditRecordRequest(sequence=sequence))


@pytest.mark.parametrize("role", [ADMINISTRATOR, READER])
async def test_a_tenant_reads_what_is_its_own(site: Replica, role: types_pb2.Role.ValueType) -> None:
    tenant = As(site.audit, await key(site.rules, "acme", role))  # type: ignore[arg-type]
    ask = audit_pb2.ListAuditRecordsRequest
    found = list((await tenant.ListAuditRecords(ask(tenant="acme"))).audit_records)
    assert told(found) == [("CreateTenant", "acme/acme"), ("CreateLine", "acme/a"), ("CreateApiKey", "acme/key")]
    assert {(record.actor.name, record.actor.peer) for record in found} == {("operator", "")}
    for other in ("best", ""):
        assert await reason_of(tenant.ListAuditRecords(ask(tenant=other))) == "PERMISSION_REFUSED"
    get = audit_pb2.GetAuditRecordRequest
    assert (await tenant.GetAuditRecord(get(sequence=2))).change.id == "a"
    for sequence in (3, 4, 99):
        assert await reason_of(tenant.GetAuditRecord(get(sequence=sequence))) == "RESOURCE_NOT_FOUND"
    assert await reason_of(tenant.VerifyAudit(audit_pb2.VerifyAuditRequest())) == "PERMISSION_REFUSED"


async def test_without_good_credentials_nothing_is_read(site: Replica) -> None:
    stranger = As(site.audit, "sb.acme.key.guessed")  # type: ignore[arg-type]
    for method in METHODS:
        request = getattr(audit_pb2, f"{method}Request")()
        assert await reason_of(getattr(stranger, method)(request)) == "CREDENTIALS_REFUSED"


async def test_records_are_found_by_object_actor_method_and_time(site: Replica) -> None:
    robot = As(site.rules, await key(site.rules, "acme", ADMINISTRATOR, "robot"))
    changed = types_pb2.Line(tenant="acme", id="a", display_name="Desk")
    await robot.UpdateLine(pb.UpdateLineRequest(line=changed, update_mask={"paths": ["display_name"]}))
    one = [("UpdateLine", "acme/a")]
    assert told(await site.list(actor="api-key acme/robot")) == one
    assert told(await site.list(method="UpdateLine")) == one
    assert told(await site.list(kind="line", id="a", tenant="acme")) == [("CreateLine", "acme/a"), *one]
    assert told(await site.list(kind="api_key")) == [("CreateApiKey", "acme/robot")]
    [record] = await site.list(method="UpdateLine")
    assert record.actor.role == ADMINISTRATOR
    assert (record.actor.tenant, record.actor.name) == ("acme", "api-key acme/robot")
    later = Timestamp(seconds=record.time.seconds, nanos=record.time.nanos)
    assert told(await site.list(begin_time=later)) == one
    assert ("UpdateLine", "acme/a") not in told(await site.list(end_time=later))
    with invalid() as refusal:
        await site.list(begin_time=Timestamp(seconds=2**60))
    assert list(refusal.fields) == ["begin_time"]


async def test_long_lists_come_in_pages(site: Replica) -> None:
    found: list[tuple[str, str]] = []
    token = ""
    while True:
        request = audit_pb2.ListAuditRecordsRequest(page_size=3, page_token=token)
        page = await site.audit.ListAuditRecords(request)
        found += reversed(told(list(page.audit_records)))
        token = page.next_page_token
        if not token:
            break
    assert found == list(reversed(told(await site.list())))
    first = await site.audit.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(page_size=1))
    with invalid() as refusal:
        await site.list(page_size=1, page_token=first.next_page_token, kind="line")
    assert list(refusal.fields) == ["page_token"]


async def test_what_was_refused_is_recorded_with_who_and_what(site: Replica) -> None:
    reader = As(site.rules, await key(site.rules, "acme", READER, "reader"))
    stranger = As(site.rules, "sb.best.key.guessed")
    assert await reason_of(reader.DeleteLine(pb.DeleteLineRequest(tenant="best", id="a"))) == "PERMISSION_REFUSED"
    assert await reason_of(reader.GetTrunk(pb.GetTrunkRequest(id="carrier"))) == "PERMISSION_REFUSED"
    line = pb.CreateLineRequest(line=Example.line("b", "best"))
    assert await reason_of(stranger.CreateLine(line)) == "CREDENTIALS_REFUSED"
    administrator = As(site.rules, await key(site.rules, "acme", ADMINISTRATOR, "admin"))
    put = pb.ApplyRequest(put=[pb.Object(prompt=types_pb2.Prompt(tenant="best", id="p"))])
    assert await reason_of(administrator.Apply(put)) == "PERMISSION_REFUSED"
    found = await site.list(refused=True)
    assert [
        (one.method, one.actor.name, one.refusal.reason, one.refusal.tenant, one.refusal.id) for one in reversed(found)
    ] == [
        ("DeleteLine", "api-key acme/reader", "PERMISSION_REFUSED", "best", "a"),
        ("GetTrunk", "api-key acme/reader", "PERMISSION_REFUSED", "", "carrier"),
        # What somebody unknown writes into a request is not kept.
        ("CreateLine", "anonymous", "CREDENTIALS_REFUSED", "", ""),
        ("Apply", "api-key acme/admin", "PERMISSION_REFUSED", "", ""),
    ]
    assert all(one.actor.peer and one.refusal.times == 1 for one in found)
    own = await site.list(refused=True, tenant="acme")
    assert [one.method for one in own] == ["Apply", "GetTrunk", "DeleteLine"]


async def test_what_must_look_as_if_it_were_not_there_is_told_to_the_operator_alone(site: Replica) -> None:
    number = Example.number("4001234567", ["a"])
    await site.rules.CreateNumber(pb.CreateNumberRequest(number=number))
    best = As(site.rules, await key(site.rules, "best", ADMINISTRATOR, "admin"))
    assert await reason_of(best.GetNumber(pb.GetNumberRequest(number="4001234567"))) == "RESOURCE_NOT_FOUND"
    assert await reason_of(best.GetNumber(pb.GetNumberRequest(number="4000000000"))) == "RESOURCE_NOT_FOUND"
    [one] = await site.list(refused=True)
    assert (one.actor.name, one.refusal.id, one.refusal.reason) == (
        "api-key best/admin",
        "4001234567",
        "PERMISSION_REFUSED",
    )
    assert await site.list(refused=True, tenant="best") == []
    get = As(site.audit, await key(site.rules, "best", READER, "reader")).GetAuditRecord  # type: ignore[arg-type]
    assert await reason_of(get(audit_pb2.GetAuditRecordRequest(sequence=one.sequence))) == "RESOURCE_NOT_FOUND"


async def test_who_tries_without_end_does_not_fill_the_log(site: Replica, store: MemoryStore) -> None:
    stranger = As(site.rules, "nonsense")
    for _ in range(30):
        await reason_of(stranger.DeleteTenant(pb.DeleteTenantRequest(id="acme")))
    await site.outbox.flush(store, early=True)
    await site.outbox.flush(store, early=True)
    records = await waiting(store)
    assert sum(one.refusal.times for one in records if one.HasField("refusal")) == 30
    assert len([one for one in records if one.HasField("refusal")]) <= 2


async def test_refusals_wait_while_the_store_is_away(site: Replica, store: MemoryStore) -> None:
    await reason_of(As(site.rules, "nonsense").DeleteTenant(pb.DeleteTenantRequest(id="acme")))
    store.available = False
    with pytest.raises(StoreUnavailableError):
        await site.outbox.flush(store)
    store.available = True
    await site.outbox.flush(store)
    assert [one.refusal.times for one in await waiting(store) if one.HasField("refusal")] == [1]


async def test_calls_that_operators_ended_are_in_the_log_and_not_for_tenants(site: Replica, store: MemoryStore) -> None:
    order = routing_pb2.RecordOrderRequest(id="ab" * 8, edge="edge-1", call_id="edge-1-1-1-1", actor="user alice")
    order.time.GetCurrentTime()
    await orders.record(order, store)
    [found] = await site.list(kind="call", id="edge-1-1-1-1")
    assert (found.actor.name, found.method, found.actor.peer) == ("user alice", "HangUp", "edge edge-1")
    assert _what(found) == "ordered to end", "nobody has seen it end"
    get = As(site.audit, await key(site.rules, "best", READER, "reader")).GetAuditRecord  # type: ignore[arg-type]
    assert await reason_of(get(audit_pb2.GetAuditRecordRequest(sequence=found.sequence))) == "RESOURCE_NOT_FOUND"
    assert not (await site.audit.VerifyAudit(audit_pb2.VerifyAuditRequest())).faults


async def test_a_replica_without_the_log_passes_questions_on(site: Replica, store: MemoryStore) -> None:
    async with replica(store, None, "127.0.0.1:1", site.address) as other:
        assert told(await other.list()) == told(await site.list())
        record = await other.audit.GetAuditRecord(audit_pb2.GetAuditRecordRequest(sequence=4))
        assert record.change.tenant == "best"
        assert (await other.audit.VerifyAudit(audit_pb2.VerifyAuditRequest())).records == 4
        tenant = As(other.audit, await key(other.rules, "acme", READER))  # type: ignore[arg-type]
        get = audit_pb2.GetAuditRecordRequest
        assert await reason_of(tenant.GetAuditRecord(get(sequence=4))) == "RESOURCE_NOT_FOUND"
        assert (await tenant.GetAuditRecord(get(sequence=2))).actor.name == "operator"
        with invalid():
            await other.list(page_token="nonsense")
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await other.audit.GetAuditRecord(get(sequence=99))


async def test_where_nobody_keeps_the_log_that_is_said(store: MemoryStore) -> None:
    async with replica(store, None) as one, replica(store, None, one.address) as other:
        await one.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        for asked in (one, other):
            with refused(grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE"):
                await asked.list()
        assert len((await store.list(keys.AUDIT_OUTBOX)).entries) == 1


async def test_writes_are_refused_once_too_much_waits(site: Replica, store: MemoryStore) -> None:
    site.outbox._waiting = site.outbox._max
    request = pb.CreateLineRequest(line=Example.line("b"))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "AUDIT_FULL"):
        await site.rules.CreateLine(request)
    assert await store.get(keys.line("acme", "b")) is None
    await site.keeper.turn()
    assert (await site.rules.CreateLine(request)).id == "b"


async def test_a_process_that_draws_to_its_end_leaves_nothing_waiting(store: MemoryStore, tmp_path: Path) -> None:
    async with replica(store, tmp_path) as one:
        await one.keeper.turn()
        await one.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        await reason_of(As(one.rules, "nonsense").DeleteTenant(pb.DeleteTenantRequest(id="acme")))
    assert not (await store.list(keys.AUDIT_OUTBOX)).entries
