"""Work that every replica does now and then, where whoever comes second finds nothing to do."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = structlog.get_logger(__name__)


async def sweeping(sweep: Callable[[], Awaitable[object]], interval_s: float, failed: str) -> None:
    """Long-lived coroutine: sweep about every so many seconds; ``failed`` is logged when that ends with an error."""
    while True:
        # Jitter, lest all replicas do the same.
        await asyncio.sleep(interval_s * random.uniform(0.5, 1.5))
        try:
            await sweep()
        except SignalboxError as error:
            logger.warning(failed, error=str(error))
