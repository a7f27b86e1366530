"""redis by the name of a service whose pod has moved: counts go on at the new address."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.routing.counters import RedisCounters
from signalbox.settings import CountersSettings, RedisSettings
from support.counters import PREFIX, calls, claim, counted, running
from support.redis import RedisServer, redis_server
from support.tcp import Relay
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["redis_server"]

NAME = "redis.test"
NUMBER = "number/4001234567"
OLD, NEW = "127.0.0.23", "127.0.0.24"


@pytest.fixture
async def addresses(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names that the loop resolves by this table."""
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo
    table: dict[str, str] = {}

    async def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Sequence[Any]:
        return await resolve(table.get(host, host), *rest, **named)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    return table


@pytest.mark.parametrize("silent", [False, True])
async def test_counts_go_on_where_redis_has_moved(
    redis_server: RedisServer, addresses: dict[str, str], silent: bool
) -> None:
    async with Relay(redis_server.address, OLD) as old:
        addresses[NAME] = OLD
        settings = RedisSettings(address=f"{NAME}:{old.port}", prefix=PREFIX, timeout_ms=200)
        async with running(RedisCounters(settings, CountersSettings())) as counters:
            assert (await counters.settle([claim("before", calls(NUMBER, 9))]))[0].counted
            if silent:
                old.freeze()
            else:
                await old.__aexit__()
            assert not (await counters.settle([claim("meanwhile", calls(NUMBER, 9))]))[0].counted
            async with Relay(redis_server.address, NEW, old.port) as new:
                addresses[NAME] = NEW
                await until(lambda: counters.available)
                assert await counted(counters, NUMBER) == 2, "what went on uncounted is counted"
                assert new.connections
        if silent:
            old.thaw()
