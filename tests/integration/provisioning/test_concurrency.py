"""Concurrent writers against real etcd, through two replicas of the service."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.store.paged import PagedStore
from support import provisioning_race as race
from support.provisioning import Stub, serving, world
from support.stores import open_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.etcd import EtcdServer


@pytest.fixture
async def stores(etcd_server: EtcdServer) -> AsyncIterator[Sequence[PagedStore]]:
    """Connections of two replicas and of an onlooker to the same keys."""
    prefix = f"/race-{uuid4().hex}/"
    opened = [PagedStore(open_etcd(etcd_server, prefix=prefix)) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
async def replicas(stores: Sequence[PagedStore]) -> AsyncIterator[Sequence[Stub]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(store)) for store in stores[:2]]


async def test_rules_hold_together_whatever_is_written_at_once(
    stores: Sequence[PagedStore], replicas: Sequence[Stub]
) -> None:
    seen = await race.anything_goes(stores[2], replicas, seed=1, writers=16, writes=15)
    assert seen["OK"] > 10


async def test_no_update_is_lost(replicas: Sequence[Stub]) -> None:
    assert await race.count_together(replicas, writers=8, each=3) > 0


async def test_neighbours_never_see_each_other(replicas: Sequence[Stub]) -> None:
    await race.neighbours(replicas, writers=100)


async def test_of_writers_with_one_etag_one_wins(replicas: Sequence[Stub]) -> None:
    await race.one_winner(replicas, writers=20)


async def test_what_the_operator_shares_does_not_vanish_under_who_uses_it(
    stores: Sequence[PagedStore], replicas: Sequence[Stub]
) -> None:
    await race.relied_on(stores[2], replicas, tenants=20)


async def test_a_repeated_request_is_done_once(stores: Sequence[PagedStore], replicas: Sequence[Stub]) -> None:
    """Under a real lease, and with answers from both replicas."""
    tenant = pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme"), request_id="one")
    answers = await asyncio.gather(*(replicas[n % 2].CreateTenant(tenant) for n in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert len((await stores[2].list("requests/")).entries) == 1


async def test_changes_are_watched(replicas: Sequence[Stub]) -> None:
    watch = replicas[1].Watch(pb.WatchRequest())
    responses = aiter(watch)
    async with asyncio.timeout(20):
        assert (await anext(responses)).cursor
        await replicas[0].Apply(pb.ApplyRequest(put=world("acme", "4001234567")))
        while not (response := await anext(responses)).changes:
            pass
        watch.cancel()
        assert len(response.changes) == len(world("acme", "4001234567"))
        first = replicas[0].Watch(pb.WatchRequest(cursor=response.cursor))
        await replicas[1].DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
        async for response in first:
            if response.changes:
                break
        first.cancel()
    assert response.changes[0].object.number == types_pb2.Number(number="4001234567", tenant="acme")
    assert response.changes[0].deleted
