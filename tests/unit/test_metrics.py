"""The side door."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from signalbox import metrics
from signalbox.metrics import SideDoor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class State:
    """What the process says of itself."""

    def __init__(self) -> None:
        self.ready = False

    def __call__(self) -> tuple[bool, Mapping[str, object]]:
        return self.ready, {"rules": 7}


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def door(state: State, registry: CollectorRegistry) -> AsyncIterator[SideDoor]:
    door = SideDoor("127.0.0.1:0", state, registry)
    await door.start()
    yield door
    await door.stop()


async def get(door: SideDoor, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{door.port}{path}") as answer:
        return answer.status, await answer.text()


async def test_metrics_are_prometheus_text(door: SideDoor, registry: CollectorRegistry) -> None:
    Counter("calls", "Calls.", registry=registry).inc(3)
    status, text = await get(door, "/metrics")
    assert status == 200
    assert "calls_total 3.0" in text


async def test_readiness_is_what_the_process_says(door: SideDoor, state: State) -> None:
    assert await get(door, "/readyz") == (503, '{"ready": false, "rules": 7}')
    state.ready = True
    assert await get(door, "/readyz") == (200, '{"ready": true, "rules": 7}')


async def test_alive_while_the_loop_turns(door: SideDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await get(door, "/healthz"))[0] == 200
    monkeypatch.setattr(metrics, "HEARTBEAT_LIMIT_S", 0.0)
    assert (await get(door, "/healthz"))[0] == 503


async def test_the_heartbeat_is_kept_up(door: SideDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "HEARTBEAT_INTERVAL_S", 0.001)
    monkeypatch.setattr(door, "_beat", float("-inf"))
    assert (await get(door, "/healthz"))[0] == 503
    task = asyncio.create_task(door.heartbeat())
    async with asyncio.timeout(5):
        while (await get(door, "/healthz"))[0] != 200:
            pass
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_ipv6_address(state: State, registry: CollectorRegistry) -> None:
    door = SideDoor("[::1]:0", state, registry)
    await door.start()
    try:
        url = f"http://[::1]:{door.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
    finally:
        await door.stop()


async def test_an_address_that_is_taken(door: SideDoor, state: State, registry: CollectorRegistry) -> None:
    other = SideDoor(f"127.0.0.1:{door.port}", state, registry)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
    await other.stop()


async def test_stopping_before_starting(state: State) -> None:
    door = SideDoor("127.0.0.1:0", state)
    await door.stop()
    await door.start()
    try:
        assert door.port > 0
    finally:
        await door.stop()
