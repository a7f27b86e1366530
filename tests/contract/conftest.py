"""The two stores that keep the same contract."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.etcd import etcd_server  # noqa: F401  (a fixture)
from support.stores import PROGRESS_S, open_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalbox.store.base import Store


@dataclass
class Backend:
    """A store and a way to make it forget what was overwritten before a revision."""

    store: Store
    compact: Callable[[int], Awaitable[object]]


@pytest.fixture(params=["memory", "etcd"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each store in turn, empty below its prefix."""
    if request.param == "memory":
        memory = MemoryStore(progress_interval_s=PROGRESS_S)

        async def forget(revision: int) -> None:
            memory.compact(revision)

        yield Backend(memory, forget)
        await memory.close()
        return
    server = request.getfixturevalue("etcd_server")
    store = open_etcd(server)
    yield Backend(store, lambda revision: asyncio.to_thread(server.etcdctl, "compact", str(revision)))
    await store.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """The backend's store."""
    return backend.store
