"""What the store says of a media node, from the sidecar's start to its end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ConfigurationError
from signalbox.media.main import Sidecar, control_address
from signalbox.media.metrics import MediaMetrics
from signalbox.ng import NgClient
from signalbox.settings import MediaSettings
from signalbox.store import keys
from signalbox.store.memory import MemoryStore
from support.ng import FakeNg
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def fake() -> AsyncIterator[FakeNg]:
    async with FakeNg.open() as server:
        yield server


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class Running:
    """A sidecar with its coroutines, ended in order at the end of the block."""

    def __init__(self, store: MemoryStore, fake: FakeNg, **settings: object) -> None:
        self.settings = MediaSettings(
            id="media-7", control=fake.address, ping_interval_ms=20, ping_timeout_ms=20, capacity=500, **settings
        )
        self.store = store
        self.registry = CollectorRegistry()

    async def __aenter__(self) -> Running:
        self.client = await NgClient.connect(self.settings.control)
        self.sidecar = Sidecar(self.settings, self.store, self.client, MediaMetrics(self.registry))
        coroutines = (self.sidecar.ping(), self.sidecar.count(), self.sidecar.register())
        self.tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
        self.client.close()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def node(self) -> routing_pb2.MediaNode | None:
        entry = await self.store.get(keys.live_media("media-7"))
        return routing_pb2.MediaNode.FromString(entry.value) if entry else None

    async def until(self, condition: Callable[[routing_pb2.MediaNode], bool]) -> routing_pb2.MediaNode:
        async with asyncio.timeout(5):
            while True:
                node = await self.node()
                if node is not None and condition(node):
                    return node
                await asyncio.sleep(0.002)


async def test_the_node_is_registered_whole(store: MemoryStore, fake: FakeNg) -> None:
    fake.calls = 42
    async with Running(store, fake) as running:
        node = await running.until(lambda node: node.healthy and node.calls == 42)
        assert node == routing_pb2.MediaNode(
            id="media-7", number=1, control_address=f"udp:{fake.address}", capacity=500, calls=42, healthy=True
        )
        ready, facts = running.sidecar.readiness()
        assert facts["number"] == 1
        assert ready == facts["registered"]
        sample = running.registry.get_sample_value
        assert sample("signalbox_media_rtpengine_healthy") == 1
        assert sample("signalbox_media_capacity_calls") == 500


async def test_ill_health_is_published_at_once(store: MemoryStore, fake: FakeNg) -> None:
    async with Running(store, fake, lease_ttl_s=30) as running:
        await running.until(lambda node: node.healthy)
        fake.silent = True
        started = asyncio.get_running_loop().time()
        await running.until(lambda node: not node.healthy)
        # Long before the lease is renewed next: two time-outs, and the time of a busy machine.
        assert asyncio.get_running_loop().time() - started < 1
        assert running.sidecar.readiness()[0] is False
        assert running.registry.get_sample_value("signalbox_media_rtpengine_healthy") == 0
        fake.silent = False
        await running.until(lambda node: node.healthy)


async def test_an_rtpengine_that_never_answered_is_registered_unhealthy(store: MemoryStore, fake: FakeNg) -> None:
    fake.silent = True
    async with Running(store, fake) as running:
        node = await running.until(lambda _node: True)
        assert not node.healthy
        assert running.sidecar.readiness()[0] is False


async def test_small_changes_of_calls_are_kept_to_ourselves(store: MemoryStore, fake: FakeNg) -> None:
    async with Running(store, fake) as running:
        await running.until(lambda node: node.healthy)
        health = running.sidecar.health
        published = []
        for calls in (4, 5, 9, 10, 3, 0):
            fake.calls = calls
            health.counted(calls)
            await until(lambda: running.sidecar.registered)
            published.append((await running.until(lambda _node: True)).calls)
        assert published == [0, 5, 5, 10, 3, 0]


async def test_the_store_may_be_away_at_the_start(store: MemoryStore, fake: FakeNg) -> None:
    store.available = False
    async with Running(store, fake) as running:
        await until(lambda: running.sidecar.health.healthy)
        assert running.sidecar.readiness()[0] is False
        store.available = True
        await running.until(lambda node: node.healthy)


async def test_it_registers_again_after_the_store_was_away(store: MemoryStore, fake: FakeNg) -> None:
    async with Running(store, fake, lease_ttl_s=2) as running:
        await running.until(lambda node: node.healthy)
        store.available = False
        fake.silent = True
        await until(lambda: not running.sidecar.health.healthy)
        assert not running.sidecar.registered
        store.available = True
        await running.until(lambda node: not node.healthy)


async def test_draining_waits_for_calls_and_is_seen(store: MemoryStore, fake: FakeNg) -> None:
    fake.calls = 1
    async with Running(store, fake) as running:
        await running.until(lambda node: node.healthy)
        draining = asyncio.create_task(running.sidecar.drain())
        node = await running.until(lambda node: node.draining)
        assert node.healthy
        assert running.sidecar.readiness()[0] is False
        assert not draining.done()
        fake.calls = 0
        await asyncio.wait_for(draining, 5)
        await running.end()
        await running.sidecar.withdraw()
        assert await running.node() is None
        entry = await store.get(keys.media_id("media-7"))
        assert entry is not None
        assert entry.value == b"1"


async def test_draining_has_an_end(store: MemoryStore, fake: FakeNg) -> None:
    fake.calls = 1
    async with Running(store, fake, drain_s=0.05) as running:
        await running.until(lambda node: node.healthy)
        await asyncio.wait_for(running.sidecar.drain(), 5)


async def test_a_dead_rtpengine_does_not_hold_up_the_end(store: MemoryStore, fake: FakeNg) -> None:
    async with Running(store, fake, drain_s=60) as running:
        await running.until(lambda node: node.healthy)
        fake.raw = b"nonsense"
        await asyncio.wait_for(running.sidecar.drain(), 5)


async def test_withdrawing_without_a_store_is_no_error(store: MemoryStore, fake: FakeNg) -> None:
    async with Running(store, fake) as running:
        await running.sidecar.withdraw()
        await running.until(lambda node: node.healthy)
        await running.end()
        store.available = False
        await running.sidecar.withdraw()
        store.available = True
        left = await store.get(keys.live_media("media-7"))
        assert left is not None, "the lease takes it away later"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"control": "127.0.0.1:2223"}, "udp:127.0.0.1:2223"),
        ({"control": "127.0.0.1:2223", "advertise_control": "192.0.2.3:22"}, "udp:192.0.2.3:22"),
        ({"control": "[2001:db8::1]:2223"}, "udp:[2001:db8::1]:2223"),
    ],
)
def test_the_address_for_the_proxies(settings: dict[str, str], expected: str) -> None:
    assert control_address(MediaSettings(**settings)) == expected


@pytest.mark.parametrize("address", ["rtpengine.example:2223", "0.0.0.0:2223", "192.0.2.1:0"])
def test_addresses_that_a_proxy_cannot_use(address: str) -> None:
    with pytest.raises(ConfigurationError, match="advertise_control"):
        control_address(MediaSettings(advertise_control=address))
