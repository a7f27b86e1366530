"""A recorder's parts, one node, and a store in memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.captures_fake import FakeNode
from support.recording_work import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MEMORY = Path("/dev/shm")


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory: SQLite waits for the disk at every commit, and a test is not about that."""
    path = Path(tempfile.mkdtemp(prefix="signalbox-", dir=MEMORY if MEMORY.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(progress_interval_s=0.1)


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[FakeNode]:
    """A media node that is registered."""
    async with FakeNode().serving(store) as node:
        yield node


@pytest.fixture
async def bench(store: MemoryStore, fast_path: Path) -> AsyncIterator[Bench]:
    """A recorder that does not claim yet."""
    async with Bench.open(store, fast_path) as bench:
        yield bench
