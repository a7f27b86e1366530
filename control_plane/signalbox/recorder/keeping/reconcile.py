"""Compares what is promised at each media node with what the node has.

Every recorder may do it, as nothing is done twice. Times are this process's own: how long it has seen a promise open,
how long it has not reached a node. No clock of a proxy or a node matters, and a recorder that has just started waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from signalbox.api.recording.v1 import recording_pb2
from signalbox.errors import MediaNodeUnavailableError, SignalboxError
from signalbox.recorder.keeping.account import Account
from signalbox.recorder.outages import needed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.catalog.catalog import Catalog
    from signalbox.recorder.keeping.account import Found
    from signalbox.recorder.keeping.notices import Notices
    from signalbox.recorder.metrics import RecorderMetrics
    from signalbox.recorder.nodes import Node, Nodes
    from signalbox.recorder.outages import Outages

logger = structlog.get_logger(__name__)

INTERVAL_S = 10.0
"""Between two looks."""
PAGE = 1000
"""Promises that are read at once."""
EVER_MS = 2**62

_STATES = {
    recording_pb2.CAPTURE_STATE_ACTIVE: "active",
    recording_pb2.CAPTURE_STATE_READY: "ready",
    recording_pb2.CAPTURE_STATE_CLAIMED: "claimed",
}

Listings = dict[int, recording_pb2.ListCapturesResponse | None]
"""By number of the node; None: it cannot be reached."""


class Reconciler:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(
        self,
        catalog: Catalog,
        nodes: Nodes,
        notices: Notices,
        outages: Outages,
        metrics: RecorderMetrics,
        lost_after_s: float,
    ) -> None:
        """``lost_after_s``: recordings of a node that could not be reached for so long are missing, seconds."""
        self._catalog = catalog
        self._nodes = nodes
        self._notices = notices
        self._outages = outages
        self._metrics = metrics
        self._lost_after_s = lost_after_s
        self._accounts: dict[int, Account] = {}
        self._uncaptured: set[str] = set()

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            try:
                await self.look(time.monotonic())
            except SignalboxError as error:
                need = needed(error)
                if need is not None:
                    self._outages.failed(need, error)
                else:
                    logger.error("reconciling_failed", error=str(error))
            await asyncio.sleep(INTERVAL_S)

    async def look(self, now: float) -> None:
        """Look once. ``now``: of a monotonic clock, seconds. Raises what catalog and store raise."""
        if not self._nodes.known:
            return
        listings = await self._listings()
        promised = set(await self._catalog.nodes())
        listings.update({number: None for number in promised if number not in listings})
        self._accounts = {number: self._accounts.get(number) or Account(self._lost_after_s) for number in listings}
        uncaptured: set[str] = set()
        for number, listing in listings.items():
            # Read after the node was asked: what has been stored and deleted there since then is not open here.
            calls = await self._promised(number) if number in promised else []
            found = self._accounts[number].looked(now, listing, calls)
            uncaptured |= found.uncaptured
            await self._tell(found)
        self._alarm(uncaptured)
        waits = [account.longest_wait_s(now) for account in self._accounts.values()]
        self._metrics.oldest_wait_seconds.set(max(waits, default=0.0))
        self._metrics.unreachable_nodes.set(sum(listing is None for listing in listings.values()))

    async def _listings(self) -> Listings:
        nodes = self._nodes.all()
        self._metrics.captures.clear()
        found = await asyncio.gather(*map(self._listing, nodes))
        return {node.number: listing for node, listing in zip(nodes, found, strict=True)}

    async def _listing(self, node: Node) -> recording_pb2.ListCapturesResponse | None:
        try:
            listing = await node.captures.list()
        except MediaNodeUnavailableError:
            # Told by the work, which asks more often.
            return None
        if listing.media_node != node.number:
            logger.error("media_node_is_another", node=node.id, number=node.number, found=listing.media_node)
            return None
        counts = Counter(_STATES.get(capture.state, "unknown") for capture in listing.captures)
        for state in _STATES.values():
            self._metrics.captures.labels(node.id, state).set(counts[state])
        return listing

    async def _promised(self, number: int) -> list[str]:
        calls: list[str] = []
        while page := await self._catalog.promised(number, EVER_MS, calls[-1] if calls else "", PAGE):
            calls += page
            if len(page) < PAGE:
                break
        return calls

    async def _tell(self, found: Found) -> None:
        for call_id, reason in found.missing.items():
            try:
                await self._notices.missing(call_id, reason)
            except SignalboxError as error:
                if needed(error) is not None:
                    raise
                # Of one tenant: the others' are told all the same.
                logger.error("missing_not_told", call_id=call_id, error=str(error))
            except Exception as error:
                # Of one row, whatever is in it.
                logger.error("missing_not_told", call_id=call_id, exc_info=error)

    def _alarm(self, uncaptured: Iterable[str]) -> None:
        now = set(uncaptured)
        for call_id in sorted(now - self._uncaptured):
            logger.error("call_not_captured", call_id=call_id)
        self._uncaptured = now
        self._metrics.not_captured.set(len(now))
