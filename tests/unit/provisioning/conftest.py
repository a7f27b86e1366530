"""A provisioning service on a store in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from signalbox.store.memory import MemoryStore
from support.provisioning import Stub, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    """Stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)


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
