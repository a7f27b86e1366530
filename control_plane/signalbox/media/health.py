"""Is the rtpengine well? A ping every few hundred milliseconds, two misses in a row say no, one answer says yes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.ng import NgError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.media.metrics import MediaMetrics
    from signalbox.ng import NgClient

logger = structlog.get_logger(__name__)

MISSES = 2
"""Pings without an answer in a row after which the node is unhealthy."""
CALLS_INTERVAL_S = 1.0
"""Time between two counts of calls."""


class Health:
    """What is known of the rtpengine. Unhealthy until the first answer. ``changed`` is called after every change."""

    def __init__(self, changed: Callable[[], None], metrics: MediaMetrics) -> None:
        self._changed = changed
        self._metrics = metrics
        self._misses = MISSES
        self.calls = 0

    @property
    def healthy(self) -> bool:
        """True if it answers."""
        return self._misses < MISSES

    def answered(self, latency_s: float) -> None:
        """A pong came."""
        was = self.healthy
        self._misses = 0
        self._metrics.pinged(latency_s)
        if not was:
            logger.info("rtpengine_healthy", latency_ms=round(latency_s * 1000, 1))
            self._changed()

    def missed(self, error: NgError) -> None:
        """No pong came, or a wrong one."""
        was = self.healthy
        self._misses += 1
        self._metrics.missed()
        if was and not self.healthy:
            logger.error("rtpengine_unhealthy", error=str(error))
            self._changed()

    def counted(self, calls: int) -> None:
        """The rtpengine told how many calls it carries."""
        self._metrics.calls.set(calls)
        if calls != self.calls:
            self.calls = calls
            self._changed()


async def ping_forever(client: NgClient, health: Health, interval_s: float, timeout_s: float) -> None:
    """Long-lived coroutine: ping every ``interval_s`` and tell ``health``."""
    while True:
        start = time.monotonic()
        try:
            await client.ping(timeout_s)
        except NgError as error:
            health.missed(error)
        else:
            health.answered(time.monotonic() - start)
        await asyncio.sleep(max(0.0, start + interval_s - time.monotonic()))


async def count_forever(client: NgClient, health: Health) -> None:
    """Long-lived coroutine: count calls every CALLS_INTERVAL_S while the rtpengine is healthy."""
    while True:
        if health.healthy:
            try:
                health.counted(await client.calls())
            except NgError as error:
                # Whether it is well is for the pings to say.
                logger.warning("calls_not_counted", error=str(error))
        await asyncio.sleep(CALLS_INTERVAL_S)
