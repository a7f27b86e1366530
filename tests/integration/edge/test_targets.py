"""Targets of trunks, asked through a real proxy by a whole sidecar."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge.main import Sidecar
from signalbox.process import Supervisor
from signalbox.settings import RedisSettings
from support.kamailio import TOKEN, Kamailio
from support.ports import free_address
from support.routing_fake import RoutingFake
from support.sip_agent import Agent, Message
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

INTERVAL_S = 5


class Carrier(Agent):
    """A target that answers OPTIONS with ``code``; 0: not at all."""

    code = 200

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = Message(data)
        self.seen.append(message)
        if self.code:
            self.send(self.reply(message, self.code), addr)


@pytest.fixture
def proxy() -> Iterator[Kamailio]:
    with Kamailio() as running:
        yield running


@pytest.fixture
async def routing() -> AsyncIterator[RoutingFake]:
    async with RoutingFake() as fake:
        yield fake


@pytest.fixture
async def carriers(proxy: Kamailio) -> AsyncIterator[list[Carrier]]:
    made = [await Carrier((proxy.host, proxy.port)).start(f"127.0.1.{n}") for n in (1, 2)]
    yield made
    for carrier in made:
        carrier.close()


class Edge:
    """A sidecar beside the proxy."""

    def __init__(self, proxy: Kamailio, routing: RoutingFake, directory: Path) -> None:
        (directory / "token").write_text(TOKEN)
        changes = {"routing": [routing.address], "state_dir": directory / "state", "token_file": directory / "token"}
        settings = proxy.settings.model_copy(update=changes)
        self.registry = CollectorRegistry()
        self.sidecar = Sidecar(settings, RedisSettings(address=free_address()), self.registry)
        self._supervisor = Supervisor()
        self._running = asyncio.create_task(self.sidecar.run(self._supervisor))

    def alive(self, carrier: Carrier) -> bool | None:
        """What the sidecar thinks of a carrier; None: it is not asked."""
        states = {(target.host, target.port): alive for target, alive in self.sidecar.targets.states()}
        return states.get((carrier.host, carrier.port))

    def gauge(self, name: str, **labels: str) -> float | None:
        """A metric of targets."""
        return self.registry.get_sample_value(f"signalbox_edge_{name}", labels)

    async def stop(self) -> None:
        self._supervisor.stopping.set()
        await self._running
        assert not self._supervisor.failed


@pytest.fixture
async def edge(proxy: Kamailio, routing: RoutingFake, tmp_path: Path) -> AsyncIterator[Edge]:
    edge = Edge(proxy, routing, tmp_path)
    await until(lambda: edge.sidecar.pool.healthy)
    yield edge
    await edge.stop()


def snapshot(version: str, *carriers: Carrier) -> pb.WatchEdgeResponse:
    """One trunk for each carrier, with the shortest interval and the lowest thresholds."""
    made = pb.WatchEdgeResponse(version=version)
    for number, carrier in enumerate(carriers):
        trunk = made.trunks.add(id=f"trunk-{number}")
        trunk.targets.add(host=carrier.host, port=carrier.port)
        trunk.health_check.interval.seconds = INTERVAL_S
        trunk.health_check.failures = trunk.health_check.successes = 1
    return made


async def test_what_becomes_of_targets_is_told_and_measured(
    edge: Edge, proxy: Kamailio, routing: RoutingFake, carriers: list[Carrier]
) -> None:
    one, two = carriers
    two.code = 503
    routing.push(snapshot("v1", one))
    await until(lambda: len(one.seen) == 1)
    assert routing.targets == [[]], "first after hello"
    assert edge.alive(one) == 1
    # Another trunk is asked at once, and found dead; nothing changes for the first.
    routing.push(snapshot("v2", one, two))
    await until(lambda: routing.targets == [[], [two.host]], 2)
    assert (edge.alive(one), edge.alive(two)) == (1, 0)
    assert (edge.gauge("targets_watched"), edge.gauge("targets_dead")) == (2, 1)
    assert edge.gauge("target_dead", target=f"udp:{two.host}:{two.port}") == 1
    assert edge.gauge("target_dead", target=f"udp:{one.host}:{one.port}") is None
    assert edge.registry.get_sample_value("signalbox_edge_proxy_count", {"name": "events_lost"}) == 0
    # Another replica hears it with the hello.
    await routing.stop()
    await routing.start()
    await until(lambda: routing.targets == [[], [two.host], [two.host]])
    two.code = 404
    await until(lambda: routing.targets[-1] == [], INTERVAL_S + 3)
    assert edge.alive(two) == 1
    # Silence, and then a trunk that is there no more.
    one.code = 0
    await until(lambda: routing.targets[-1] == [one.host], 2 * INTERVAL_S + 6)
    routing.push(snapshot("v3", two))
    await until(lambda: routing.targets[-1] == [], 2)
    assert edge.alive(one) is None
    assert {message.method for message in (*one.seen, *two.seen)} == {"OPTIONS"}
    assert proxy.counter("forged_in_dialog") == proxy.counter("stray_replies") == 0


async def test_a_restarted_proxy_begins_with_all_targets_alive(
    edge: Edge, proxy: Kamailio, routing: RoutingFake, carriers: list[Carrier]
) -> None:
    one, _ = carriers
    one.code = 503
    routing.push(snapshot("v1", one))
    await until(lambda: edge.alive(one) == 0)
    proxy.kill(signal.SIGKILL)
    await until(lambda: not edge.sidecar.applier.proxy_up)
    assert edge.alive(one) == 0
    asked = len(one.seen)
    one.code = 200
    await asyncio.to_thread(proxy.start, marked=False)
    await until(lambda: edge.alive(one) == 1, 5)
    await until(lambda: len(one.seen) > asked)
    assert routing.targets[-1] == []


async def test_a_restart_between_two_looks_is_seen_by_the_missing_mark(
    edge: Edge, proxy: Kamailio, routing: RoutingFake, carriers: list[Carrier]
) -> None:
    one, _ = carriers
    one.code = 503
    routing.push(snapshot("v1", one))
    await until(lambda: edge.alive(one) == 0 and edge.sidecar.applier.in_step)
    one.code = 0
    proxy.rpc("htable.delete", "cfg", "version")
    await until(lambda: edge.alive(one) == 1, 3)
    assert edge.sidecar.applier.proxy_life == 2


async def test_a_restarted_sidecar_begins_with_all_targets_alive_and_says_so(
    proxy: Kamailio, routing: RoutingFake, carriers: list[Carrier], tmp_path: Path
) -> None:
    one, _ = carriers
    one.code = 503
    routing.push(snapshot("v1", one))
    first = Edge(proxy, routing, tmp_path)
    await until(lambda: first.alive(one) == 0 and routing.targets[-1:] == [[one.host]])
    await first.stop()
    one.code = 0
    second = Edge(proxy, routing, tmp_path)
    await until(lambda: routing.targets[-1] == [])
    assert second.alive(one) == 1, "its last snapshot tells it what to ask"
    await second.stop()
