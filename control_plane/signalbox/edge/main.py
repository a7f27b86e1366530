"""The sidecar's process: builds the parts, runs them, and at SIGTERM answers what it took."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from signalbox import address, process, redis_client
from signalbox.api.routing.v1.routing_pb2 import Edge
from signalbox.bookmark import Bookmark
from signalbox.edge import secrets
from signalbox.edge.applier import Applier
from signalbox.edge.asker import Asker
from signalbox.edge.beat import Beat
from signalbox.edge.byes import ByeSender
from signalbox.edge.control import Control
from signalbox.edge.dialogs import Dialogs
from signalbox.edge.door import Door
from signalbox.edge.drain import FLUSH_S, Drain
from signalbox.edge.ender import Ender
from signalbox.edge.follower import Follower
from signalbox.edge.lastgood import LastGood
from signalbox.edge.listener import Listener
from signalbox.edge.nodes import MediaNodes
from signalbox.edge.options import OptionsSender
from signalbox.edge.orders import Orders
from signalbox.edge.pool import Pool
from signalbox.edge.proxycounts import ProxyCounts
from signalbox.edge.replica import State
from signalbox.edge.reply import ReplyWriter
from signalbox.edge.reporter import Reporter
from signalbox.edge.stats import EdgeCollector, Stats
from signalbox.edge.targets import Targets
from signalbox.edge.watch import EdgeWatch
from signalbox.errors import ConfigurationError
from signalbox.journal import Journal
from signalbox.metrics import SideDoor
from signalbox.promises import Promises

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import EdgeSettings, RedisSettings, Settings

logger = structlog.get_logger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)
"""Hardly anything here is cyclic: collections are rare, and none looks at what was there at the start."""

REPORT_S = 1.0
DRAIN_POLL_S = 0.05

MOST_DEAD_NAMED = 100
"""Dead targets with a metric of their own; there may be thousands."""

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
        self.drain = Drain(settings, self.control)
        self.beat = Beat(self.control, lambda: self.pool.healthy and self.applier.serviceable, lambda: self.drain.begun)
        self.counts = ProxyCounts(self.control)
        advertised = kamailio.advertise or kamailio.listen[0]
        proxy = address.split(kamailio.listen[0])
        self.options = OptionsSender(proxy, token, advertised)
        self.targets = Targets(self.options, lambda: self.applier.proxy_life)
        self.applier.on_checks(self.targets.want)
        edge = Edge(id=settings.id, advertised_addresses=[advertised])
        self.watch = EdgeWatch(edge, self.pool, self.applier, self.targets)
        self.journal = Journal(settings.state_dir / "journal", settings.journal_max_mb * 1024 * 1024)
        self.follower = Follower(kamailio.event_dir, self.journal, self.control)
        self.reported = Bookmark(self.journal, settings.state_dir / "reported")
        self.reporter = Reporter(self.reported, self.pool)
        self.promised = Bookmark(self.journal, settings.state_dir / "promised")
        self.promises = Promises(self.promised, settings.id, settings.recorders, settings.recorders_tls)
        self.byes = ByeSender(proxy, token)
        self.dialogs_known = Bookmark(self.journal, settings.state_dir / "dialogs.position")
        dialogs = Dialogs(redis_client.connect(redis), redis.prefix)
        self.ender = Ender(dialogs, self.dialogs_known, self.byes, lambda: self.applier.proxy_up)
        self.orders = Orders(settings.state_dir / "orders", settings.id, self.pool)
        self.door = Door(kamailio.runtime_dir, self.ender, self.orders)
        self._registry = registry
        self._collector = EdgeCollector(self.stats, self._gauges)
        self._door = SideDoor(settings.metrics.listen, self.readiness, registry)

    async def run(self, supervisor: Supervisor) -> None:
        """Start everything, wait for the stop, drain."""
        try:
            await asyncio.to_thread(self.journal.open)
            await asyncio.to_thread(self.reported.open)
            await asyncio.to_thread(self.promised.open)
            await asyncio.to_thread(self.follower.recover)
            await asyncio.to_thread(self.dialogs_known.open)
            await asyncio.to_thread(self.orders.recover)
        except OSError as error:
            raise ConfigurationError(f"edge.state_dir: {error}") from error
        self.applier.load()
        self._registry.register(self._collector)
        self.listener.open(self.asker.take)
        await self._door.start()
        await self.byes.open()
        await self.options.open()
        await self.door.open()
        supervisor.spawn("heartbeat", self._door.heartbeat())
        supervisor.spawn("replicas", self.pool.run(self.asker))
        supervisor.spawn("applier", self.applier.run())
        supervisor.spawn("beat", self.beat.run())
        supervisor.spawn("counts", self.counts.run())
        supervisor.spawn("watch", self.watch.run())
        probing = supervisor.spawn("targets", self.targets.run())
        supervisor.spawn("follower", self.follower.run())
        supervisor.spawn("reporter", self.reporter.run())
        supervisor.spawn("promises", self.promises.run())
        supervisor.spawn("orders", self.orders.run())
        supervisor.spawn("dialogs", self.ender.follow())
        supervisor.spawn("endings", self.ender.watch())
        supervisor.spawn("report", self._report())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        logger.info("edge_started", ask=self.listener.address, metrics_port=self._door.port)
        await supervisor.stopping.wait()
        # What is asked of a dead target is a transaction of the proxy for seconds, as a call in set-up is.
        probing.cancel()
        await self.drain.run()
        await self.drain.end_proxy()
        self.listener.stop_reading()
        await self.asker.drain()
        await self.door.close()
        if self.drain.begun:
            await self._flush()
        await supervisor.cancel()
        await self.ender.close()
        self.listener.close()
        self.options.close()
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
            "draining": self.drain.begun,
        }
        return self.applier.in_step and self.pool.healthy and not self.drain.begun, facts

    async def _flush(self) -> None:
        """What the proxy wrote last comes into the journal, and is told to routing and recorders if they are there."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while await asyncio.to_thread(self.follower.collect):
                    pass
                while self.reported.behind or self.promised.behind:  # noqa: ASYNC110, others change it
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            logger.warning("not_all_told", reports=self.reported.behind, promises=self.promised.behind)
        except OSError as error:
            logger.error("events_not_taken", reason=str(error))

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
        yield "draining", "1 if the proxy takes no new calls, for it is about to end.", self.drain.begun, {}
        yield "journal_sequence", "Sequence of the last event taken over.", self.journal.sequence, {}
        yield "journal_acknowledged", "Sequence up to which events were shipped.", self.journal.acknowledged, {}
        yield "journal_reported", "Sequence up to which calls were reported to routing.", self.reported.sequence, {}
        yield "reports_given_up", "Reports that routing refuses for good, since the start.", self.reporter.given_up, {}
        yield "promises_behind", "Events whose promises no recorder has taken yet.", self.promises.behind, {}
        yield (
            "promises_told",
            "Promises of recordings that a recorder has taken, since the start.",
            self.promises.told,
            {},
        )
        yield "promises_given_up", "Promises that recorders refuse, since the start.", self.promises.given_up, {}
        yield "journal_bytes", "Size of the event journal.", self.journal.disk_bytes, {}
        yield "dialogs_behind", "Events not yet taken over into what is known of dialogs.", self.ender.behind, {}
        yield "calls_ended", "Calls that this edge ended by BYE to both sides, since the start.", self.ender.ended, {}
        yield "calls_given_up", "Calls that could not be ended in an hour, since the start.", self.ender.given_up, {}
        for order_state, orders in self.orders.counts().items():
            text = "Orders of operators that are on the disk and not in the audit log."
            yield "orders", text, orders, {"state": order_state}
        for name, value in self.counts.known.items():
            yield "proxy_count", "Counters of the proxy, since its start.", value, {"name": name}
        yield "journal_lost", "Events given up for lack of disk since the start.", self.journal.lost, {}
        yield (
            "journal_behind_bytes",
            "Bytes of the proxy's event files not taken over yet.",
            self.follower.behind_bytes,
            {},
        )
        version = self.applier.version
        yield "snapshot_info", "Version of the snapshot that the proxy has.", 1, {"version": version}
        states = list(self.targets.states())
        dead = [str(target) for target, alive in states if not alive]
        yield "targets_watched", "Targets of trunks that are asked whether they live.", len(states), {}
        yield "targets_dead", "Targets of trunks that are dead as this proxy sees it.", len(dead), {}
        for target in sorted(dead)[:MOST_DEAD_NAMED]:
            text = f"1 for each dead target of trunks, {MOST_DEAD_NAMED} at most."
            yield "target_dead", text, 1, {"target": target}
        for replica in self.pool.replicas:
            for state in State:
                labels = {"replica": replica.name, "state": state.value}
                yield "replica_state", "1 for the state that a routing replica is in.", replica.state is state, labels
