"""Calls at a steady rate while something breaks."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, SippResult

from support.scenario import CALLER
from support.site import CALLER_HOST, LINE_HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from support.site import Site

CALL_MS = 300
PATIENCE_S = 20.0
"""Longest that calls may go on after the last one began."""


@dataclass(frozen=True, slots=True)
class Total:
    """What became of all calls."""

    calls: int
    successful: int
    failed: int
    errors: str

    def __str__(self) -> str:
        return f"{self.successful} of {self.calls} calls succeeded, {self.failed} failed {self.errors}"


@contextlib.asynccontextmanager
async def calls(
    site: Site,
    workdir: Path,
    *,
    rate: float,
    seconds: float,
    proxies: Sequence[int] = (1, 2),
    scenario: Path = SCENARIOS / "uac_load.xml",
    hold_ms: int = CALL_MS,
    anchored: bool = False,
    most_calls: int = 0,
) -> AsyncIterator[asyncio.Task[Total]]:
    """Calls to one number, answered by one line, split over the proxies; the task ends when all of them are over."""
    each = round(rate * seconds / len(proxies))
    common = {"workdir": workdir, "hold_ms": hold_ms, "max_open": 50_000, "timeout_s": seconds + PATIENCE_S}
    async with contextlib.AsyncExitStack() as stack:
        options = SippOptions(SCENARIOS / "uas_load.xml", name="line", host=LINE_HOST, **common)
        line = await stack.enter_async_context(await Sipp.start(options))
        number = site.number([line.address], anchored=anchored, most_calls=most_calls)
        callers = []
        for n in proxies:
            target = "{}:{}".format(*site.sip(n))
            options = SippOptions(
                scenario, name=f"callers-{n}", host=CALLER_HOST, target=target, service=number, calls=each,
                rate=rate / len(proxies), keys={"caller": CALLER}, **common,
            )  # fmt: skip
            callers.append(await stack.enter_async_context(await Sipp.start(options)))
        task = asyncio.create_task(_total(callers))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _total(callers: Sequence[Sipp]) -> Total:
    results: list[SippResult] = await asyncio.gather(*(caller.wait() for caller in callers))
    return Total(
        sum(result.statistics.calls for result in results),
        sum(result.statistics.successful for result in results),
        sum(result.statistics.failed for result in results),
        "".join(result.errors for result in results)[:2000],
    )
