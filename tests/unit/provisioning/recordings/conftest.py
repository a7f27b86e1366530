"""The service over a store in memory, SQLite and a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.recordings import tapes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.recordings import Tapes


@pytest.fixture
async def api(store: MemoryStore, clock: Clock, tmp_path: Path) -> AsyncIterator[Tapes]:
    async with tapes(store, tmp_path, clock) as made:
        yield made
