"""The proxy's rtpengine nodes: loaded by a table, switched one by one.

The proxy reloads the table at most every 10 s and takes a new node only then; a node that it has is switched off and on
at once. While a reload is awaited, :class:`~signalbox.edge.nodes.MediaNodes` keeps calls on the nodes that it has.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.edge.control import Control, ProxyRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.edge.nodes import MediaNodes
    from signalbox.edge.tables import Node

logger = structlog.get_logger(__name__)

RELOAD_INTERVAL_S = 10.5
"""Least time between two reloads: the proxy wants 10 whole seconds."""

RETRY_S = 2.0
"""Time until a node is switched on again that did not answer the proxy's ping, and until a refused reload."""

_Key = tuple[int, str]


class Media:
    """What the proxy knows of media nodes. ``pending``: something is still to be done."""

    def __init__(self, control: Control, nodes: MediaNodes) -> None:
        self._control = control
        self._nodes = nodes
        self._time = asyncio.get_running_loop().time
        self._loaded: dict[_Key, bool] | None = None
        self._reload_at = 0.0
        self._enable_at = 0.0
        self._usable = 0
        self._wanted = 0
        self.pending = False

    @property
    def serviceable(self) -> bool:
        """False while the cluster has media nodes but the proxy knows none of them yet."""
        return self._usable > 0 or self._wanted == 0

    def forget(self) -> None:
        """The proxy may have been restarted: ask it again what it has."""
        self._loaded = None
        self._enable_at = 0.0

    async def apply(self, nodes: Sequence[Node]) -> None:
        """Bring the proxy nearer to these nodes. Raises ProxyUnreachableError, ProxyRefusedError."""
        fresh = self._loaded is None
        loaded = self._loaded if self._loaded is not None else await self._show()
        wanted = {(node.number, node.url): node.enabled for node in nodes}
        if loaded.keys() != wanted.keys() and self._time() >= self._reload_at:
            loaded = await self._reload(wanted, loaded)
        self._loaded = loaded
        late = False
        for node in nodes:
            key = (node.number, node.url)
            if node.gone:
                await self._look_after(node, loaded)
            elif key in loaded and (fresh or loaded[key] is not node.enabled):
                late |= not await self._switch(key, node.enabled, loaded)
        self.pending = late or loaded.keys() != wanted.keys()
        usable = [node.number for node in nodes if node.takes_calls and loaded.get((node.number, node.url))]
        self._usable, self._wanted = len(usable), sum(node.takes_calls for node in nodes)
        self._nodes.set(usable)

    async def _show(self) -> dict[_Key, bool]:
        try:
            shown: Any = await self._control.call("rtpengine.show", "all")
        except ProxyRefusedError as error:
            if error.code != 404:
                raise
            return {}  # no sets loaded
        try:
            entries = shown if isinstance(shown, list) else [shown]
            # 5.6 says 0, 1 or "1(permanent)", 6.0 false or true.
            return {
                (int(entry["set"]), str(entry["url"])): str(entry["disabled"]) in ("0", "False") for entry in entries
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ProxyRefusedError("rtpengine.show", 0, "unknown answer") from error

    async def _reload(self, wanted: dict[_Key, bool], loaded: dict[_Key, bool]) -> dict[_Key, bool]:
        try:
            await self._control.call("rtpengine.reload")
        except ProxyRefusedError as error:
            # Another reload was less than 10 s ago, perhaps of a sidecar before us.
            self._reload_at = self._time() + RETRY_S
            logger.info("media_reload_awaited", reason=str(error))
            return loaded
        self._reload_at = self._time() + RELOAD_INTERVAL_S
        logger.info("media_reloaded", nodes=len(wanted))
        return dict(wanted)

    async def _look_after(self, node: Node, loaded: dict[_Key, bool]) -> None:
        """One that is gone is switched on once, if it is off: the proxy looks after it itself from then on."""
        key = (node.number, node.url)
        if node.enabled and loaded.get(key) is False:
            await self._control.call("rtpengine.enable", node.url, 1)
            loaded[key] = True

    async def _switch(self, key: _Key, enabled: bool, loaded: dict[_Key, bool]) -> bool:
        """Switch a node; False if it is to be on but did not answer the proxy."""
        if enabled and self._time() < self._enable_at:
            return False
        answer = await self._control.call("rtpengine.enable", key[1], int(enabled))
        answered = not isinstance(answer, dict) or answer.get("status") != "fail"
        loaded[key] = enabled and answered
        if not answered:
            self._enable_at = self._time() + RETRY_S
        logger.info("media_switched", node=key[0], enabled=enabled, answered=answered)
        return answered
