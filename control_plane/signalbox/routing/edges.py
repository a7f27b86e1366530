"""What the proxies must know of each other, of trunks and of media nodes: versioned whole, and told on every change."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import Transport
from signalbox.domain.reaching import TRUNK
from signalbox.errors import SignalboxError
from signalbox.routing import orders
from signalbox.store import codec, keys
from signalbox.store.base import Put
from signalbox.store.lease import Registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalbox.domain.objects import Target
    from signalbox.routing.book import Book
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

PUBLISH_INTERVAL_S = 0.1
"""The first change goes out at once; those within this time after it go out together."""

TOUCH_INTERVAL_S = 3600.0
"""A proxy's registration gets a new lease this often; it lives for keys.EDGE_MEMORY_S."""

CHECK_INTERVAL_S = 5.0
"""A registration that is not as it should be is seen and mended within this time."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One edge on one stream, and the version that it has taken over ("": none yet)."""

    edge: str
    acknowledged: str = ""


class EdgeFeed:
    """Publishes the content for edges and keeps account of who has taken it over."""

    def __init__(self, revision: Callable[[], int]) -> None:
        self._revision = revision
        self._dirty = asyncio.Event()
        self._published = asyncio.Event()
        self._watchers: set[Watcher] = set()
        self.current: routing_pb2.WatchEdgeResponse | None = None
        self.draining = False

    def mark(self) -> None:
        """The content may have changed."""
        self._dirty.set()

    async def run(self, book: Book) -> None:
        """Long-lived coroutine: publish what is in ``book`` after every change, once it is loaded."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if book.loaded:
                self._publish(content(book))
                await asyncio.sleep(PUBLISH_INTERVAL_S)

    def drain(self) -> None:
        """Tell every watcher to go to another replica."""
        self.draining = True
        self._wake()

    async def next(self, version: str) -> routing_pb2.WatchEdgeResponse:
        """The content as soon as its version is not ``version``, or as soon as the replica is stopping."""
        while self.current is None or (self.current.version == version and not self.draining):
            await self._published.wait()
        response = routing_pb2.WatchEdgeResponse(draining=self.draining)
        response.MergeFrom(self.current)
        # Still the content now, not only when it was published: an edge takes nothing older than what it has.
        response.revision = max(response.revision, self._revision())
        return response

    @contextmanager
    def watcher(self, edge: str) -> Iterator[Watcher]:
        """Count an edge as watching for as long as the context lasts."""
        watcher = Watcher(edge)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    def acknowledged(self) -> dict[str, str]:
        """The version that each watching edge has taken over."""
        return {watcher.edge: watcher.acknowledged for watcher in self._watchers}

    def _publish(self, response: routing_pb2.WatchEdgeResponse) -> None:
        response.version = version_of(response)
        if self.current is not None and self.current.version == response.version:
            return
        # While the store is listed anew no revision is known: ours never goes back.
        response.revision = max(self._revision(), self.current.revision if self.current is not None else 0)
        self.current = response
        logger.info("edge_snapshot_published", version=response.version, revision=response.revision)
        self._wake()

    def _wake(self) -> None:
        """Whoever waits now goes on; whoever waits later waits for the next time."""
        self._published.set()
        self._published = asyncio.Event()


def content(book: Book) -> routing_pb2.WatchEdgeResponse:
    """All that an edge must know, in a fixed order, without version and revision.

    A node's live calls are left out: the choice of the node is the routing service's, and every call would be a change.
    So is what has to do with recording and with voice, for the same reason.
    """
    response = routing_pb2.WatchEdgeResponse()
    for trunk in book.rules.trunks():
        told = response.trunks.add(id=trunk.id, source_addresses=trunk.source_addresses, disabled=trunk.disabled)
        if trunk.health_check is not None and not trunk.disabled:
            told.targets.extend(map(_target, trunk.targets))
            told.health_check.interval.seconds = trunk.health_check.interval_s
            told.health_check.failures = trunk.health_check.failures
            told.health_check.successes = trunk.health_check.successes
    if book.voice_addresses:
        response.trunks.add(id=TRUNK, source_addresses=book.voice_addresses)
    response.peers.extend(book.edges[id] for id in sorted(book.edges))
    for node in sorted(book.media_nodes.values(), key=lambda node: node.number):
        response.media_nodes.add().CopyFrom(node)
        for field in ("calls", "records", "captures_address", "voice_address"):
            response.media_nodes[-1].ClearField(field)
    return response


def _target(target: Target) -> types_pb2.TrunkTarget:
    tcp = target.transport is Transport.TCP
    transport = types_pb2.SIP_TRANSPORT_TCP if tcp else types_pb2.SIP_TRANSPORT_UDP
    return types_pb2.TrunkTarget(host=target.host, port=target.port, transport=transport)


def version_of(response: routing_pb2.WatchEdgeResponse) -> str:
    """Hash of the content: the same at every replica that has the same."""
    return sha256(response.SerializeToString(deterministic=True)).hexdigest()[:16]


class EdgeRegistry:
    """Keeps the proxies that watch here registered in the store.

    Nobody takes a registration out when a stream ends: it lives for keys.EDGE_MEMORY_S after it was last renewed, and a
    proxy that comes to another replica gets a newer lease there. So one that moves never vanishes.
    """

    def __init__(self, store: Store, book: Book) -> None:
        self._store = store
        self._book = book
        self._touched: dict[str, float] = {}

    async def keep(self, edge: routing_pb2.Edge) -> None:
        """Long-lived coroutine: register the proxy and see to it that it stays so."""
        while True:
            fresh = time.monotonic() - self._touched.get(edge.id, -TOUCH_INTERVAL_S) < TOUCH_INTERVAL_S
            if not fresh or self._book.edges.get(edge.id) != edge:
                await self._touch(edge)
            await asyncio.sleep(CHECK_INTERVAL_S)

    def targets(self, edge: str) -> TargetKeeper:
        """What keeps the word of a proxy that watches here in the store."""
        return TargetKeeper(self._store, edge)

    async def record(self, order: routing_pb2.RecordOrderRequest) -> None:
        """Put what an operator ordered at a proxy into the audit log; see orders.py for what it raises."""
        await orders.record(order, self._store)

    async def _touch(self, edge: routing_pb2.Edge) -> None:
        try:
            lease = await self._store.grant_lease(keys.EDGE_MEMORY_S)
            await self._store.commit([], [Put(keys.live_edge(edge.id), codec.encode(edge), lease)])
        except SignalboxError as error:
            logger.warning("edge_registration_failed", edge=edge.id, error=str(error))
            return
        self._touched[edge.id] = time.monotonic()
        logger.info("edge_registered", edge=edge.id, addresses=list(edge.advertised_addresses))


class TargetKeeper:
    """Keeps in the store what one proxy sees of the targets of trunks, for as long as it watches here.

    When it leaves, its word holds for keys.TARGETS_MEMORY_S more: until then it has told it to another replica.
    """

    def __init__(self, store: Store, edge: str) -> None:
        self._store = store
        self._edge = edge
        self._told = asyncio.Event()
        self._registration: Registration | None = None

    def take(self, targets: routing_pb2.EdgeTargets) -> None:
        """What the proxy sees now."""
        targets.edge = self._edge
        value = codec.encode(targets)
        if self._registration is None:
            key = keys.live_targets(self._edge)
            self._registration = Registration(self._store, key, value, keys.TARGETS_MEMORY_S)
            self._told.set()
        else:
            self._registration.update(value)

    async def run(self) -> None:
        """Long-lived coroutine."""
        await self._told.wait()
        assert self._registration is not None
        await self._registration.run()
