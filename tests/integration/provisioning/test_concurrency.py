"""Concurrent writers against real etcd, through two replicas of the service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support import provisioning_race as race
from support.provisioning import Stub, serving
from support.stores import open_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signalbox.store.etcd import EtcdStore
    from support.etcd import EtcdServer


@pytest.fixture
async def stores(etcd_server: EtcdServer) -> AsyncIterator[Sequence[EtcdStore]]:
    """Connections of two replicas and of an onlooker to the same keys."""
    prefix = f"/race-{uuid4().hex}/"
    opened = [open_etcd(etcd_server, prefix=prefix) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
async def replicas(stores: Sequence[EtcdStore]) -> AsyncIterator[Sequence[Stub]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(store)) for store in stores[:2]]


async def test_rules_hold_together_whatever_is_written_at_once(
    stores: Sequence[EtcdStore], replicas: Sequence[Stub]
) -> None:
    seen = await race.anything_goes(stores[2], replicas, seed=1, writers=16, writes=15)
    assert seen["OK"] > 10


async def test_no_update_is_lost(replicas: Sequence[Stub]) -> None:
    assert await race.count_together(replicas, writers=8, each=3) > 0


async def test_neighbours_never_see_each_other(replicas: Sequence[Stub]) -> None:
    await race.neighbours(replicas, writers=100)


async def test_of_writers_with_one_etag_one_wins(replicas: Sequence[Stub]) -> None:
    await race.one_winner(replicas, writers=20)
