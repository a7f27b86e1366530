"""The services on a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.clock import Clock
from support.prompts import Booth, booth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def api(store: MemoryStore, clock: Clock, tmp_path: Path) -> AsyncIterator[Booth]:
    async with booth(store, tmp_path / "objects", clock) as made:
        await made.fill()
        yield made
