"""A whole sidecar in the test's process, between a fake proxy and fake routing replicas."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from signalbox.edge.main import Sidecar
from signalbox.process import Supervisor
from signalbox.settings import EdgeSettings, KamailioSettings, MetricsSettings, RedisSettings
from support.kamailio_fake import KamailioFake, RouteSocket, question
from support.ports import free_address
from support.routing_fake import RoutingFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from signalbox.edge.stats import Stats


@dataclass
class Edge:
    """The sidecar under test and what is around it."""

    sidecar: Sidecar
    supervisor: Supervisor
    registry: CollectorRegistry
    proxy: RouteSocket
    task: asyncio.Task[None]

    @property
    def stats(self) -> Stats:
        return self.sidecar.stats

    def ask(self, *datagrams: bytes) -> None:
        """Send questions as the proxy does."""
        for datagram in datagrams:
            self.proxy.ask(self.sidecar.listener.address, datagram)

    async def answer(self, datagram: bytes) -> dict[str, Any]:
        """Ask once and wait for the decision."""
        before = len(self.proxy.routes)
        self.ask(datagram)
        return (await self.proxy.wait(before + 1))[before].body

    def states(self) -> dict[str, str]:
        """State of each replica by its address."""
        return {replica.name: replica.state.value for replica in self.sidecar.pool.replicas}

    async def ready(self, count: int) -> None:
        """Wait until so many replicas are ready."""
        await until(lambda: list(self.states().values()).count("ready") == count)

    async def stop(self) -> None:
        """SIGTERM."""
        self.supervisor.stopping.set()
        await self.task
        assert not self.supervisor.failed


@pytest.fixture
async def replicas() -> AsyncIterator[list[RoutingFake]]:
    """Two routing replicas."""
    fakes = [RoutingFake(), RoutingFake()]
    for fake in fakes:
        await fake.start()
    yield fakes
    for fake in fakes:
        await fake.stop()


@pytest.fixture
async def kamailio(tmp_path: Path) -> AsyncIterator[KamailioFake]:
    """The control socket of a proxy."""
    fake = KamailioFake(tmp_path / "run")
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
async def start_edge(
    tmp_path: Path, replicas: list[RoutingFake], kamailio: KamailioFake
) -> AsyncIterator[Callable[..., Awaitable[Edge]]]:
    """Starts a sidecar on both replicas; keyword arguments are edge settings. It is stopped at the end."""
    started: list[Edge] = []

    async def start(ready: int | None = None, **changes: Any) -> Edge:
        proxy = await RouteSocket.open()
        values: dict[str, Any] = {
            "ask_listen": "127.0.0.1:0",
            "routing": [fake.address for fake in replicas],
            "state_dir": tmp_path / "state",
            "token_file": tmp_path / "token",
            "metrics": MetricsSettings(listen="127.0.0.1:0"),
            "kamailio": KamailioSettings(
                route_listen=proxy.address,
                runtime_dir=tmp_path / "run",
                event_dir=tmp_path / "events",
                decision_timeout_ms=2000,
            ),
        }
        settings = EdgeSettings(**(values | changes))
        registry = CollectorRegistry()
        sidecar, supervisor = Sidecar(settings, RedisSettings(address=free_address()), registry), Supervisor()
        edge = Edge(sidecar, supervisor, registry, proxy, asyncio.create_task(sidecar.run(supervisor)))
        started.append(edge)
        await until(lambda: sidecar.listener.address[1] != 0)
        await edge.ready(len(settings.routing) if ready is None else ready)
        return edge

    yield start
    for edge in started:
        edge.supervisor.stopping.set()
        with contextlib.suppress(asyncio.CancelledError):
            await edge.task
        await edge.supervisor.cancel()
        edge.proxy.close()


@pytest.fixture
def asked() -> Callable[..., bytes]:
    """Makes question datagrams."""
    return question
