"""The process: builds the worker's parts, runs them, registers the worker, and at SIGTERM runs out its calls."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import structlog

from signalbox import process
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.bookmark import Bookmark
from signalbox.domain import media
from signalbox.ivr import messages
from signalbox.ivr.live import Followed
from signalbox.ivr.media.nodes import MediaNodes
from signalbox.ivr.medialinks import MediaLinks
from signalbox.ivr.metrics import IvrMetrics
from signalbox.ivr.outside.signing import Secrets
from signalbox.ivr.ports import Ports
from signalbox.ivr.proxies import KnownProxies
from signalbox.ivr.registration import Entry
from signalbox.ivr.requests import HttpRequests
from signalbox.ivr.routingclient import Replicas
from signalbox.ivr.spokenparts import SpokenParts
from signalbox.ivr.trace import Trace
from signalbox.ivr.worker import Worker
from signalbox.metrics import SideDoor
from signalbox.promises import Promises
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from signalbox.store.livenodes import LiveNodes
from signalbox.store.objectstore import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import Settings
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

READY_POLL_S = 0.05
LINGER_S = 0.5
"""From the moment when the entry says that we take no calls until nothing listens any more: an INVITE that was decided
before is answered (503, and the proxy takes the next worker), not left to a time-out."""
FLUSH_S = 2.0
"""At the end there is so long for what is still to be told."""
MIB = 1024 * 1024
TRANSPORTS = {"udp": types_pb2.SIP_TRANSPORT_UDP, "tcp": types_pb2.SIP_TRANSPORT_TCP}
GC_THRESHOLDS = (50_000, 20, 100)
"""Collections are rare: hardly anything here is cyclic (docs/performance.md)."""


def serve(settings: Settings) -> None:
    """Run a worker until it is told to stop; never returns."""

    async def main(supervisor: Supervisor) -> None:
        store = EtcdStore.open(settings.etcd)
        try:
            await Process(settings, store).run(supervisor)
        finally:
            await supervisor.cancel()
            await store.close()

    process.run(settings, "ivr", main)


class Process:
    """All parts. Made on a running event loop; raises ConfigurationError."""

    def __init__(self, settings: Settings, store: Store) -> None:
        ivr = settings.ivr
        self.metrics = IvrMetrics()
        self.trace = Trace(ivr.state_dir, ivr.journal_max_mb * MIB, self.metrics)
        bookmark = Bookmark(self.trace.journal, ivr.state_dir / "promised")
        self.promised = bookmark
        self.promises = Promises(bookmark, ivr.id, ivr.recorders, ivr.recorders_tls)
        self.routing = Replicas(ivr.routing, ivr.routing_tls, self.metrics)
        self.nodes = MediaNodes()
        self.links = MediaLinks(ivr.id, self.nodes, ivr.voice_tls, self.metrics)
        self.parts = SpokenParts(ObjectStore.open(settings.objects))
        self.proxies = KnownProxies()
        self.messages = messages.sender(ivr.messages)
        ports = Ports(
            routing=self.routing,
            audio=self.links,
            parts=self.parts,
            proxies=self.proxies,
            requests=HttpRequests(ivr.requests, Secrets(store)),
            messages=self.messages,
            events=self.trace,
            promises=self.trace,
            recordings=self.links,
        )
        self.worker = Worker(ivr, self.nodes, ports, self.metrics)
        entry = routing_pb2.VoiceWorker(
            id=ivr.id,
            sip_address=self.worker.sip_address,
            capacity=ivr.capacity,
            draining=True,
            transport=TRANSPORTS[ivr.transport],
        )
        self.entry = Entry(store, entry, ivr.lease_ttl_s, lambda: self.worker.calls)
        self.media: Followed[routing_pb2.MediaNode] = Followed(
            store,
            keys.LIVE_MEDIA,
            routing_pb2.MediaNode,
            LiveNodes("media", media.takes_calls),
            self.links.update,
        )
        self.edges: Followed[routing_pb2.Edge] = Followed(
            store, keys.LIVE_EDGES, routing_pb2.Edge, LiveNodes("edge", lambda edge: True), self.proxies.update
        )
        self._registering: asyncio.Task[None] | None = None
        self.door = SideDoor(ivr.metrics.listen, self.readiness)
        self.metrics.registered.set_function(lambda: self.entry.registered)
        self.metrics.draining.set_function(lambda: self.entry.draining)
        self.metrics.sidecars.set_function(lambda: self.links.up)

    @property
    def able(self) -> bool:
        """Flows can be executed."""
        return self.routing.reachable and self.nodes.usable > 0 and self.links.up > 0

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Ready when registered, and steps, sound and keys can be had."""
        facts = {
            "registered": self.entry.registered,
            "routing_reachable": self.routing.reachable,
            "media_nodes": self.nodes.usable,
            "sidecars": self.links.up,
            "calls": self.worker.calls,
            "draining": self.entry.draining,
        }
        return self.able and self.entry.registered and not self.entry.draining, facts

    async def run(self, supervisor: Supervisor) -> None:
        """From the start to the orderly end."""
        gc.set_threshold(*GC_THRESHOLDS)
        await asyncio.to_thread(self.trace.open)
        await asyncio.to_thread(self.promised.open)
        await self.worker.listen()
        await self.door.start()
        supervisor.spawn("heartbeat", self.door.heartbeat())
        writing = supervisor.spawn("trace", self.trace.run())
        supervisor.spawn("promises", self.promises.run())
        supervisor.spawn("parts", self.parts.run())
        supervisor.spawn("routing", self.routing.watch())
        reporting = supervisor.spawn("reports", self.routing.report())
        supervisor.spawn("media nodes", self.media.run())
        supervisor.spawn("proxies", self.edges.run())
        supervisor.spawn("pings", self.nodes.run())
        supervisor.spawn("keys", self.links.run())
        logger.info("ivr_started", sip=self.worker.sip_address, metrics_port=self.door.port)
        serving = asyncio.create_task(self._serve(supervisor), name="serve")
        stopping = asyncio.create_task(supervisor.stopping.wait(), name="stopping")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        await stopping
        await _cancel(serving)
        await self._drain(writing, reporting)
        await supervisor.cancel()
        await self.nodes.close()
        await self.messages.close()
        await self.routing.close()
        await self.door.stop()
        logger.info("ivr_stopped")

    async def _serve(self, supervisor: Supervisor) -> None:
        """Register, and take calls once flows can be executed. Raises ConfigurationError."""
        await self.entry.claim()
        self._registering = supervisor.spawn("registration", self.entry.run())
        while not self.able:  # noqa: ASYNC110, several things must come true
            await asyncio.sleep(READY_POLL_S)
        self.worker.serve()
        self.entry.open()
        logger.info("serving", sip=self.worker.sip_address)

    async def _drain(self, writing: asyncio.Task[None], reporting: asyncio.Task[None]) -> None:
        logger.info("draining", calls=self.worker.calls)
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.entry.drain()
        await self.worker.drain()
        if self._registering is not None:
            await _cancel(self._registering)
            await self.entry.withdraw()
            await asyncio.sleep(max(0.0, began + LINGER_S - loop.time()))
        await self.worker.end()
        await _cancel(writing)
        await self.trace.close()
        await _cancel(reporting)
        await self.routing.flush(FLUSH_S)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
