"""A user agent and those who call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.sip_calls import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()
