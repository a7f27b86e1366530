"""The sign of life in the proxy's memory: while it is there, the proxy answers OPTIONS with 200.

The proxy lets it expire after some seconds (table ``health``), so that calls stay away from one whose sidecar is dead
or has nobody to ask. While the sidecar drains there is another sign instead, upon which the proxy refuses new calls.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox.edge import drain
from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.edge.control import Control

logger = structlog.get_logger(__name__)

INTERVAL_S = 1.0


class Beat:
    """``fit`` tells whether calls can be served now, ``draining`` whether new ones shall go elsewhere."""

    def __init__(self, control: Control, fit: Callable[[], bool], draining: Callable[[], bool]) -> None:
        self._control = control
        self._fit = fit
        self._draining = draining
        self._was: bool | None = None

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            fit = self._fit()
            if fit is not self._was:
                logger.info("fit_for_calls" if fit else "unfit_for_calls")
                self._was = fit
            if fit or self._draining():
                try:
                    if self._draining():
                        await drain.tell(self._control)
                    else:
                        await self._control.call("htable.seti", "health", "alive", 1)
                except (ProxyUnreachableError, ProxyRefusedError) as error:
                    # The applier tells of a proxy that is away; this one answers nothing then anyway.
                    logger.debug("sign_of_life_lost", reason=str(error))
            await asyncio.sleep(INTERVAL_S)
