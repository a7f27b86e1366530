"""Long work in slices, so that whatever else an event loop has to do is not kept waiting: calls, above all."""

from __future__ import annotations

import asyncio
import time

SLICE_S = 0.002


class Slices:
    """Work that begins now; between two pieces of it comes ``await slices.rest()``."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + SLICE_S

    async def rest(self) -> None:
        """Let whatever else waits have its turn, if a slice is over."""
        if time.perf_counter() >= self._end:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + SLICE_S
