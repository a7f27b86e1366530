"""The process: keeps one rtpengine's entry in the store true, from its start to its orderly end."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY

from signalbox import address, daemon, process
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ConfigurationError, SignalboxError, StoreUnavailableError
from signalbox.media import number
from signalbox.media.capture_server import CaptureServer
from signalbox.media.health import Health, count_forever, ping_forever
from signalbox.media.lister import Lister
from signalbox.media.metrics import MediaMetrics
from signalbox.media.reporter import Reporter
from signalbox.media.voice.server import VoiceServer
from signalbox.media.watcher import Watcher
from signalbox.metrics import SideDoor
from signalbox.ng import NgClient, NgError
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from signalbox.store.lease import RETRY_S, Registration
from signalbox.store.objectstore import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import MediaSettings, Settings
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

CALLS_STEP = 100
"""A change of calls is published if it is this part of the capacity: every publication goes to all routing replicas."""
DRAIN_POLL_S = 0.1
ENDING_S = 10.0
"""Calls that outlast the drain have so long to be ended by BYE, once routing knows that their media are about to go."""
DAEMON = "rtpengine"


class Sidecar:
    """One rtpengine and its registration."""

    def __init__(self, settings: MediaSettings, store: Store, client: NgClient, metrics: MediaMetrics) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._metrics = metrics
        self._node = routing_pb2.MediaNode(
            id=settings.id, control_address=control_address(settings), capacity=settings.capacity
        )
        self._registration: Registration | None = None
        self.health = Health(self._publish, metrics)
        metrics.capacity.set(settings.capacity)
        metrics.healthy.set_function(lambda: self.health.healthy)
        metrics.registered.set_function(lambda: self.registered)

    @property
    def registered(self) -> bool:
        """True while the store is known to have the newest state."""
        return self._registration is not None and self._registration.registered.is_set()

    @property
    def number(self) -> int:
        """The node's number; 0 until it has been given one."""
        return self._node.number

    def captures_at(self, address: str) -> None:
        """Recorders find what is captured there."""
        self._node.captures_address = address
        self._publish()

    def speaks_at(self, address: str) -> None:
        """Workers with voice find keys and files there."""
        self._node.voice_address = address
        self._publish()

    def promise_recordings(self, promised: bool) -> None:
        """Whether there is room to record more calls."""
        self._node.records = promised
        self._publish()

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Ready when registered and the rtpengine is healthy."""
        facts = {
            "registered": self.registered,
            "rtpengine_healthy": self.health.healthy,
            "number": self._node.number,
            "calls": self.health.calls,
            "draining": self._node.draining,
            "records": self._node.records,
        }
        return self.registered and self.health.healthy and not self._node.draining, facts

    async def ping(self) -> None:
        """Long-lived coroutine: health."""
        await ping_forever(
            self._client, self.health, self._settings.ping_interval_ms / 1000, self._settings.ping_timeout_ms / 1000
        )

    async def count(self) -> None:
        """Long-lived coroutine: calls."""
        await count_forever(self._client, self.health)

    async def register(self) -> None:
        """Long-lived coroutine: gets the node's number, then keeps its entry."""
        self._node.number = await self._allocate()
        self._registration = Registration(
            self._store, keys.live_media(self._node.id), self._value(), self._settings.lease_ttl_s
        )
        logger.info("registering", node=self._node.id, number=self._node.number, control=self._node.control_address)
        await self._registration.run()

    async def drain(self) -> bool:
        """Take no new calls; return when the calls there are have ended, or after ``drain_s``: False then."""
        self._node.draining = True
        self._metrics.draining.set(1)
        self._publish()
        over = await self._no_calls(self._settings.drain_s)
        if not over:
            logger.warning("drained_with_calls_left", calls=self.health.calls)
        return over

    async def end_calls(self, watcher: Watcher) -> None:
        """Those that outlast the drain are ended as calls with dead media are: by BYE to both sides, not by silence."""
        try:
            await watcher.give_up()
        except NgError as error:
            logger.warning("calls_not_given_up", error=str(error))
            return
        await self._no_calls(ENDING_S)

    async def _no_calls(self, seconds: float) -> bool:
        """Wait for it at most so long; True also if nobody can tell any more."""
        try:
            async with asyncio.timeout(seconds):
                while self.health.healthy and await self._client.calls() > 0:  # noqa: ASYNC110, only asking tells
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            return False
        except SignalboxError as error:
            logger.warning("calls_not_counted", error=str(error))
        return True

    async def withdraw(self) -> None:
        """Take the entry out of the store. End :meth:`register` first."""
        if self._registration is None:
            return
        try:
            await self._registration.withdraw()
        except StoreUnavailableError as error:
            logger.warning("not_withdrawn", error=str(error), gone_after_s=self._settings.lease_ttl_s)
        else:
            logger.info("withdrawn")

    async def _allocate(self) -> int:
        failing = False
        while True:
            try:
                return await number.allocate(self._store, self._node.id)
            except SignalboxError as error:
                if not failing:
                    logger.warning("number_not_allocated", error=str(error))
                failing = True
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))

    def _publish(self) -> None:
        if self._registration is not None:
            self._registration.update(self._value())

    def _value(self) -> bytes:
        self._node.healthy = self.health.healthy
        calls = self.health.calls
        if not calls or abs(calls - self._node.calls) >= max(1, self._node.capacity // CALLS_STEP):
            self._node.calls = calls
        return self._node.SerializeToString(deterministic=True)


def control_address(settings: MediaSettings) -> str:
    """``udp:host:port`` of the ng protocol as the proxies see it.

    Raises ConfigurationError for a name (no DNS in SIP workers), an address of no host, or a wrong port.
    """
    text = settings.advertise_control or settings.control
    ip, port = address.setting("media.advertise_control", text)
    if ip.is_unspecified:
        raise ConfigurationError(f"media.advertise_control: proxies cannot send to {text!r}")
    return f"udp:{address.join(ip, port)}"


def serve(settings: Settings) -> None:
    """Run the sidecar until SIGTERM; never returns."""

    async def main(supervisor: Supervisor) -> None:
        control_address(settings.media)
        try:
            client = await NgClient.connect(settings.media.control)
        except NgError as error:
            raise ConfigurationError(f"media.control: {error}") from error
        metrics = MediaMetrics()
        reporter = Reporter(settings.media.routing, settings.media.routing_tls, metrics)
        store = EtcdStore.open(settings.etcd)
        sidecar = Sidecar(settings.media, store, client, metrics)
        lister = Lister(settings.media.control)
        watcher = Watcher(settings.media, client, lister, reporter, metrics, lambda: sidecar.number)
        try:
            captures = _captures(settings.media, client, sidecar)
            voice = _voice(settings, captures)
            await _serve(sidecar, watcher, captures, voice, settings.media, supervisor)
        finally:
            await supervisor.cancel()
            client.close()
            await reporter.close()
            await store.close()

    process.run(settings, "media", main)


def _captures(settings: MediaSettings, client: NgClient, sidecar: Sidecar) -> CaptureServer | None:
    if settings.captures.spool_dir is None:
        return None
    return CaptureServer(settings, client, lambda: sidecar.number, sidecar.promise_recordings, REGISTRY)


def _voice(settings: Settings, captures: CaptureServer | None) -> VoiceServer | None:
    if settings.media.voice.cache_dir is None:
        return None
    recordings = captures.recordings if captures is not None else None
    return VoiceServer(settings.media.voice, ObjectStore.open(settings.objects), REGISTRY, recordings)


async def _serve(
    sidecar: Sidecar,
    watcher: Watcher,
    captures: CaptureServer | None,
    voice: VoiceServer | None,
    settings: MediaSettings,
    supervisor: Supervisor,
) -> None:
    door = SideDoor(settings.metrics.listen, sidecar.readiness)
    await door.start()
    if captures is not None:
        await captures.start()
        captures.spawn(supervisor)
        sidecar.captures_at(captures.address)
    if voice is not None:
        await voice.start()
        voice.spawn(supervisor)
        sidecar.speaks_at(voice.address)
    logger.info("serving", metrics_port=door.port, rtpengine=settings.control)
    supervisor.spawn("heartbeat", door.heartbeat())
    supervisor.spawn("ping", sidecar.ping())
    supervisor.spawn("count", sidecar.count())
    supervisor.spawn("watch", watcher.run())
    registering = supervisor.spawn("register", sidecar.register())
    await supervisor.stopping.wait()
    logger.info("draining")
    if not await sidecar.drain() and settings.daemon_pid_file is not None:
        await sidecar.end_calls(watcher)
    if captures is not None and settings.daemon_pid_file is not None:
        await captures.taken()
    registering.cancel()
    await asyncio.wait([registering])
    await sidecar.withdraw()
    if settings.daemon_pid_file is not None:
        await daemon.end(settings.daemon_pid_file, DAEMON)
    if voice is not None:
        await voice.stop()
    if captures is not None:
        await captures.stop()
    await door.stop()
