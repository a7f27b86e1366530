"""The counters' own side of what their client does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from signalbox.routing.counters import RedisCounters
from signalbox.settings import CountersSettings, RedisSettings

if TYPE_CHECKING:
    import pytest


def swallowing(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> RedisCounters:
    """Counters whose client swallows that its task is cancelled, and answers or fails instead."""

    async def evalsha(*_: object) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
        return b""

    counters = RedisCounters(RedisSettings(timeout_ms=1000), CountersSettings())
    monkeypatch.setattr(counters._redis, "evalsha", evalsha)
    return counters


async def test_a_cancellation_that_the_client_swallows_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (None, RedisConnectionError("closed")):
        task = asyncio.create_task(swallowing(monkeypatch, error).run())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()


async def test_a_client_is_made_and_connects_to_nothing_yet() -> None:
    counters = RedisCounters(RedisSettings(), CountersSettings())
    assert isinstance(counters._redis, Redis)
    assert counters.available
    await counters.close()
