"""The stores that keep the same contract."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore
from support.etcd import etcd_server  # noqa: F401  (a fixture)
from support.screening import client, folds_often  # noqa: F401  (fixtures)
from support.stores import PAGED, PROGRESS_S, open_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalbox.store.base import SeekingStore, Store


@dataclass
class Backend:
    """A store, the one below its pages, and a way to make it forget what was overwritten before a revision."""

    store: Store
    plain: SeekingStore
    compact: Callable[[int], Awaitable[object]]


@pytest.fixture(params=["memory", "etcd", "pages in memory", "pages in etcd"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each store in turn, empty below its prefix."""
    plain: SeekingStore
    if request.param.endswith("memory"):
        plain = memory = MemoryStore(progress_interval_s=PROGRESS_S)

        async def compact(revision: int) -> None:
            memory.compact(revision)

    else:
        server = request.getfixturevalue("etcd_server")
        plain = open_etcd(server)

        async def compact(revision: int) -> None:
            await asyncio.to_thread(server.etcdctl, "compact", str(revision))

    yield Backend(PagedStore(plain, PAGED) if request.param.startswith("pages") else plain, plain, compact)
    await plain.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """The backend's store."""
    return backend.store


@pytest.fixture
def seeking(backend: Backend) -> SeekingStore:
    """The store below the pages, if there are any."""
    return backend.plain
