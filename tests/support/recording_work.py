"""A recorder's parts put together within a test: real catalog and vault, and something in the place of rendering."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from signalbox.api.types.v1.recordings_pb2 import RecordedSide
from signalbox.catalog.catalog import Catalog
from signalbox.recorder.job import Tools
from signalbox.recorder.keeping.notices import Notices
from signalbox.recorder.keeping.reconcile import Reconciler
from signalbox.recorder.metrics import RecorderMetrics
from signalbox.recorder.nodes import Nodes
from signalbox.recorder.outages import Outages
from signalbox.recorder.pool import Pool
from signalbox.recorder.render import Rendered
from signalbox.recorder.work import Work
from signalbox.recorder.workdir import WorkDir
from signalbox.settings import ClientTlsSettings, DatabaseSettings, ObjectsSettings, RecorderSettings
from signalbox.store.envelope import MasterKeys, TenantKeys, Vault
from signalbox.store.objectsplace import ObjectsPlace
from signalbox.store.objectstore import ObjectStore

from support.captures_fake import ANSWERED_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from signalbox.recorder.render import SegmentFile
    from signalbox.store.base import Store

MASTER = "m" * 40
LOST_AFTER_S = 100.0


def rendered(content: bytes, *reasons: str, **fields: Any) -> Rendered:
    """What rendering says of a file of this content."""
    given: dict[str, Any] = {
        "start_ms": ANSWERED_S * 1000 + 20,
        "duration_ms": 1_000,
        "sample_rate": 8_000,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "left": RecordedSide(packets=50),
        "right": RecordedSide(packets=50),
        "pauses": (),
        **fields,
    }
    return Rendered(reasons=reasons, **given)


@dataclass
class FakePool(Pool):
    """The audio is what was captured. ``error`` is raised instead; while ``hold`` is not set nothing goes on."""

    error: Exception | None = None
    reasons: tuple[str, ...] = ()
    hold: asyncio.Event | None = None
    begun: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def render(
        self, segments: Sequence[SegmentFile], facts: Any, sides: Any, format: Any, output: Path
    ) -> Rendered:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.hold is not None:
                await self.hold.wait()
            if self.error is not None:
                raise self.error
            content = b"".join(segment.path.read_bytes() for segment in segments)
            await asyncio.to_thread(output.write_bytes, content)
            return rendered(content, *self.reasons)
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        """There is nothing."""


@dataclass
class Bench:
    """The parts. ``objects``: by default a folder."""

    store: Store
    directory: Path
    settings: RecorderSettings
    database: DatabaseSettings
    objects: ObjectsSettings
    pool: Pool = field(default_factory=FakePool)

    @property
    def catalog(self) -> Catalog:
        """The recordings."""
        return self.tools.catalog

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        store: Store,
        directory: Path,
        *,
        pool: Pool | None = None,
        objects: ObjectsSettings | None = None,
        work: str = "work",
        **settings: Any,
    ) -> AsyncIterator[Bench]:
        """For the time of a block; what is at work then is given up."""
        bench = cls(
            store,
            directory,
            RecorderSettings(**{"drain_s": 0, "work_dir": directory / work, **settings}),
            DatabaseSettings(url=f"sqlite:///{directory / 'signalbox.db'}"),
            objects or ObjectsSettings(location=str(directory / "objects")),
            pool or FakePool(),
        )
        await bench._make()
        try:
            yield bench
        finally:
            await bench.end()

    async def _make(self) -> None:
        self.registry = CollectorRegistry()
        metrics = RecorderMetrics(self.registry)
        objects = ObjectStore.open(self.objects)
        self.place = ObjectsPlace(self.store, objects)
        self.vault = Vault(objects, TenantKeys(self.store, MasterKeys(MASTER)), self.place)
        catalog = await Catalog.open(self.database)
        notices = Notices(catalog, self.store, metrics)
        self.tools = Tools(catalog, self.store, self.vault, self.pool, notices, metrics)
        self.outages = Outages()
        self.nodes = Nodes(self.store, ClientTlsSettings())
        self.folder = WorkDir(self.settings.work_dir)
        self.work = Work(self.settings, self.tools, self.nodes, self.outages, self.folder.path)
        self.reconciler = Reconciler(catalog, self.nodes, notices, self.outages, metrics, LOST_AFTER_S)
        self.following = asyncio.create_task(self.nodes.run())
        self.working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to claim."""
        self.working = asyncio.create_task(self.work.run())

    async def drain(self) -> None:
        """Stop claiming; finish what is at work."""
        if self.working is not None:
            self.working.cancel()
            await asyncio.wait([self.working])
            if not self.working.cancelled():
                self.working.result()
            self.working = None
        await self.work.drain()

    async def end(self) -> None:
        """End everything."""
        await self.drain()
        self.following.cancel()
        await asyncio.wait([self.following])
        await self.nodes.close()
        await self.pool.close()
        await self.catalog.close()
        self.folder.close()

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value; 0 if it has none yet."""
        return self.registry.get_sample_value(f"signalbox_recorder_{name}", labels) or 0.0

    def names(self) -> list[str]:
        """Names of all objects of recordings."""
        folder = self.directory / "objects"
        return sorted(str(one.relative_to(folder)) for one in folder.glob("recordings/**/*") if one.is_file())

    async def audio(self, call_id: str) -> bytes:
        """What is stored of a call."""
        found = await self.catalog.get(call_id)
        assert found is not None
        assert found.object
        return await self.content(found.recording.tenant, found.object)

    async def content(self, tenant: str, name: str) -> bytes:
        """An object's content."""
        return b"".join([piece async for piece in self.vault.get(tenant, name)])
