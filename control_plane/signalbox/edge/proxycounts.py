"""The proxy's own counters (``kamailio/routes/counters.cfg``), for our metrics: it has no door of its own for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError

if TYPE_CHECKING:
    from signalbox.edge.control import Control

logger = structlog.get_logger(__name__)

INTERVAL_S = 5.0


class ProxyCounts:
    """``known``: the counters by name, as last read; they begin at 0 with every life of the proxy."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.known: dict[str, int] = {}

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            try:
                answer = await self._control.call("cnt.grp_get_all", "signalbox")
                self.known = {str(name): int(value) for name, value in dict(answer).items()}
            except (ProxyUnreachableError, ProxyRefusedError, TypeError, ValueError) as error:
                # The applier tells of a proxy that is away.
                logger.debug("proxy_counts_unknown", reason=str(error))
            await asyncio.sleep(INTERVAL_S)
