"""Exports: numbers with their lines, of one revision, from any place on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import bulk_export
from signalbox.provisioning.access import ADMINISTRATOR, READER
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore
from support.bulk import Site, many, row, serving
from support.provisioning import As, invalid, key, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def site(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(bulk_export, "CHUNK", 3)
    async with serving(PagedStore(memory, most=4000)) as site:
        for tenant in ("t0", "t1"):
            await site.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        yield site


async def test_what_was_imported_is_exported_with_its_lines(site: Site) -> None:
    await site.outcomes(many(500, tenants=2))
    rows = await site.exported()
    digits = [row.number.number for row in rows]
    assert digits == sorted(digits, key=lambda one: (one[-2:], one))
    assert len(digits) == 500
    assert all([line.id for line in row.lines] == list(row.number.stages[0].lines) for row in rows)
    assert set(await site.outcomes(rows)) == {"unchanged"}
    assert [row.number.number for row in await site.exported(tenant="t1")] == [f"400{n:07d}" for n in range(250, 500)]


async def test_only_what_fits_a_filter(site: Site) -> None:
    await site.outcomes([row("4000000001", "13800001234", tenant="t0", state="NUMBER_STATE_SUSPENDED"), *many(20)])
    rows = await site.exported(filter='state = "NUMBER_STATE_SUSPENDED"')
    assert [row.number.number for row in rows] == []
    rows = await site.exported(filter='number = "400000001*"')
    assert len(rows) == 10
    with invalid():
        await site.exported(filter="colour = 1")


async def responses(call: Any) -> list[bulk_pb2.ExportNumbersResponse]:
    return [response async for response in call]


async def test_all_of_it_is_of_one_revision_also_after_a_resumption(site: Site) -> None:
    await site.outcomes(many(30))
    request = bulk_pb2.ExportNumbersRequest()
    call = site.bulk.ExportNumbers(request)
    first = await call.read()
    await site.outcomes([row(f"400{n:07d}", "13900001234", tenant="t0") for n in range(40)])
    request.cursor = first.cursor
    rest = await responses(site.bulk.ExportNumbers(request))
    rows = [row for response in (first, *rest) for row in response.rows]
    assert {response.revision for response in rest} == {first.revision}
    assert len(rows) == 30
    assert not any("13900001234" in line.user for row in rows for line in row.lines)
    call.cancel()


async def test_a_revision_that_is_forgotten_is_followed_by_the_newest(site: Site, memory: MemoryStore) -> None:
    await site.outcomes(many(30))
    request = bulk_pb2.ExportNumbersRequest()
    call = site.bulk.ExportNumbers(request)
    first = await call.read()
    call.cancel()
    await site.outcomes(many(40))
    memory.compact(await memory.revision())
    request.cursor = first.cursor
    rest = await responses(site.bulk.ExportNumbers(request))
    assert {response.revision for response in rest} == {await memory.revision()}
    assert len({row.number.number for response in (first, *rest) for row in response.rows}) == 40


async def test_a_cursor_is_of_the_same_request(site: Site) -> None:
    await site.outcomes(many(10))
    first = await site.bulk.ExportNumbers(bulk_pb2.ExportNumbersRequest()).read()
    for fields in ({"tenant": "t0"}, {"filter": "media = MEDIA_MODE_BYPASS"}, {}):
        with invalid() as refusal:
            await site.exported(cursor=first.cursor if fields else first.cursor + "x", **fields)
        assert refusal.fields == {"cursor": "was not given by a response to this request"}


async def test_tenants_export_what_is_theirs(site: Site) -> None:
    await site.outcomes(many(20, tenants=2))
    for role in (ADMINISTRATOR, READER):
        own = As(site.bulk, await key(site.rules, "t0", role, f"key-{role}"))
        call = own.ExportNumbers(bulk_pb2.ExportNumbersRequest(tenant="t0"))
        assert sum(len(one.rows) for one in await responses(call)) == 10
        for tenant in ("t1", "", "nobody"):
            with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
                await responses(own.ExportNumbers(bulk_pb2.ExportNumbersRequest(tenant=tenant)))


async def test_a_tenant_that_is_not_there(site: Site) -> None:
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await site.exported(tenant="nobody")
    assert await site.exported(tenant="t1") == []
