"""All of what a sidecar does for workers with voice, from its start to its end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import grpc.aio
import structlog

from signalbox import address, rpc
from signalbox.api.media.v1 import media_pb2_grpc
from signalbox.certificates import Access
from signalbox.errors import ConfigurationError
from signalbox.media.voice.audio import Audio
from signalbox.media.voice.keylog import KeyLogs
from signalbox.media.voice.listener import KeyListener
from signalbox.media.voice.metrics import VoiceMetrics
from signalbox.media.voice.service import SERVICE, TABLE, VoiceService
from signalbox.media.voice.shelf import Shelf, hold

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from signalbox.media.recordings import Recordings
    from signalbox.process import Supervisor
    from signalbox.settings import VoiceSettings
    from signalbox.store.objectstore import ObjectStore

logger = structlog.get_logger(__name__)

GRACE_S = 5.0
"""Time for answers that are under way when the sidecar ends."""
MIB = 1 << 20


class VoiceServer:
    """Made only where ``media.voice.cache_dir`` is set."""

    def __init__(
        self,
        settings: VoiceSettings,
        objects: ObjectStore,
        registry: CollectorRegistry,
        recordings: Recordings | None = None,
    ) -> None:
        """Takes in what is in the cache. ``recordings``: of a node that captures, too.

        Raises ConfigurationError for what cannot be used.
        """
        self._settings = settings
        assert settings.cache_dir is not None, "a node that speaks has a cache"
        check_address(settings)
        self._held: int | None = hold(settings.cache_dir)
        metrics = VoiceMetrics(registry)
        logs = KeyLogs(metrics.lost)
        self._listener = KeyListener(logs, metrics)
        self._audio = Audio(objects, Shelf(settings.cache_dir, settings.cache_mb * MIB, metrics), metrics)
        access = Access(TABLE, certified=settings.tls.clients_authenticated)
        self._service = VoiceService(logs, self._audio, metrics, access, recordings)
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """Where workers find it, once it is there."""
        self.keys_address = ""
        """Where rtpengine tells of keys, once it is there."""

    async def start(self) -> None:
        """Serve. Raises ConfigurationError."""
        self.keys_address = await self._listener.start(self._settings.keys_listen)
        self._server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
        media_pb2_grpc.add_VoiceServiceServicer_to_server(self._service, self._server)
        health = await rpc.add_health_and_reflection(self._server, [SERVICE])
        port = rpc.bind(self._server, self._settings.listen, self._settings.tls)
        await self._server.start()
        await health.set(True)
        self.address = self._settings.advertise or address.join(address.split(self._settings.listen)[0], port)
        logger.info("serving_voice", address=self.address, keys=self.keys_address)

    def spawn(self, supervisor: Supervisor) -> None:
        """Begin with what is done as long as the process lives."""
        supervisor.spawn("keys", self._listener.forget())

    async def stop(self) -> None:
        """Serve no longer; files stay where they are."""
        self._service.close()
        if self._server is not None:
            await self._server.stop(GRACE_S)
        self._listener.stop()
        await self._audio.close(GRACE_S)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def check_address(settings: VoiceSettings) -> None:
    """Raise ConfigurationError if others cannot connect to what they are told."""
    told = settings.advertise or settings.listen
    host, port = address.split(told)
    if host in ("0.0.0.0", "::") or (settings.advertise is not None and port == 0):
        raise ConfigurationError(f"media.voice.advertise: workers cannot connect to {told!r}")
