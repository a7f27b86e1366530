"""Both services on a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.clock import Clock
from support.inventory import Site, check_agreement, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(progress_interval_s=0.05)


@pytest.fixture
async def api(store: MemoryStore, clock: Clock) -> AsyncIterator[Site]:
    """A site whose store is looked over when the test ends."""
    async with site(store, clock) as made:
        await made.fill()
        yield made
        store.available = True
        await check_agreement(store)
