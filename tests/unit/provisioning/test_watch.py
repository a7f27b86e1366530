"""Watch: every change of what the caller may see, in order, resumed without loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning.access import ADMINISTRATOR, READER
from signalbox.store import keys
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore
from support import provisioning
from support.provisioning import As, Example, Stub, invalid, key, refused, serving, shared, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_S = 10


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(progress_interval_s=0.05)


class Watching:
    """A watch, from its first response on."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._responses = aiter(call)
        self.cursor = ""

    async def begin(self) -> Watching:
        """Take the first response."""
        first = await self.next()
        assert not first.changes
        return self

    async def next(self) -> pb.WatchResponse:
        """The next response."""
        async with asyncio.timeout(DEADLINE_S):
            response: pb.WatchResponse = await anext(self._responses)
        self.cursor = response.cursor
        return response

    async def changes(self) -> list[tuple[str, str, bool]]:
        """The next response with changes: kind, id and whether it was deleted, of each."""
        while True:
            response = await self.next()
            if response.changes:
                return [described(change) for change in response.changes]

    def end(self) -> None:
        self._call.cancel()


def described(change: pb.Change) -> tuple[str, str, bool]:
    resource = change.object.WhichOneof("object") or ""
    rule: Any = getattr(change.object, resource)
    name = rule.number if resource == "number" else rule.id
    return resource, "/".join(filter(None, [getattr(rule, "tenant", ""), name])), change.deleted


async def watch(api: Any, **fields: str) -> Watching:
    return await Watching(api.Watch(pb.WatchRequest(**fields))).begin()


@pytest.fixture
async def api(store: MemoryStore) -> AsyncIterator[Stub]:
    async with serving(store) as stub:
        await stub.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        await stub.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="best")))
        yield stub


async def test_changes_come_in_order_with_their_objects(api: Stub) -> None:
    watching = await watch(api)
    created = await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    response = await watching.next()
    while not response.changes:
        response = await watching.next()
    assert response.changes[0].object.line == created
    await api.CreateNumber(pb.CreateNumberRequest(number=Example.number("4001234567", ["a"])))
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))
    assert [await watching.changes() for _ in range(3)] == [
        [("number", "acme/4001234567", False)],
        [("number", "acme/4001234567", True)],
        [("line", "acme/a", True)],
    ]
    watching.end()


async def test_one_step_is_one_response(api: Stub) -> None:
    watching = await watch(api)
    await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567"), request_id="secret"))
    changes = await watching.changes()
    # The tenant stays as it was.
    assert len(changes) == len(world("acme", "4001234567")) - 1
    watching.end()


async def test_a_watch_is_resumed_from_its_cursor(api: Stub) -> None:
    watching = await watch(api)
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    await watching.changes()
    watching.end()
    for id in ("b", "c"):
        await api.CreateLine(pb.CreateLineRequest(line=Example.line(id)))
    again = await watch(api, cursor=watching.cursor)
    assert [await again.changes() for _ in range(2)] == [[("line", "acme/b", False)], [("line", "acme/c", False)]]
    again.end()


async def test_while_nothing_changes_the_cursor_moves_on(api: Stub, store: MemoryStore) -> None:
    watching = await watch(api)
    first = watching.cursor
    await store.commit([], [Put(keys.live_edge("edge-1"), b"")])
    while watching.cursor == first:
        assert not (await watching.next()).changes
    watching.end()


async def test_a_cursor_that_is_too_old(api: Stub, store: MemoryStore) -> None:
    watching = await watch(api)
    watching.end()
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("b")))
    store.compact(await store.revision())
    with refused(StatusCode.OUT_OF_RANGE, "RESYNC_REQUIRED"):
        async for _ in api.Watch(pb.WatchRequest(cursor=watching.cursor)):
            pass


async def test_a_cursor_of_a_store_that_has_gone_back(api: Stub) -> None:
    watching = await watch(api)
    watching.end()
    async with serving(MemoryStore()) as other:
        with refused(StatusCode.OUT_OF_RANGE, "RESYNC_REQUIRED"):
            async for _ in other.Watch(pb.WatchRequest(cursor=watching.cursor)):
                pass


async def test_what_is_no_cursor(api: Stub) -> None:
    with invalid() as refusal:
        async for _ in api.Watch(pb.WatchRequest(cursor="nonsense")):
            pass
    assert list(refusal.fields) == ["cursor"]


async def test_the_store_goes_away(api: Stub, store: MemoryStore) -> None:
    watching = await watch(api)
    store.available = False
    with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        while True:
            await watching.next()


async def test_a_damaged_value_is_passed_over(api: Stub, store: MemoryStore) -> None:
    watching = await watch(api)
    await store.commit([], [Put(keys.line("acme", "a"), b"\xff")])
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("b")))
    assert await watching.changes() == [("line", "acme/b", False)]
    watching.end()


async def test_a_tenant_sees_its_own_and_what_is_shared(api: Stub) -> None:
    reader = As(api, await key(api, "acme", READER))
    watching = await watch(reader)
    own = await watch(reader, tenant="acme")
    await api.Apply(pb.ApplyRequest(put=world("best", "4002222222")))
    await api.CreateTrunk(pb.CreateTrunkRequest(trunk=types_pb2.Trunk(id="t", source_addresses=["192.0.2.1"])))
    await key(api, "acme", ADMINISTRATOR, "second")
    await api.Apply(pb.ApplyRequest(put=shared()[:1]))
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4002222222"))
    await api.Apply(pb.ApplyRequest(put=world("acme", "4001111111")))
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4001111111"))
    assert await watching.changes() == [("calendar", "x", False)]
    for one in (watching, own):
        assert {name.partition("/")[0] for _, name, _ in await one.changes()} == {"acme"}
        assert await one.changes() == [("number", "acme/4001111111", True)]
        one.end()


async def test_the_operator_may_watch_one_tenant(api: Stub) -> None:
    watching = await watch(api, tenant="acme")
    await api.Apply(pb.ApplyRequest(put=shared()))
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a", "best")))
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    await api.UpdateTenant(pb.UpdateTenantRequest(tenant=types_pb2.Tenant(id="acme", display_name="A")))
    assert [await watching.changes() for _ in range(2)] == [[("line", "acme/a", False)], [("tenant", "acme", False)]]
    watching.end()


async def test_a_replica_that_stops_ends_its_watches(store: MemoryStore) -> None:
    service = provisioning.service(store)
    async with provisioning.served(service) as api:
        watching = await watch(api)
        service.draining = True
        with refused(StatusCode.UNAVAILABLE, "DRAINING"):
            while True:
                await watching.next()
        with refused(StatusCode.UNAVAILABLE, "DRAINING"):
            await api.ListTenants(pb.ListTenantsRequest())


async def test_another_tenants_cursor_and_name(api: Stub) -> None:
    theirs = As(api, await key(api, "best", READER))
    watching = await watch(theirs)
    watching.end()
    reader = As(api, await key(api, "acme", READER))
    with invalid():
        async for _ in reader.Watch(pb.WatchRequest(cursor=watching.cursor)):
            pass
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        async for _ in reader.Watch(pb.WatchRequest(tenant="best")):
            pass


async def test_a_key_that_is_deleted_ends_its_watches(api: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.provisioning.serving.ADMITTED_S", 0.0)
    watching = await watch(As(api, await key(api, "acme", READER)))
    await api.DeleteApiKey(pb.DeleteApiKeyRequest(tenant="acme", id="key"))
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED"):
        while True:
            await watching.next()
