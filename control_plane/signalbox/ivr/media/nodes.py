"""The media nodes of the cluster: which may take a call, and their pings."""

from __future__ import annotations

import asyncio
import random
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from signalbox.ivr.media.errors import NoMediaNodeError
from signalbox.ivr.media.health import SILENT_S
from signalbox.ivr.media.node import Node
from signalbox.ng import NgClient, NgUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalbox.api.routing.v1.routing_pb2 import MediaNode
    from signalbox.ivr.media.node import Session

logger = structlog.get_logger(__name__)

PING_INTERVAL_S = 0.25
TRIES = 3
"""Nodes that a call tries at most."""
OWED_S = 3600.0
"""How long a node that left is waited for to free calls: after that it has done so itself (media.held_dead_after_s)."""

_UDP = "udp:"
_NONE: Mapping[str, str] = MappingProxyType({})


class MediaNodes:
    """Fed by :meth:`update`; :meth:`run` is the long-lived coroutine that pings, every ``interval_s``.

    ``silent_s``: after so long without an answer the calls of a node are lost.
    """

    def __init__(
        self,
        *,
        interval_s: float = PING_INTERVAL_S,
        silent_s: float = SILENT_S,
        chance: random.Random | None = None,
    ) -> None:
        self._silent_s = silent_s
        self._interval_s = interval_s
        self._chance = chance or random.Random()
        self._nodes: dict[tuple[str, str], Node] = {}
        self._leaving: dict[tuple[str, str], tuple[float, Node]] = {}
        """Each with the time when it left."""

    async def update(self, infos: Iterable[MediaNode]) -> None:
        """All media nodes that there are now. One that is no longer among them keeps the calls that it has; if it comes
        back it is the same.

        An address that is none is logged, and the node left out.
        """
        told = {(info.id, info.control_address): info for info in infos}
        for key in self._nodes.keys() - told.keys():
            self._leaving[key] = time.monotonic(), self._nodes.pop(key)
        for key, info in told.items():
            if key in self._leaving:
                _, self._nodes[key] = self._leaving.pop(key)
            if key in self._nodes:
                self._nodes[key].told(info)
                continue
            try:
                client = await NgClient.connect(info.control_address.removeprefix(_UDP))
            except NgUnreachableError as error:
                logger.error("media_node_unknown", node=info.id, address=info.control_address, error=str(error))
                continue
            self._nodes[key] = Node(info, client, self._silent_s)

    def candidates(
        self, *, records: bool = False, doubtful: bool = False, failed: Mapping[str, str] = _NONE
    ) -> list[Node]:
        """Nodes to try, at most TRIES, the best first. Raises NoMediaNodeError that tells why of each.

        Of two that are drawn the one with less load: many workers know the load of a moment ago, and all of them would
        choose the one least loaded then. ``records``, ``doubtful``: as :meth:`Node.unusable`; ``failed``: nodes that
        are not to be tried, by id, and why.
        """
        why = {
            node.id: failed.get(node.id) or node.unusable(records=records, doubtful=doubtful)
            for node in self._nodes.values()
        }
        usable = [node for node in self._nodes.values() if not why[node.id]]
        chosen: list[Node] = []
        while usable and len(chosen) < TRIES:
            best = min(self._chance.sample(usable, min(2, len(usable))), key=lambda node: node.load)
            chosen.append(best)
            usable.remove(best)
        if not chosen:
            raise NoMediaNodeError(why)
        return chosen

    @property
    def usable(self) -> int:
        """Nodes where a call may begin now."""
        return sum(not node.unusable(records=False) for node in self._nodes.values())

    def session(self, call_id: str, at: str = "") -> Session | None:
        """The call of that id at the node of the id ``at``, "": at whichever it is. None: there is none of ours."""
        nodes = [node for node in self._all() if at in ("", node.id)]
        return next((node.sessions[call_id] for node in nodes if call_id in node.sessions), None)

    def has_calls(self, id: str) -> bool:
        """Calls of ours are at the node of that id."""
        return any(node.id == id and node.sessions for node in self._all())

    async def run(self) -> None:
        """Long-lived coroutine: ping all nodes, those too that only keep calls of ours. Ends when it is cancelled."""
        pings: dict[Node, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                start = time.monotonic()
                await self._forget()
                for node in self._all():
                    if node not in pings or pings[node].done():
                        pings[node] = group.create_task(node.ping(), name=f"ping {node.id}")
                pings = {node: ping for node, ping in pings.items() if not ping.done()}
                await asyncio.sleep(max(0.0, start + self._interval_s - time.monotonic()))

    async def close(self) -> None:
        """Close all sockets. Calls that are left there are lost."""
        for node in self._all():
            node.lose_all("the worker ends")
            await node.close()
        self._nodes, self._leaving = {}, {}

    def _all(self) -> list[Node]:
        return [*self._nodes.values(), *(node for _, node in self._leaving.values())]

    async def _forget(self) -> None:
        """Nodes that left the cluster, and have no call of ours any more."""
        now = time.monotonic()
        for key, (left, node) in list(self._leaving.items()):
            if not node.busy and (not node.owes or now - left > OWED_S):
                del self._leaving[key]
                await node.close()
