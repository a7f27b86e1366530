"""What is registered of a kind in the store, followed for ever: the media nodes, the proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.store import codec, keys
from signalbox.store.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from signalbox.store.base import Change, Entry, Listing
    from signalbox.store.livenodes import LiveNodes
    from signalbox.store.mirror import Source

logger = structlog.get_logger(__name__)

NodeT = TypeVar("NodeT", routing_pb2.MediaNode, routing_pb2.Edge)


class Followed(Generic[NodeT]):
    """Tells ``on_change`` all nodes of a kind, first and after every change. :meth:`run` is the long-lived coroutine.

    ``nodes`` decides what is to be made of those that vanish. A value that cannot be read is logged, and left out.
    """

    def __init__(
        self,
        store: Source,
        prefix: str,
        kind: type[NodeT],
        nodes: LiveNodes[NodeT],
        on_change: Callable[[Collection[NodeT]], Awaitable[None]],
    ) -> None:
        self._kind: type[NodeT] = kind
        self._nodes: LiveNodes[NodeT] = nodes
        self._on_change: Callable[[Collection[NodeT]], Awaitable[None]] = on_change
        self._mirror = Mirror(store, prefix, on_reset=self._reset, on_changes=self._changes)
        self.synced = self._mirror.synced
        """Set once the store has told what is registered."""

    async def run(self) -> None:
        """Long-lived coroutine."""
        await self._mirror.run()

    async def _reset(self, listing: Listing) -> None:
        self._nodes.reset(self._read(listing.entries))
        await self._on_change(self._nodes.nodes.values())

    async def _changes(self, changes: Sequence[Change], revision: int) -> None:
        for change in changes:
            if change.entry is None:
                self._nodes.delete(keys.last_part(change.key))
            for node in self._read([change.entry] if change.entry else ()):
                self._nodes.put(node)
        await self._on_change(self._nodes.nodes.values())

    def _read(self, entries: Iterable[Entry]) -> list[NodeT]:
        read: list[NodeT] = []
        for entry in entries:
            try:
                read.append(codec.decode(self._kind, entry))
            except codec.DamagedValueError as error:
                logger.error("stored_value_damaged", key=entry.key, revision=entry.revision, reason=str(error))
        return read
