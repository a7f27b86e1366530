"""The sidecar's process: builds the parts, runs them, and at SIGTERM answers what it took."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from signalbox import address, process, redis_client
from signalbox.api.routing.v1.routing_pb2 import Edge
from signalbox.edge import secrets
from signalbox.edge.applier import Applier
from signalbox.edge.asker import Asker
from signalbox.edge.beat import Beat
from signalbox.edge.byes import ByeSender
from signalbox.edge.control import Control
from signalbox.edge.dialogs import Dialogs
from signalbox.edge.door import Door
from signalbox.edge.ender import Ender
from signalbox.edge.follower import Follower
from signalbox.edge.journal import Journal
from signalbox.edge.lastgood import LastGood
from signalbox.edge.listener import Listener
from signalbox.edge.nodes import MediaNodes
from signalbox.edge.pool import Pool
from signalbox.edge.replica import State
from signalbox.edge.reply import ReplyWriter
from signalbox.edge.reporter import Reporter
from signalbox.edge.stats import EdgeCollector, Stats
from signalbox.edge.watch import EdgeWatch
from signalbox.errors import ConfigurationError
from signalbox.metrics import SideDoor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import EdgeSettings, RedisSettings, Settings

logger = structlog.get_logger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)
"""Hardly anything here is cyclic: collections are rare, and none looks at what was there at the start."""

REPORT_S = 1.0
_REPORTED = ("last_good", "unavailable", "shed", "malformed", "unusable", "errors", "unreadable", "send_failed")


def serve(settings: Settings) -> None:
    """Run the sidecar until it is told to stop; then exit."""

    async def main(supervisor: Supervisor) -> None:
        await Sidecar(settings.edge, settings.redis).run(supervisor)

    process.run(settings, "edge", main)


class Sidecar:
    """All parts of one sidecar. Made on a running event loop; raises ConfigurationError."""

    def __init__(self, settings: EdgeSettings, redis: RedisSettings, registry: CollectorRegistry = REGISTRY) -> None:
        kamailio = settings.kamailio
        ask, ask_port = address.setting("edge.ask_listen", settings.ask_listen, loopback=True, least_port=0)
        route, route_port = address.setting("edge.kamailio.route_listen", kamailio.route_listen, loopback=True)
        token = secrets.token(settings)
        writer = ReplyWriter(token, settings.ask_listen, kamailio.route_listen)
        self.stats = Stats()
        self.nodes = MediaNodes()
        self.last_good = LastGood(settings.last_good_max_age_s)
        window_s = settings.batch_window_ms / 1000
        self.listener = Listener((str(ask), ask_port), (str(route), route_port), window_s, self.stats)
        self.pool = Pool(settings)
        self.asker = Asker(
            settings, self.pool, self.nodes, self.last_good, writer, self.listener.send, self.stats
        )  # fmt: skip
        self.control = Control(kamailio.runtime_dir)
        self.applier = Applier(kamailio.runtime_dir, settings.state_dir, self.control, self.nodes)
        self.beat = Beat(self.control, lambda: self.pool.healthy and self.applier.serviceable)
        advertised = kamailio.advertise or kamailio.listen[0]
        self.watch = EdgeWatch(Edge(id=settings.id, advertised_addresses=[advertised]), self.pool, self.applier)
        self.journal = Journal(settings.state_dir / "journal", settings.journal_max_mb * 1024 * 1024)
        self.follower = Follower(kamailio.event_dir, self.journal, self.control)
        self.reporter = Reporter(
            self.journal, settings.state_dir / "journal", settings.state_dir / "reported", self.pool
        )
        self.byes = ByeSender(address.split(kamailio.listen[0]), token)
        self.ender = Ender(
            Dialogs(redis_client.connect(redis), redis.prefix),
            self.journal,
            settings.state_dir,
            self.byes,
            lambda: self.applier.proxy_up,
        )
        self.door = Door(kamailio.runtime_dir, self.ender)
        self._registry = registry
        self._collector = EdgeCollector(self.stats, self._gauges)
        self._door = SideDoor(settings.metrics.listen, self.readiness, registry)

    async def run(self, supervisor: Supervisor) -> None:
        """Start everything, wait for the stop, drain."""
        try:
            await asyncio.to_thread(self.journal.open)
            await asyncio.to_thread(self.reporter.open)
            await asyncio.to_thread(self.follower.recover)
            await asyncio.to_thread(self.ender.load)
        except OSError as error:
            raise ConfigurationError(f"edge.state_dir: {error}") from error
        self.applier.load()
        self._registry.register(self._collector)
        self.listener.open(self.asker.take)
        await self._door.start()
        await self.byes.open()
        await self.door.open()
        supervisor.spawn("heartbeat", self._door.heartbeat())
        supervisor.spawn("replicas", self.pool.run(self.asker))
        supervisor.spawn("applier", self.applier.run())
        supervisor.spawn("beat", self.beat.run())
        supervisor.spawn("watch", self.watch.run())
        supervisor.spawn("follower", self.follower.run())
        supervisor.spawn("reporter", self.reporter.run())
        supervisor.spawn("dialogs", self.ender.follow())
        supervisor.spawn("endings", self.ender.watch())
        supervisor.spawn("report", self._report())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        logger.info("edge_started", ask=self.listener.address, metrics_port=self._door.port)
        await supervisor.stopping.wait()
        self.listener.stop_reading()
        await self.asker.drain()
        await self.door.close()
        await supervisor.cancel()
        await self.ender.close()
        self.listener.close()
        self.control.close()
        await asyncio.to_thread(self._close_journal)
        await self._door.stop()
        self._registry.unregister(self._collector)
        logger.info("edge_stopped", questions=self.stats.questions)

    @property
    def metrics_port(self) -> int:
        """TCP port of the side door."""
        return self._door.port

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Ready: the proxy is in step and somebody can be asked."""
        facts = {
            "replicas": {replica.name: replica.state.value for replica in self.pool.replicas},
            "watched": self.watch.watched,
            "proxy_up": self.applier.proxy_up,
            "in_step": self.applier.in_step,
            "snapshot_version": self.applier.version,
            "wanted_version": self.applier.wanted_version,
            "journal_sequence": self.journal.sequence,
            "journal_behind_bytes": self.follower.behind_bytes,
            "open_questions": self.asker.open,
        }
        return self.applier.in_step and self.pool.healthy, facts

    def _close_journal(self) -> None:
        try:
            self.follower.close()
        except OSError as error:
            logger.error("journal_not_closed", reason=str(error))

    async def _report(self) -> None:
        """Long-lived coroutine: one line a second for all calls that did not go as they should."""
        before = dict.fromkeys(_REPORTED, 0)
        while True:
            await asyncio.sleep(REPORT_S)
            counts = {name: int(getattr(self.stats, name)) for name in _REPORTED}
            news = {name: value - before[name] for name, value in counts.items() if value > before[name]}
            if news:
                logger.warning("calls_not_routed", seconds=REPORT_S, **news)
            before = counts

    def _gauges(self) -> Iterable[tuple[str, str, float, dict[str, str]]]:
        yield "open_questions", "Questions without an answer.", self.asker.open, {}
        yield "last_good_numbers", "Numbers whose last good decision is kept.", len(self.last_good), {}
        yield "proxy_up", "1 if the proxy answers on its control socket.", self.applier.proxy_up, {}
        yield "in_step", "1 if the proxy has the last snapshot in full.", self.applier.in_step, {}
        yield "journal_sequence", "Sequence of the last event taken over.", self.journal.sequence, {}
        yield "journal_acknowledged", "Sequence up to which events were shipped.", self.journal.acknowledged, {}
        yield "journal_reported", "Sequence up to which calls were reported to routing.", self.reporter.sequence, {}
        yield "journal_bytes", "Size of the event journal.", self.journal.disk_bytes, {}
        yield "dialogs_behind", "Events not yet taken over into what is known of dialogs.", self.ender.behind, {}
        yield "calls_ended", "Calls that this edge ended by BYE to both sides, since the start.", self.ender.ended, {}
        yield "journal_lost", "Events given up for lack of disk since the start.", self.journal.lost, {}
        yield (
            "journal_behind_bytes",
            "Bytes of the proxy's event files not taken over yet.",
            self.follower.behind_bytes,
            {},
        )
        version = self.applier.version
        yield "snapshot_info", "Version of the snapshot that the proxy has.", 1, {"version": version}
        for replica in self.pool.replicas:
            for state in State:
                labels = {"replica": replica.name, "state": state.value}
                yield "replica_state", "1 for the state that a routing replica is in.", replica.state is state, labels
