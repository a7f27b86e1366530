"""Counters for tests: several replicas' over one redis, claims in few words, and what redis holds."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from signalbox.domain.claims import Claim, DialClaim, Limit, Order, Window
from signalbox.routing.counters import RedisCounters
from signalbox.settings import CountersSettings, RedisSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis import RedisServer

PREFIX = "test:"


def make(server: RedisServer, timeout_ms: int = 1000, **settings: float) -> RedisCounters:
    """One replica's counters. ``settings``: leases."""
    redis = RedisSettings(address=server.address, prefix=PREFIX, timeout_ms=timeout_ms)
    return RedisCounters(redis, CountersSettings(**settings))


@asynccontextmanager
async def running(counters: RedisCounters) -> AsyncIterator[RedisCounters]:
    """With its long-lived coroutine, closed at the end."""

    task: asyncio.Task[None] = asyncio.create_task(counters.run())
    try:
        yield counters
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await counters.close()


def calls(name: str, most: int) -> Limit:
    """A limit of calls at once."""
    return Limit(name, Window.CALLS, most)


def dial(*caps: int, order: Order = Order.GIVEN, key: str = "", takes: int = 1, most: int = 16) -> DialClaim:
    """A dial of the lines a, b, c, ... with these caps."""
    lines = tuple(f"line/acme/{chr(97 + at)}" for at in range(len(caps)))
    return DialClaim(lines, caps, order, key, takes, most)


def claim(call_id: str, *limits: Limit, dials: tuple[DialClaim, ...] = (), part: str = "", look: bool = False) -> Claim:
    """A claim of the tenant acme."""
    return Claim(call_id, "acme", limits, dials, part, look)


async def counted(counters: RedisCounters, name: str) -> int:
    """Calls that live under a name."""
    (claimed,) = await counters.settle([claim("observer", calls(name, 1), look=True)])
    assert claimed.counted
    return claimed.counts[0]


async def keys(server: RedisServer, pattern: str = "*") -> dict[str, float]:
    """Keys without the prefix, and in how many seconds each will be gone (-1: never)."""
    async with Redis(host="127.0.0.1", port=server.port) as client:
        names = [name async for name in client.scan_iter(f"{PREFIX}{pattern}")]
        return {name.decode().removeprefix(PREFIX): await client.ttl(name) for name in names}
