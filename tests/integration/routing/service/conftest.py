"""A store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.store.memory import MemoryStore
from support import routing
from support.routing import put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(progress_interval_s=0.05)
    rules = (routing.trunk(), routing.line(), routing.number())
    await put(store, types_pb2.Tenant(id="acme"), *rules, routing.node(1), routing.node(2))
    yield store
    await store.close()
