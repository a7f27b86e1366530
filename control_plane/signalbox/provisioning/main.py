"""The process: store, gRPC server, side door, and the watch over whether the store can be reached."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox import process, rpc
from signalbox.errors import ConfigurationError, StoreUnavailableError
from signalbox.metrics import SideDoor
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.explain import Explainer
from signalbox.provisioning.service import SERVICE, ProvisioningService
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import ProvisioningSettings, Settings
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 1.0
DRAIN_S = 5.0
"""Time for requests that have begun to end at SIGTERM."""


class StoreProbe:
    """Knows whether the store answers, from asking it every PROBE_INTERVAL_S."""

    def __init__(self, store: Store, health: rpc.Health) -> None:
        self._store = store
        self._health = health
        self._answered: float | None = None
        self._reachable = False

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            await self.ask()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def ask(self) -> None:
        """Ask once, and tell the health service."""
        try:
            await self._store.get(keys.TRUNK_FENCE)
        except StoreUnavailableError as error:
            if self._reachable or self._answered is None:
                logger.warning("store_unreachable", error=str(error))
            self._reachable = False
        else:
            if not self._reachable:
                logger.info("store_reachable")
            self._answered = time.monotonic()
            self._reachable = True
        await self._health.set(self._reachable)

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Ready while the store answers."""
        age = None if self._answered is None else round(time.monotonic() - self._answered, 3)
        return self._reachable, {"store_reachable": self._reachable, "store_answered_s_ago": age}


def serve(settings: Settings) -> None:
    """Run the provisioning service until SIGTERM; never returns."""

    async def main(supervisor: Supervisor) -> None:
        check_transport(settings.provisioning)
        explainer = Explainer(settings.provisioning.routing, settings.provisioning.routing_tls)
        store = EtcdStore.open(settings.etcd)
        try:
            await _serve(settings.provisioning, store, explainer, supervisor)
        finally:
            await store.close()
            await explainer.close()

    process.run(settings, "provisioning", main)


def check_transport(settings: ProvisioningSettings) -> None:
    """Raise ConfigurationError unless clients are authenticated, or it is said that they need not be."""
    if settings.insecure:
        if settings.tls.clients_authenticated:
            raise ConfigurationError("provisioning: insecure and tls exclude each other")
        if settings.keys_listen:
            raise ConfigurationError("provisioning: insecure and keys_listen exclude each other")
        logger.warning("serving_without_tls", listen=settings.listen)
    elif not settings.tls.clients_authenticated:
        raise ConfigurationError(
            "provisioning.tls.ca_file, cert_file and key_file are needed: whoever reaches the port can change every "
            "rule. For tests only: provisioning.insecure = true"
        )


async def _serve(settings: ProvisioningSettings, store: Store, explainer: Explainer, supervisor: Supervisor) -> None:
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    anonymous = Principal(OPERATOR) if settings.insecure else None
    authenticator = Authenticator(store, utc_now, anonymous=anonymous)
    service = ProvisioningService(store, authenticator, explainer.explain)
    service.add_to(server)
    health = await rpc.add_health_and_reflection(server, [SERVICE])
    port = rpc.bind(server, settings.listen, settings.tls)
    if settings.keys_listen:
        # Of one port all clients must show a certificate, or none is asked for one.
        rpc.bind(server, settings.keys_listen, settings.tls.model_copy(update={"ca_file": None}))
        logger.info("serving_api_keys", listen=settings.keys_listen)
    probe = StoreProbe(store, health)
    door = SideDoor(settings.metrics.listen, probe.readiness)
    await door.start()
    await server.start()
    logger.info("serving", port=port, metrics_port=door.port)
    supervisor.spawn("heartbeat", door.heartbeat())
    supervisor.spawn("store_probe", probe.run())
    await supervisor.stopping.wait()
    logger.info("draining")
    await health.stop()
    service.draining = True
    await server.stop(DRAIN_S)
    await door.stop()
