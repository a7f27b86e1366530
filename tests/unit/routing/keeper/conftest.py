"""A store that is watched, and a keeper that does not wait long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.routing import keeper
from signalbox.store.paged import PagedStore
from support.following import (
    Watched,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TURN_S", 0.01), ("CARRY_S", 0.02), ("KNOWN_S", 0.1), ("WAIT_S", 0.01), ("AGAIN_S", 0.2)):
        monkeypatch.setattr(keeper, name, seconds)


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    store = Watched()
    yield store
    await store.close()


@pytest.fixture
def paged(store: Watched) -> PagedStore:
    return PagedStore(store)
