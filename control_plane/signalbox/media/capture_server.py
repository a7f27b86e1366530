"""All of what a sidecar does for calls that are recorded, from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio
import structlog

from signalbox import address, rpc
from signalbox.api.recording.v1 import recording_pb2_grpc
from signalbox.certificates import Access
from signalbox.errors import ConfigurationError
from signalbox.media.capture_metrics import CaptureMetrics
from signalbox.media.capture_service import SERVICE, TABLE, CaptureService
from signalbox.media.capturing import Capturing
from signalbox.media.disk import Disk
from signalbox.media.finishing import Finishing
from signalbox.media.hearing import Hearing
from signalbox.media.lister import Lister
from signalbox.media.offers import Offers
from signalbox.media.pausing import Pausing
from signalbox.media.recordings import Recordings
from signalbox.media.shortage import Shortage
from signalbox.media.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from signalbox.ng import NgClient
    from signalbox.process import Supervisor
    from signalbox.settings import CapturesSettings, MediaSettings

logger = structlog.get_logger(__name__)

TAKEN_S = 10.0
"""Time for recorders to take what the last calls of a node have left, before it leaves."""
GRACE_S = 5.0
"""Time for answers that are under way when the sidecar ends."""


class CaptureServer:
    """Made only where ``media.captures.spool_dir`` is set. ``number`` gives the number of the node."""

    def __init__(
        self,
        settings: MediaSettings,
        client: NgClient,
        number: Callable[[], int],
        promises: Callable[[bool], None],
        registry: CollectorRegistry,
    ) -> None:
        """``promises`` is called with every change of whether more recordings are promised.

        Raises ConfigurationError for an address that recorders cannot use.
        """
        self._settings = settings.captures
        assert self._settings.spool_dir is not None, "a node that captures has a spool"
        check_address(self._settings)
        metrics = CaptureMetrics(registry)
        self.capturing = Capturing(
            Spool(self._settings.spool_dir), client, Lister(settings.control), metrics, settings.dead_after_s
        )
        self._offers = Offers(self.capturing, metrics)
        access = Access(TABLE, certified=self._settings.tls.clients_authenticated)
        pausing = Pausing(self.capturing, number)
        self._service = CaptureService(settings.id, number, self.capturing, self._offers, pausing, access)
        self.recordings = Recordings(Hearing(self.capturing), pausing, Finishing(self.capturing, number))
        self._disk = Disk(
            self._settings, metrics, promises, Shortage(self.capturing).saw, lambda: self.capturing.why_not
        )
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """Where recorders find it, once it is there."""

    async def start(self) -> None:
        """Serve. Raises ConfigurationError."""
        self._server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
        recording_pb2_grpc.add_CaptureServiceServicer_to_server(self._service, self._server)
        health = await rpc.add_health_and_reflection(self._server, [SERVICE])
        port = rpc.bind(self._server, self._settings.listen, self._settings.tls)
        await self._server.start()
        await health.set(True)
        self.address = self._settings.advertise or address.join(address.split(self._settings.listen)[0], port)
        logger.info("serving_captures", address=self.address, spool=str(self._settings.spool_dir))

    def spawn(self, supervisor: Supervisor) -> None:
        """Begin with what is done as long as the process lives."""
        supervisor.spawn("captures", self.capturing.poll())
        supervisor.spawn("captured-calls", self.capturing.watch())
        supervisor.spawn("disk", self._watch_disk())

    async def _watch_disk(self) -> None:
        await self.capturing.looked.wait()
        await self._disk.watch()

    async def taken(self) -> None:
        """Wait for recorders, for a while: the node may not come back. To be called while it is registered."""
        await self._offers.taken(TAKEN_S)

    async def stop(self) -> None:
        """Serve no longer; captures stay where they are."""
        self._offers.close()
        if self._server is not None:
            await self._server.stop(GRACE_S)
        await self.capturing.close(GRACE_S)


def check_address(settings: CapturesSettings) -> None:
    """Raise ConfigurationError if others cannot connect to what they are told."""
    told = settings.advertise or settings.listen
    host, port = address.split(told)
    if host in ("0.0.0.0", "::") or (settings.advertise is not None and port == 0):
        raise ConfigurationError(f"media.captures.advertise: recorders cannot connect to {told!r}")
