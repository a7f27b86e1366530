"""The process: store, gRPC server, side door, and the watch over whether the store can be reached."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox import process, rpc, secretfile
from signalbox.errors import ConfigurationError, StoreUnavailableError
from signalbox.metrics import SideDoor
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit.keeper import Keeper
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.audit.service import AuditService, Others
from signalbox.provisioning.bulk import COMMIT_OPERATIONS, BulkService
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.explain import Explainer
from signalbox.provisioning.inventory.attachments import DAY_S
from signalbox.provisioning.inventory.documents import DocumentService
from signalbox.provisioning.inventory.service import InventoryService
from signalbox.provisioning.promptaudio.service import PromptService
from signalbox.provisioning.recordings.captures import Captures
from signalbox.provisioning.recordings.database import Database
from signalbox.provisioning.recordings.service import RecordingService
from signalbox.provisioning.service import ProvisioningService
from signalbox.speech.espeak import synthesize
from signalbox.store import keys
from signalbox.store.envelope import MasterKeys, Vault
from signalbox.store.etcd import EtcdStore
from signalbox.store.etcd_maintenance import Maintenance, Quota
from signalbox.store.objectstore import ObjectStore
from signalbox.store.paged import PagedStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import ProvisioningSettings, Settings
    from signalbox.store.base import SeekingStore, Store

logger = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 1.0


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
        objects = ObjectStore.open(settings.objects)
        masters = MasterKeys.read(settings.objects.master_key_file)
        etcd = EtcdStore.open(settings.etcd)
        vault = Vault.over(objects, etcd, masters)
        others = Others(settings.provisioning.audit)
        maintenance = Maintenance(settings.etcd)
        bulk = settings.provisioning.bulk
        quota = Quota(maintenance, bulk.store_quota_mb * 1024**2, bulk.store_full_percent / 100)
        database = Database(settings.database)
        try:
            await database.start()
            await _serve(settings.provisioning, etcd, objects, vault, database, explainer, others, quota, supervisor)
        finally:
            await database.close()
            await maintenance.close()
            await etcd.close()
            await others.close()
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


def _password_key(settings: ProvisioningSettings) -> bytes | None:
    """What passwords in flows are sealed with. Raises ConfigurationError if there is no such file."""
    file = settings.password_key_file
    return None if file is None else secretfile.read(file, "provisioning.password_key_file")


async def _serve(
    settings: ProvisioningSettings,
    etcd: SeekingStore,
    objects: ObjectStore,
    vault: Vault,
    database: Database,
    explainer: Explainer,
    others: Others,
    quota: Quota,
    supervisor: Supervisor,
) -> None:
    store = PagedStore(etcd, most=COMMIT_OPERATIONS)
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    anonymous = Principal(OPERATOR) if settings.insecure else None
    authenticator = Authenticator(store, utc_now, anonymous=anonymous)
    documents = DocumentService(store, vault, authenticator, settings.documents)
    inventory = InventoryService(store, authenticator, retention_s=settings.documents.retention_days * DAY_S)
    prompts = PromptService(store, objects, synthesize, authenticator)
    captures = Captures(store, settings.captures_tls)
    recordings = RecordingService(store, vault, database.catalog, captures, authenticator)
    outbox = Outbox(settings.audit.outbox_max_mb)
    keeper = Keeper(etcd, settings.audit, outbox)
    services = [
        ProvisioningService(store, authenticator, explainer.explain, password_key=_password_key(settings)),
        inventory,
        documents,
        prompts,
        recordings,
        BulkService(store, authenticator, settings.bulk, quota),
        AuditService(keeper, others, authenticator),
    ]
    for service in services:
        service.outbox = outbox
        service.add_to(server)
    health = await rpc.add_health_and_reflection(server, [service.name for service in services])
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
    supervisor.spawn("inventory_index", inventory.index.run())
    supervisor.spawn("inventory_sweeper", inventory.sweeper.run())
    supervisor.spawn("document_disposal", documents.disposal.run())
    supervisor.spawn("prompt_objects", prompts.objects.run())
    supervisor.spawn("prompt_speaking", prompts.speaking.run())
    supervisor.spawn("database", database.run())
    supervisor.spawn("recording_disposal", recordings.disposal.run())
    keeping = supervisor.spawn("audit_keeper", keeper.run())
    await supervisor.stopping.wait()
    logger.info("draining")
    await health.stop()
    for service in services:
        service.draining = True
    await server.stop(settings.drain_s)
    keeping.cancel()
    await keeper.close()
    await door.stop()
