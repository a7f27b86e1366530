"""A worker, with all that it asks played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.voice_calls import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.open() as world:
        yield world
