"""One worker of the routing service: a gRPC server over one replica of the rules.

``python -m signalbox.routing.worker`` is how the parent of several starts one: it writes a line of JSON with
:class:`Role` and the settings to its standard input and leaves that open. Its end means that the parent is gone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from signalbox import address, process, rpc, secretfile
from signalbox.api.routing.v1 import routing_pb2_grpc
from signalbox.domain.cursor import seal
from signalbox.domain.decision import Setup
from signalbox.domain.planner import Voice
from signalbox.domain.voice import Pool
from signalbox.metrics import SideDoor
from signalbox.routing import region_table, service
from signalbox.routing.access import Access
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.counters import RedisCounters
from signalbox.routing.directory import LiveDirectory
from signalbox.routing.edges import EdgeFeed, EdgeRegistry
from signalbox.routing.guide import Guide
from signalbox.routing.replica import Replica
from signalbox.routing.service import RoutingService
from signalbox.routing.stats import Stats
from signalbox.settings import Settings
from signalbox.store.etcd import EtcdStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import RoutingSettings
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

GC_THRESHOLDS = (2_000, 10, 1_000)
"""What is remembered of decisions comes and goes by the hundred thousand, and none of it is cyclic: with the usual
thresholds all of it would be gone through every second or so, for some tenths of a second without decisions."""

HEALTH_INTERVAL_S = 0.1
STOP_GRACE_S = 0.5
"""Time for single questions to be answered after the streams have moved."""


@dataclass(frozen=True, slots=True)
class Role:
    """Which of the workers this is: ``index`` from 0, and how often it was started. ``shared``: there are others."""

    index: int = 0
    starts: int = 1
    shared: bool = False


class Worker:
    """Serves from ``store``. Worker 0 writes the snapshot; worker n has its side door n ports further.

    Numbers and lines lie in pages in ``store``. Without ``counters`` no limit is enforced.
    """

    def __init__(
        self, settings: RoutingSettings, store: Store, role: Role, counters: RedisCounters | None = None
    ) -> None:
        self._settings = settings
        self._role = role
        self.stats = Stats(self.gauges)
        self._feed = EdgeFeed(lambda: self._replica.revision)
        snapshot = settings.snapshot_file
        self._directory = LiveDirectory(snapshot.with_name(f"{snapshot.name}.map"), write=role.index == 0)
        self._book = Book(self._feed.mark, self._directory)
        self._replica = Replica(store, self._book, self._directory, settings, writes_snapshot=role.index == 0)
        voice, key = _voice(settings, self._book.voice)
        regions = region_table.load(settings.regions_file)
        setup = Setup(regions, voice, settings.max_diversions, self._book.dead, _password_key(settings), key)
        answerer = Answerer(self._book, self._rule_revision, self.stats, setup, counters)
        guide = Guide(self._book, self._rule_revision, answerer, setup, counters, key)
        registry = EdgeRegistry(store, self._book)
        access = Access(store, certified=settings.tls.ca_file is not None)
        self._service = RoutingService(
            self._replica, answerer, guide, self._feed, registry, self.stats, access, counters
        )
        metrics = CollectorRegistry()
        metrics.register(self.stats)
        self._counters = counters
        if counters is not None:
            metrics.register(counters)
        ProcessCollector(registry=metrics)
        self.side_door_address = _shifted(settings.metrics.listen, role.index)
        self._side_door = SideDoor(self.side_door_address, self.readiness, metrics)
        self.port = 0
        """Where gRPC is served, once it is."""

    def _rule_revision(self) -> int:
        return self._replica.rule_revision

    @property
    def metrics_port(self) -> int:
        """Where the side door is, once it is open."""
        return self._side_door.port

    async def run(self, supervisor: Supervisor) -> None:
        """Serve until ``supervisor.stopping``, then drain."""
        server = grpc.aio.server(options=rpc.server_options(reuse_port=self._role.shared))
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(self._service, server)
        health = await rpc.add_health_and_reflection(server, [service.NAME])
        self.port = rpc.bind(server, self._settings.listen, self._settings.tls)
        await self._side_door.start()
        await server.start()
        logger.info("routing_serves", port=self.port, metrics_port=self.metrics_port, worker=self._role.index)
        supervisor.spawn("heartbeat", self._side_door.heartbeat())
        supervisor.spawn("rules", self._replica.follow_rules())
        supervisor.spawn("directory", self._replica.keep_directory())
        if self._role.index == 0:
            supervisor.spawn("directory_compare", self._replica.compare_directory())
        supervisor.spawn("live", self._replica.follow_live())
        supervisor.spawn("edge_feed", self._feed.run(self._book))
        supervisor.spawn("health", self._tell_health(health))
        supervisor.spawn("snapshot", self._replica.keep_file())
        if self._counters is not None:
            supervisor.spawn("counters", self._counters.run())
        await supervisor.stopping.wait()
        await health.stop()
        await asyncio.gather(self._service.drain(self._settings.drain_s), asyncio.sleep(self._settings.drain_min_s))
        await server.stop(STOP_GRACE_S)
        await self._side_door.stop()
        logger.info("routing_stopped", worker=self._role.index)

    async def _tell_health(self, health: rpc.Health) -> None:
        while True:
            await health.set(self._replica.ready, usable=self._replica.usable)
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        age = self._replica.rule_age_s()
        return self._replica.ready and not self._service.draining, {
            "rule_revision": self._replica.rule_revision,
            "rule_age_s": round(age, 3) if math.isfinite(age) else None,
            "source": self._replica.source,
            "store_available": self._replica.store_available,
            "numbers": self._book.rules.numbers,
            "damaged_values": sorted(self._book.damaged),
            "edges": self._feed.acknowledged(),
            "edge_version": self._feed.current.version if self._feed.current else None,
            "counts_available": self._counters is not None and self._counters.available,
            "draining": self._service.draining,
            "worker": self._role.index,
        }

    def gauges(self) -> Mapping[str, float]:
        return {
            "rule_revision": self._replica.rule_revision,
            "rule_age_seconds": self._replica.rule_age_s(),
            "numbers": self._book.rules.numbers,
            "directory_map_revision": self._directory.map_revision,
            "directory_unwritten": self._directory.unwritten,
            "directory_digest": self._directory.digest,
            "directory_repaired": self._replica.keeper.told.repaired,
            "directory_differed": self._replica.keeper.differed,
            "damaged_values": len(self._book.damaged),
            "snapshot_age_seconds": self._replica.snapshot_age_s(),
            "store_available": int(self._replica.store_available),
            "streams": self._service.streams,
            "edges": len(self._feed.acknowledged()),
            "worker_starts": self._role.starts,
        }


def _voice(settings: RoutingSettings, workers: Pool) -> tuple[Voice, bytes | None]:
    """Who executes call flows, and the key of cursors. Raises ConfigurationError if there is no such key."""
    if settings.cursor_key_file is None:
        return Voice(Pool(), lambda cursor: ""), None
    key = secretfile.read(settings.cursor_key_file, "routing.cursor_key_file")
    return Voice(workers, partial(seal, key=key)), key


def _password_key(settings: RoutingSettings) -> bytes | None:
    """What passwords in flows are sealed with. Raises ConfigurationError if there is no such file."""
    file = settings.password_key_file
    return None if file is None else secretfile.read(file, "routing.password_key_file")


def serve(settings: Settings, role: Role = Role(), *, watch_parent: bool = False) -> None:
    """Run one worker in this process until SIGTERM, or until the parent is gone. Does not return."""

    async def main(supervisor: Supervisor) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        if watch_parent:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _hear_parent, supervisor)
        counters = RedisCounters(settings.redis, settings.routing.counters)
        store = EtcdStore.open(settings.etcd)
        try:
            await Worker(settings.routing, store, role, counters).run(supervisor)
        finally:
            await supervisor.cancel()
            await counters.close()
            await store.close()

    process.run(settings, "routing", main)


def start_line(settings: Settings, role: Role) -> bytes:
    """What a worker is told on its standard input."""
    return json.dumps({"role": asdict(role), "settings": settings.model_dump(mode="json")}).encode() + b"\n"


def _hear_parent(supervisor: Supervisor) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        supervisor.stopping.set()


def _shifted(listen: str, by: int) -> str:
    """The address, its port ``by`` further; port 0 stays."""
    host, port = address.split(listen)
    return address.join(host, port + by) if port else listen


def _main() -> None:
    told = json.loads(sys.stdin.buffer.readline())
    serve(Settings(**told["settings"]), Role(**told["role"]), watch_parent=True)


if __name__ == "__main__":
    _main()
