"""Concurrent writers, two replicas of the service on one store in memory that lets them interleave anyhow."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support import provisioning_race as race
from support.provisioning import Interleaving, Stub, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=[1, 2, 3], ids="seed {}".format)
async def replicas(store: MemoryStore, request: pytest.FixtureRequest) -> AsyncIterator[Sequence[Stub]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(Interleaving(store, request.param + n))) for n in range(2)]


async def test_rules_hold_together_whatever_is_written_at_once(store: MemoryStore, replicas: Sequence[Stub]) -> None:
    seen = await race.anything_goes(store, replicas, seed=1, writers=24, writes=25)
    assert {"OK", "RESOURCE_IN_USE", "RESOURCE_EXISTS", "INVALID_FIELD"} <= set(seen)


async def test_no_update_is_lost(replicas: Sequence[Stub]) -> None:
    assert await race.count_together(replicas, writers=10, each=5) > 0


async def test_neighbours_never_see_each_other(replicas: Sequence[Stub]) -> None:
    await race.neighbours(replicas, writers=60)


async def test_of_writers_with_one_etag_one_wins(replicas: Sequence[Stub]) -> None:
    await race.one_winner(replicas, writers=20)


async def test_what_the_operator_shares_does_not_vanish_under_who_uses_it(
    store: MemoryStore, replicas: Sequence[Stub]
) -> None:
    await race.relied_on(store, replicas, tenants=8)
