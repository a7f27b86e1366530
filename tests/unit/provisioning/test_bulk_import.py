"""Imports: what becomes of rows, one by one, and of the stream that they come in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import screening_pb2, types_pb2
from signalbox.provisioning import access, bulk_import
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.bulk import METHODS
from signalbox.settings import BulkSettings
from signalbox.store import keys
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore
from support import audit
from support.bulk import Site, many, requests, row, serving
from support.provisioning import As, Example, Interleaving, check_integrity, invalid, key, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Clock

N = "4001234567"


@pytest.fixture(params=["one by one", "in pages"])
def store(request: pytest.FixtureRequest) -> Any:
    memory = MemoryStore()
    return memory if request.param == "one by one" else PagedStore(memory, most=4000)


@pytest.fixture
async def site(store: Any, clock: Clock) -> AsyncIterator[Site]:
    async with serving(store, clock) as site:
        await tenants(site, "acme")
        yield site


async def tenants(site: Site, *ids: str) -> None:
    for id in ids:
        await site.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=id)))


async def line(site: Site, id: str) -> types_pb2.Line:
    return await site.rules.GetLine(pb.GetLineRequest(tenant="acme", id=id))


async def number(site: Site, digits: str = N) -> types_pb2.Number:
    return await site.rules.GetNumber(pb.GetNumberRequest(number=digits))


def violations(result: bulk_pb2.ImportResult) -> dict[str, str]:
    assert (result.outcome, result.reason) == (bulk_pb2.IMPORT_OUTCOME_REFUSED, types_pb2.INVALID_FIELD)
    return {one.field: one.description for one in result.violations}


async def test_a_row_is_a_number_with_its_lines(site: Site, clock: Clock) -> None:
    assert await site.outcomes([row(N, "13800001234", "01088886666")]) == ["created"]
    made = await number(site)
    assert [list(stage.lines) for stage in made.stages] == [["t13800001234"], ["t01088886666"]]
    assert made.create_time.ToDatetime() == made.update_time.ToDatetime() == clock.now.replace(tzinfo=None)
    assert (await line(site, "t13800001234")).user == "13800001234"
    await check_integrity(site.store)


async def test_the_same_rows_again_change_nothing(site: Site, clock: Clock) -> None:
    rows = [row(f"400123{n:04d}", f"138{n % 7:08d}") for n in range(300)]
    assert set(await site.outcomes(rows)) == {"created"}
    revision = await site.store.revision()
    clock.advance(60)
    assert set(await site.outcomes(rows)) == {"unchanged"}
    assert await site.store.revision() == revision
    await check_integrity(site.store)


async def test_a_changed_row_is_an_update_and_keeps_when_it_was_made(site: Site, clock: Clock) -> None:
    await site.outcomes([row(N, "13800001234")])
    before = await number(site)
    clock.advance(60)
    assert await site.outcomes([row(N, "13800001235")]) == ["updated"]
    after = await number(site)
    assert after.create_time == before.create_time
    assert after.update_time.ToSeconds() == before.update_time.ToSeconds() + 60
    await check_integrity(site.store)
    assert await site.outcomes(
        [bulk_pb2.NumberRow(number=after, lines=[types_pb2.Line(id="t13800001235", user="1001", host="192.0.2.1")])]
    ) == ["updated"], "of a line alone"


async def test_rows_of_several_tenants_in_one_stream(site: Site) -> None:
    await tenants(site, "t0", "t1", "t2")
    assert await site.outcomes(many(400, tenants=3), size=170) == ["created"] * 400
    await check_integrity(site.store)


async def test_what_is_refused_leaves_no_trace_and_the_others_are_written(site: Site) -> None:
    rows = [
        row("4000000001", "13800001234"),
        row("4000000002", "13800001235", "nowhere"),
        row("4000000003", "13800001236"),
    ]
    results = await site.results(rows)
    assert violations(results[1]) == {"number.stages[1].lines[0]": "tenant acme has no line nowhere"}
    stored = (await site.store.list(keys.RULES)).entries
    assert [keys.last_part(one.key) for one in stored if "13800001235" in one.key or "0002" in one.key] == []
    assert [one.outcome for one in (results[0], results[2])] == [bulk_pb2.IMPORT_OUTCOME_CREATED] * 2
    await check_integrity(site.store)


async def test_every_wrong_field_of_a_row_is_told(site: Site) -> None:
    assert violations((await site.results([row("40x", "13800001234", max_call_duration={"seconds": 1})]))[0]) == {
        "number.number": "must be 3 to 15 digits",
        "number.max_call_duration": "must be 10 s to 24 h in whole seconds",
    }
    bad = row(N, "13800001234")
    bad.lines[0].user = "no telephone"
    assert "lines[0].user" in violations((await site.results([bad]))[0])
    bad.lines.add(id="t13800001234")
    assert violations((await site.results([bad]))[0]) == {"lines[1].id": "line 't13800001234' is there already"}
    bad.lines[1].id = "other"
    bad.lines[1].tenant = "best"
    bad.lines[0].user = "100"
    assert violations((await site.results([bad]))[0]) == {"lines[1].tenant": "must be the number's, or empty"}
    del bad.lines[1]
    bad.lines.extend([types_pb2.Line(id=f"l{n}", user="100") for n in range(16)])
    assert violations((await site.results([bad]))[0]) == {"lines": "must have at most 16 entries"}
    assert "number" in violations((await site.results([row(N, "a", flow="x" * 40_000)]))[0])


async def test_a_tenant_must_be_there_and_stays_that_of_its_number(site: Site) -> None:
    await tenants(site, "best")
    (lost,) = await site.results([row(N, "13800001234", tenant="nobody")])
    assert (lost.reason, lost.message) == (types_pb2.RESOURCE_NOT_FOUND, "tenant nobody does not exist")
    await site.outcomes([row(N, "13800001234")])
    (moved,) = await site.results([row(N, "13800001234", tenant="best")])
    assert violations(moved) == {"number.tenant": "cannot be changed: it is acme"}


async def test_rows_see_what_rows_before_them_have_written(site: Site) -> None:
    rows = [row("4000000001", "13800001234"), row("4000000002", "t13800001234"), row("4000000001", "13800001234")]
    assert await site.outcomes(rows) == ["created", "created", "unchanged"]
    again = [row("4000000001", "13800001235"), row("4000000001", "13800001236"), row("4000000001", "t13800001235")]
    assert await site.outcomes(again) == ["updated"] * 3
    assert list((await number(site, "4000000001")).stages[0].lines) == ["t13800001235"]
    await check_integrity(site.store)


async def test_fields_that_a_mask_leaves_out_stay(site: Site) -> None:
    await site.outcomes([row(N, "13800001234", limits={"concurrent_calls": 7}, media="MEDIA_MODE_BYPASS")])
    given = row(N, "13800001235", limits={"concurrent_calls": 8})
    masks = {"number_mask": FieldMask(paths=["limits"]), "line_mask": FieldMask(paths=["user"])}
    assert await site.outcomes([given], **masks) == ["updated"]
    made = await number(site)
    assert (list(made.stages[0].lines), made.limits.concurrent_calls) == (["t13800001234"], 8)
    assert made.media == types_pb2.MEDIA_MODE_BYPASS
    changed = bulk_pb2.NumberRow(number=types_pb2.Number(number=N, tenant="acme"))
    changed.lines.add(id="t13800001234", user="100", host="192.0.2.1")
    (result,) = await site.results([changed], number_mask=FieldMask(paths=["media"]), line_mask=masks["line_mask"])
    assert (result.outcome, (await line(site, "t13800001234")).user) == (bulk_pb2.IMPORT_OUTCOME_UPDATED, "100")
    with invalid() as refusal:
        await site.results([given], number_mask=FieldMask(paths=["limits", "colour"]))
    assert refusal.fields == {"options.number_mask.paths[1]": "Number has no field 'colour'"}


async def test_screening_lists_of_the_operator_are_counted(site: Site) -> None:
    for tenant in ("", "acme"):
        given = screening_pb2.ScreeningList(tenant=tenant, id="fraud" if not tenant else "own")
        await site.rules.CreateScreeningList(pb.CreateScreeningListRequest(screening_list=given))
    rows = [row(f"400000000{n}", "13800001234", screening={"blacklists": ["fraud", "own"]}) for n in range(9)]
    assert set(await site.outcomes(rows)) == {"created"}
    await check_integrity(site.store)
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await site.rules.DeleteScreeningList(pb.DeleteScreeningListRequest(id="fraud"))
    assert set(await site.outcomes([row(f"400000000{n}", "13800001234") for n in range(9)])) == {"updated"}
    await check_integrity(site.store)
    await site.rules.DeleteScreeningList(pb.DeleteScreeningListRequest(id="fraud"))


async def test_a_dry_run_writes_nothing(site: Site) -> None:
    revision = await site.store.revision()
    rows = [row(N, "13800001234"), row("1", "13800001234")]
    assert await site.outcomes(rows, validate_only=True) == ["created", "refused"]
    assert await site.store.revision() == revision


async def test_tenants_change_their_own_numbers_and_nothing_else(site: Site) -> None:
    await tenants(site, "best")
    await site.outcomes([row(N, "13800001234"), row("4007654321", "13800001234", tenant="best")])
    own = As(site.bulk, await key(site.rules, "acme", ADMINISTRATOR, "admin"))
    rows = [
        row(N, "13800001235"),
        row(N, "13800001235", state="NUMBER_STATE_SUSPENDED"),
        row(N, "13800001235", limits={"concurrent_calls": 3}),
        row("4000000001", "13800001234"),
        row("4007654321", "13800001234"),
        row("4007654321", "13800001234", tenant="best"),
    ]
    results = await site.results(rows, bulk=own)
    assert results[0].outcome == bulk_pb2.IMPORT_OUTCOME_UPDATED
    assert violations(results[1]) == {"number.state": "cannot be changed"}
    assert violations(results[2]) == {"number.limits": "cannot be changed"}
    assert [types_pb2.ErrorReason.Name(result.reason) for result in results[3:]] == [
        "RESOURCE_NOT_FOUND",
        "RESOURCE_NOT_FOUND",
        "PERMISSION_REFUSED",
    ]
    reader = As(site.bulk, await key(site.rules, "acme", READER, "reader"))
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await site.results([row(N, "13800001235")], bulk=reader)


async def test_rows_that_are_refused_for_want_of_rights_are_recorded(site: Site) -> None:
    await tenants(site, "best")
    await site.outcomes([row(N, "13800001234"), row("4007654321", "13800001234", tenant="best")])
    own = As(site.bulk, await key(site.rules, "acme", ADMINISTRATOR, "admin"))
    rows = [row(N, "13800001235"), row("4007654321", "13800001234")]
    rows += [row("4007654321", "13800001234", tenant="best")] * 3
    await site.results(rows, bulk=own)
    await site.service.outbox.flush(site.store)
    found = [one for one in await audit.waiting(site.store) if one.HasField("refusal")]
    assert [
        (one.actor.name, one.method, one.refusal.tenant, one.refusal.id, one.refusal.times, one.refusal.hidden)
        for one in found
    ] == [
        ("api-key acme/admin", "ImportNumbers", "acme", "4007654321", 1, True),
        ("api-key acme/admin", "ImportNumbers", "best", "4007654321", 3, False),
    ]
    assert {one.refusal.reason for one in found} == {"PERMISSION_REFUSED"}


def test_every_method_is_in_the_table_of_access() -> None:
    assert access.BULK.keys() == METHODS.keys()
    assert all(OPERATOR in rule.roles for rule in access.BULK.values())
    assert READER not in access.BULK["ImportNumbers"].roles


async def test_a_stream_begins_with_its_options_and_has_bounds(site: Site) -> None:
    with invalid() as refusal:
        async for _ in site.bulk.ImportNumbers(iter([bulk_pb2.ImportNumbersRequest(rows=[row(N, "a")])])):
            pass
    assert refusal.fields == {"options": "is required in the first request"}
    with invalid() as refusal:
        async for _ in site.bulk.ImportNumbers(iter([*requests([]), *requests([])])):
            pass
    assert refusal.fields == {"options": "must be in the first request only"}
    with invalid() as refusal:
        await site.results([row(N, "a")] * 1001, size=1001)
    assert refusal.fields == {"rows": "must have at most 1000 entries"}
    with invalid() as refusal:
        async for _ in site.bulk.ImportNumbers(iter([])):
            pass
    assert await site.results([]) == []


async def test_results_come_while_rows_do(site: Site) -> None:
    """Who waits for a result before it sends more is not kept waiting."""
    call = site.bulk.ImportNumbers()
    await call.write(bulk_pb2.ImportNumbersRequest(options=bulk_pb2.ImportOptions()))
    for n in range(3):
        await call.write(bulk_pb2.ImportNumbersRequest(rows=[row(f"400000000{n}", "13800001234")]))
        response = await asyncio.wait_for(call.read(), 10)
        assert (response.rows_done, len(response.results)) == (n + 1, 1)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_others_that_write_the_same_are_not_lost(store: Any, clock: Clock) -> None:
    """A flow of small changes by others, while the same tenant's numbers are imported."""
    async with serving(Interleaving(store, 1), clock) as site:
        await tenants(site, "acme")
        stop = asyncio.Event()

        async def change() -> int:
            changes = 0
            while not stop.is_set():
                await site.rules.CreateLine(pb.CreateLineRequest(line=Example.line(f"l{changes}")))
                changes += 1
            return changes

        other = asyncio.create_task(change())
        rows = [row(f"400{n:07d}", f"138{n:08d}") for n in range(600)]
        assert set(await site.outcomes(rows)) == {"created"}
        stop.set()
        assert await other > 0
        await check_integrity(site.store)


