"""A provisioning service on a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.clock import Clock
from support.provisioning import Stub, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def api(store: MemoryStore, clock: Clock) -> AsyncIterator[Stub]:
    async with serving(store, clock=clock) as stub:
        yield stub
