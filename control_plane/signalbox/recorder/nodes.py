"""The media nodes that capture calls, as their registry in the store has them, and a connection to each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox import address, rpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.recorder.captures import Captures
from signalbox.store import codec, keys
from signalbox.store.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.settings import ClientTlsSettings
    from signalbox.store.base import Change, Entry, Listing
    from signalbox.store.mirror import Source

logger = structlog.get_logger(__name__)


class Node:
    """A media node, for as long as its sidecar is registered at this address.

    Its connection is closed when it is gone and nobody works for it any more: a sidecar whose lease has ended for a
    moment still has what a job is reading.
    """

    def __init__(self, id: str, number: int, address: str, captures: Captures) -> None:
        self.id = id
        self.number = number
        self.address = address
        self.captures = captures
        self.gone = False
        self._users = 0

    def use(self) -> None:
        """Somebody works for it."""
        self._users += 1

    async def leave(self) -> None:
        """Somebody no longer does."""
        self._users -= 1
        await self._close_unused()

    async def end(self) -> None:
        """It is registered no more."""
        self.gone = True
        await self._close_unused()

    async def _close_unused(self) -> None:
        if self.gone and not self._users:
            await self.captures.close()


class Nodes:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(self, store: Source, tls: ClientTlsSettings) -> None:
        """To be made within the event loop."""
        self._tls = tls
        self._nodes: dict[str, Node] = {}
        self._changed = asyncio.Event()
        self._mirror = Mirror(store, keys.LIVE_MEDIA, on_reset=self._reset, on_changes=self._change)

    async def run(self) -> None:
        """Long-lived coroutine."""
        await self._mirror.run()

    @property
    def known(self) -> bool:
        """True once the registry has been read."""
        return self._mirror.synced.is_set()

    @property
    def available(self) -> bool:
        """True while the store brings news of the registry."""
        return self._mirror.available

    def all(self) -> list[Node]:
        """Those that are registered now."""
        return list(self._nodes.values())

    def numbered(self, number: int) -> Node | None:
        """The node of a number."""
        return next((node for node in self._nodes.values() if node.number == number), None)

    async def changed(self) -> None:
        """Wait until other nodes are registered than now."""
        await self._changed.wait()

    async def close(self) -> None:
        """Close the connections that nobody uses; the others when they are left."""
        for node in self._nodes.values():
            await node.end()
        self._nodes = {}

    async def _reset(self, listing: Listing) -> None:
        found = {entry.key: entry for entry in listing.entries}
        for id in [id for id in self._nodes if keys.live_media(id) not in found]:
            await self._remove(id)
        for entry in found.values():
            await self._put(entry)

    async def _change(self, changes: Sequence[Change], revision: int) -> None:
        for change in changes:
            if change.entry is None:
                await self._remove(keys.last_part(change.key))
            else:
                await self._put(change.entry)

    async def _put(self, entry: Entry) -> None:
        try:
            node = codec.decode(routing_pb2.MediaNode, entry)
        except codec.DamagedValueError as error:
            logger.error("stored_value_damaged", key=entry.key, revision=entry.revision, reason=str(error))
            return
        before = self._nodes.get(node.id)
        if before and (before.number, before.address) == (node.number, node.captures_address):
            return
        await self._remove(node.id)
        if not node.captures_address:
            return
        try:
            address.split(node.captures_address)
        except ValueError as error:
            logger.error("captures_address_unusable", node=node.id, address=node.captures_address, reason=str(error))
            return
        channel = rpc.channel(node.captures_address, self._tls)
        self._nodes[node.id] = Node(node.id, node.number, node.captures_address, Captures(node.number, channel))
        logger.info("media_node_found", node=node.id, number=node.number, address=node.captures_address)
        self._tell()

    async def _remove(self, id: str) -> None:
        node = self._nodes.pop(id, None)
        if node is not None:
            logger.info("media_node_gone", node=id, number=node.number)
            await node.end()
            self._tell()

    def _tell(self) -> None:
        """Whoever waits now goes on; whoever waits later waits for the next time."""
        self._changed.set()
        self._changed = asyncio.Event()
