"""A store in memory."""

from __future__ import annotations

import pytest
from signalbox.store.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
