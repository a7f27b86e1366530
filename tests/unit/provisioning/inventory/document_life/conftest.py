"""The services that know of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.documents import check_counts, papers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.documents import Papers


@pytest.fixture
async def api(store: MemoryStore, clock: Clock, tmp_path: Path) -> AsyncIterator[Papers]:
    async with papers(store, tmp_path / "objects", clock) as made:
        await made.fill()
        yield made
        await check_counts(store)
