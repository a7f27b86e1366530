"""What is done at SIGTERM: new calls go elsewhere, those that are being set up are served, then the proxy is ended.

The proxy answers OPTIONS and new INVITEs with 503 while the sign ``draining`` is in its memory (table ``health``,
``kamailio/routes/health.cfg``). The sign expires as the sign of life does: a proxy whose edge is killed while it drains
takes calls again as soon as it has another edge. Calls that are connected need no proxy in particular (Record-Route is
signed, a peer serves the dialog), so nobody waits for their end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox import daemon
from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError

if TYPE_CHECKING:
    from signalbox.edge.control import Control
    from signalbox.settings import EdgeSettings

logger = structlog.get_logger(__name__)

POLL_S = 0.1
FLUSH_S = 5.0
"""What happened last may be told to others for so long; what is not stays on the disk."""
PID_FILE = "kamailio.pid"
NAME = "kamailio"


class Drain:
    """``begun``: new calls are refused from now on."""

    def __init__(self, settings: EdgeSettings, control: Control) -> None:
        self._settings = settings
        self._control = control
        self._pid_file = settings.kamailio.runtime_dir / PID_FILE
        self.begun = False

    async def run(self) -> None:
        """Return when no request is being served at the proxy any more, after ``drain_s`` at the latest, and not before
        ``drain_min_s``; at once if the proxy does not run."""
        if not self._settings.drain_s:
            return
        self.begun = True
        loop = asyncio.get_running_loop()
        least = loop.time() + min(self._settings.drain_min_s, self._settings.drain_s)
        logger.info("draining", at_most_s=self._settings.drain_s)
        left = 0
        try:
            await tell(self._control)
            async with asyncio.timeout(self._settings.drain_s):
                while (left := await self._open()) or loop.time() < least:  # noqa: ASYNC110, only asking tells
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            logger.warning("drained_with_calls_left", transactions=left)
        except (ProxyUnreachableError, ProxyRefusedError) as error:
            logger.info("proxy_not_drained", reason=str(error))
        else:
            logger.info("drained")

    async def end_proxy(self) -> None:
        """End the proxy, if that is ours to do; returns when it has ended."""
        if self._settings.kamailio.ends_with_edge:
            await daemon.end(self._pid_file, NAME)

    async def _open(self) -> int:
        """Transactions that are not over. Those that only wait for retransmissions are."""
        answer = dict(await self._control.call("tm.stats"))
        return int(answer["current"]) - int(answer["waiting"])


async def tell(control: Control) -> None:
    """Put the sign into the proxy's memory. Raises ProxyUnreachableError, ProxyRefusedError."""
    await control.call("htable.seti", "health", "draining", 1)
