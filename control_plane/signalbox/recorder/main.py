"""The process: what is captured at media nodes is worked on, what is promised is taken in, and both are compared."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox import process, rpc
from signalbox.api.recording.v1 import recording_pb2_grpc
from signalbox.catalog.catalog import Catalog
from signalbox.errors import DatabaseUnavailableError
from signalbox.metrics import SideDoor
from signalbox.recorder import promises
from signalbox.recorder.job import Tools
from signalbox.recorder.keeping.notices import Notices
from signalbox.recorder.keeping.reconcile import Reconciler
from signalbox.recorder.metrics import RecorderMetrics
from signalbox.recorder.nodes import Nodes
from signalbox.recorder.outages import Outages, pause_s
from signalbox.recorder.pool import Pool
from signalbox.recorder.probe import Probe
from signalbox.recorder.promises import PromiseService
from signalbox.recorder.work import Work
from signalbox.recorder.workdir import WorkDir
from signalbox.store.envelope import MasterKeys, TenantKeys, Vault
from signalbox.store.etcd import EtcdStore
from signalbox.store.objectsplace import ObjectsPlace
from signalbox.store.objectstore import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.process import Supervisor
    from signalbox.settings import DatabaseSettings, RecorderSettings, Settings

logger = structlog.get_logger(__name__)

HEALTH_INTERVAL_S = 0.5
OPEN_PAUSE_MAX_S = 10.0
STOP_GRACE_S = 1.0
"""Time for promises that are being taken in at SIGTERM."""


class Recorder:
    """One recorder: made of what it works with, run until it is told to stop."""

    def __init__(self, settings: RecorderSettings, tools: Tools, place: ObjectsPlace, folder: WorkDir) -> None:
        """To be made within the event loop."""
        self._settings = settings
        self._outages = Outages()
        self._nodes = Nodes(tools.store, settings.captures_tls)
        self._work = Work(settings, tools, self._nodes, self._outages, folder.path)
        self._probe = Probe(tools.catalog, tools.store, place, self._outages, tools.metrics)
        self._reconciler = Reconciler(
            tools.catalog, self._nodes, tools.notices, self._outages, tools.metrics, settings.node_lost_after_s
        )
        self._promises = PromiseService(tools.catalog, tools.metrics, certified=settings.tls.clients_authenticated)

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Ready when database, object store and etcd are there and the media nodes are known."""
        there, facts = self._probe.readiness()
        known, draining = self._nodes.known, self._promises.draining
        return there and known and not draining, {
            **facts,
            "media_nodes_known": known,
            "media_nodes": len(self._nodes.all()),
            "jobs": self._work.jobs,
            "waits_for": [need.value for need in self._outages.away()],
            "draining": draining,
        }

    async def run(self, supervisor: Supervisor) -> None:
        """Work until ``supervisor.stopping``, then drain."""
        server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
        recording_pb2_grpc.add_PromiseServiceServicer_to_server(self._promises, server)
        health = await rpc.add_health_and_reflection(server, [promises.NAME])
        port = rpc.bind(server, self._settings.listen, self._settings.tls)
        await server.start()
        logger.info("serving", port=port, jobs=self._settings.jobs)
        supervisor.spawn("probe", self._probe.run())
        supervisor.spawn("nodes", self._nodes.run())
        supervisor.spawn("reconcile", self._reconciler.run())
        supervisor.spawn("health", self._tell_health(health))
        working = supervisor.spawn("work", self._work.run())
        await supervisor.stopping.wait()
        logger.info("draining", jobs=self._work.jobs)
        await health.stop()
        self._promises.draining = True
        working.cancel()
        await asyncio.wait([working])
        await self._work.drain()
        await server.stop(STOP_GRACE_S)
        await self._nodes.close()

    async def _tell_health(self, health: rpc.Health) -> None:
        while True:
            # Promises need the database alone.
            await health.set(self._probe.database_there)
            await asyncio.sleep(HEALTH_INTERVAL_S)


class Front:
    """The side door, which is open before there is a recorder."""

    def __init__(self, settings: RecorderSettings) -> None:
        self.recorder: Recorder | None = None
        self._door = SideDoor(settings.metrics.listen, self._readiness)

    async def open(self, supervisor: Supervisor) -> None:
        """Open it."""
        await self._door.start()
        logger.info("side_door_open", metrics_port=self._door.port)
        supervisor.spawn("heartbeat", self._door.heartbeat())

    async def close(self) -> None:
        """Close it."""
        await self._door.stop()

    def _readiness(self) -> tuple[bool, Mapping[str, object]]:
        return (False, {"database_there": False}) if self.recorder is None else self.recorder.readiness()


def serve(settings: Settings) -> None:
    """Run the recorder until SIGTERM; never returns."""

    async def main(supervisor: Supervisor) -> None:
        async with AsyncExitStack() as stack:
            folder = WorkDir(settings.recorder.work_dir)
            stack.callback(folder.close)
            objects = ObjectStore.open(settings.objects)
            masters = MasterKeys.read(settings.objects.master_key_file)
            front = Front(settings.recorder)
            stack.push_async_callback(front.close)
            stack.push_async_callback(supervisor.cancel)
            await front.open(supervisor)
            pool = Pool()
            stack.push_async_callback(pool.close)
            # Before grpc has threads: it is not pleased by children that are made beside them.
            await pool.warm(settings.recorder.jobs)
            catalog = await _catalog(settings.database, supervisor)
            if catalog is None:
                return
            stack.push_async_callback(catalog.close)
            store = EtcdStore.open(settings.etcd)
            stack.push_async_callback(store.close)
            stack.push_async_callback(supervisor.cancel)
            metrics = RecorderMetrics()
            place = ObjectsPlace(store, objects)
            vault = Vault(objects, TenantKeys(store, masters), place)
            tools = Tools(catalog, store, vault, pool, Notices(catalog, store, metrics), metrics)
            front.recorder = Recorder(settings.recorder, tools, place, folder)
            await front.recorder.run(supervisor)

    process.run(settings, "recorder", main)


async def _catalog(settings: DatabaseSettings, supervisor: Supervisor) -> Catalog | None:
    """The catalog, once its database is there; None if the process is to end before. Raises ConfigurationError."""
    tries = 0
    while not supervisor.stopping.is_set():
        try:
            return await Catalog.open(settings)
        except DatabaseUnavailableError as error:
            if not tries:
                logger.warning("database_awaited", error=str(error))
        tries += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s(tries, OPEN_PAUSE_MAX_S)):
                await supervisor.stopping.wait()
    return None
