"""The nodes that calls may go to: those registered, or, when none of these takes calls, those that vanished last.

A node whose entry ended though nobody drained it has lost its way to etcd, or the process that registers it has died:
a media node's rtpengine may be well. While another node takes calls, that one is better. When none is left, no decision
could be worse than a call refused: the proxies find out with a call whether the node answers, and refuse it then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

logger = structlog.get_logger(__name__)

TOGETHER_S = 60.0
"""Nodes that vanished so long before the last one did so for another reason."""


class Registered(Protocol):
    """Of one kind."""

    @property
    def id(self) -> str:
        """Of the node, unique."""


NodeT = TypeVar("NodeT", bound=Registered)


class LiveNodes(Generic[NodeT]):
    """Nodes of a kind by id. ``nodes`` are those that calls may go to, with those that are registered and take none."""

    def __init__(
        self, kind: str, takes_calls: Callable[[NodeT], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``kind`` is what the log calls them; ``clock``: seconds."""
        self._kind = kind
        self._takes_calls = takes_calls
        self._clock = clock
        self._registered: dict[str, NodeT] = {}
        self._vanished: dict[str, tuple[float, NodeT]] = {}
        self._told = False
        self.nodes: Mapping[str, NodeT] = {}

    @property
    def known(self) -> Iterable[NodeT]:
        """Those registered, and those that vanished within the last minute or so: they may live."""
        return [*self._registered.values(), *(node for _, node in self._vanished.values())]

    def put(self, node: NodeT) -> None:
        """A node is registered, or its entry has changed."""
        self._registered[node.id] = node
        self._vanished.pop(node.id, None)
        self._choose()

    def delete(self, id: str) -> None:
        """A node's entry is gone."""
        self._vanish(id)
        self._choose()

    def reset(self, nodes: Iterable[NodeT]) -> None:
        """These are registered and no others."""
        listed = {node.id: node for node in nodes}
        for id in self._registered.keys() - listed.keys():
            self._vanish(id)
        self._registered = listed
        for id in listed:
            self._vanished.pop(id, None)
        self._choose()

    def _vanish(self, id: str) -> None:
        node = self._registered.pop(id, None)
        if node is None:
            return
        now = self._clock()
        self._vanished = {key: one for key, one in self._vanished.items() if now - one[0] <= TOGETHER_S}
        self._vanished[id] = (now, node)

    def _choose(self) -> None:
        left = {id: node for id, (_, node) in self._vanished.items() if self._takes_calls(node)}
        kept = left if left and not any(map(self._takes_calls, self._registered.values())) else {}
        self.nodes = self._registered | kept
        if bool(kept) != self._told:
            self._told = bool(kept)
            if kept:
                logger.error("no_node_registered", kind=self._kind, goes_on_with=sorted(kept))
            else:
                logger.info("nodes_registered_again", kind=self._kind, nodes=sorted(self.nodes))
