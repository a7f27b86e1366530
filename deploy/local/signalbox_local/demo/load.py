"""Calls at a steady rate through several proxies, and lines that take them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.address import split

from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, SippResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

CALL_MS = 300
"""How long a call lasts after the answer, milliseconds."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, played by SIPp."""

    id: str
    scenario: str
    address: str
    """host:port."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Calls to make."""

    number: str
    caller_host: str
    proxies: Sequence[str]
    """host:port; the calls are split evenly."""
    rate: float
    """Calls per second, of all proxies together."""
    seconds: float

    @property
    def calls_each(self) -> int:
        """Calls through each proxy."""
        return round(self.rate * self.seconds / len(self.proxies))


@contextlib.asynccontextmanager
async def lines(lines: Sequence[Line], workdir: Path) -> AsyncIterator[list[Sipp]]:
    """Lines that take calls within the block."""
    async with contextlib.AsyncExitStack() as stack:
        running = []
        for line in lines:
            host, port = split(line.address)
            options = SippOptions(
                SCENARIOS / line.scenario, workdir, line.id, host=host, port=port, max_open=50_000, timeout_s=0
            )
            running.append(await stack.enter_async_context(await Sipp.start(options)))
        yield running


@contextlib.asynccontextmanager
async def calls(traffic: Traffic, workdir: Path) -> AsyncIterator[asyncio.Task[list[SippResult]]]:
    """Callers at work within the block; the task gives their results, one a proxy, when all calls are over."""
    async with contextlib.AsyncExitStack() as stack:
        callers = []
        for n, proxy in enumerate(traffic.proxies, 1):
            options = SippOptions(
                SCENARIOS / "uac_load.xml",
                workdir,
                f"callers-{n}",
                host=traffic.caller_host,
                target=proxy,
                service=traffic.number,
                rate=traffic.rate / len(traffic.proxies),
                calls=traffic.calls_each,
                hold_ms=CALL_MS,
                timeout_s=traffic.seconds + 30,
                keys={"caller": "13800001234"},
            )
            callers.append(await stack.enter_async_context(await Sipp.start(options)))
        task = asyncio.create_task(_results(callers))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _results(callers: Sequence[Sipp]) -> list[SippResult]:
    return await asyncio.gather(*(caller.wait() for caller in callers))