class Full:
    """A store that is too full, for a while."""

    def __init__(self, looks: float) -> None:
        self.looks = looks

    async def lacking(self) -> str:
        self.looks -= 1
        return "etcd is 81% full" if self.looks >= 0 else ""


async def test_an_import_waits_for_room(store: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_import, "FULL_LOOK_S", 0.01)
    async with serving(store, clock, room=Full(2)) as site:
        await tenants(site, "acme")
        pauses, results = [], []
        async for response in site.responses([row(N, "13800001234")]):
            pauses.append(response.pause)
            results += response.results
        assert pauses == [bulk_pb2.IMPORT_PAUSE_STORE_FULL] * 2 + [bulk_pb2.IMPORT_PAUSE_UNSPECIFIED]
        assert len(results) == 1


async def test_an_import_that_waited_too_long_for_room_ends(store: Any, clock: Clock) -> None:
    settings = BulkSettings(full_wait_s=0)
    async with serving(store, clock, room=Full(10**9), settings=settings) as site:
        await tenants(site, "acme")
        with refused(StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL") as refusal:
            await site.results([row(N, "13800001234")])
        assert refusal.message == "etcd is 81% full"
        assert await site.outcomes([row(N, "13800001234")], validate_only=True) == ["created"], "writes nothing"


async def test_an_import_waits_for_the_audit_log_and_not_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_import, "FULL_LOOK_S", 0.01)
    full, site.service.outbox = site.service.outbox, Outbox(0)
    monkeypatch.setattr(bulk_import, "AUDIT_WAIT_S", 0.05)
    with refused(StatusCode.RESOURCE_EXHAUSTED, "AUDIT_FULL"):
        await site.results([row(N, "13800001234")])
    monkeypatch.setattr(bulk_import, "AUDIT_WAIT_S", 60)
    waiting = asyncio.create_task(site.outcomes([row(N, "13800001234")]))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    site.service.outbox._max = full._max
    assert await waiting == ["created"]


async def test_what_comes_to_more_than_a_commit_holds_is_written_in_several(clock: Clock) -> None:
    """Without pages a commit holds some 40 rows, and 500 are tried."""
    async with serving(MemoryStore(), clock) as site:
        await tenants(site, "acme")
        assert set(await site.outcomes(many_of_acme(500))) == {"created"}
        await check_integrity(site.store)


def many_of_acme(count: int) -> list[bulk_pb2.NumberRow]:
    return [row(f"400{n:07d}", f"138{n:08d}") for n in range(count)]


async def test_a_store_that_is_away_ends_the_stream_and_the_rest_can_follow(clock: Clock) -> None:
    memory = MemoryStore()
    async with serving(memory, clock) as site:
        await tenants(site, "acme")
        rows, done = many_of_acme(300), 0
        with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
            async for response in site.responses(rows, 50):
                done = response.rows_done
                memory.available = done < 100
        memory.available = True
        assert 100 <= done < 300
        assert set(await site.outcomes(rows[done:])) <= {"created", "unchanged"}
        assert set(await site.outcomes(rows)) == {"unchanged"}
