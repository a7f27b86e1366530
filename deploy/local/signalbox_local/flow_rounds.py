"""What ``make bench-ivr`` measures: set-ups a second with their processor time, and calls at once with their memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.bench import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from signalbox_local.flow_call import Counts
    from signalbox_local.flow_site import FlowSite

KIND = "ivr"
"""Of the process that is measured."""
HOLD_S = 2.0
"""Calls of windows are bridged for so long."""
SETTLE_S = 4.0
"""A call lasts so long and a bit less: from then on as many end as begin."""
FULL = 0.9
"""Of a core, by the worker: there is no more to be had."""
STEP = 4 / 3
OVER_S = 60.0
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds at one rate."""

    rate: float
    """Calls begun a second."""
    seconds: float
    calls: int
    """That were bridged in it."""
    failed: int
    resent: int
    """SIP messages that were sent again."""
    answer_p99_ms: float
    """INVITE to 200."""
    connect_p99_ms: float
    """From the end of the key until both have heard each other, without the time it rang."""
    cpu_s: Mapping[str, float]
    """By kind of process, and of the load."""

    @property
    def per_call_ms(self) -> dict[str, float]:
        """Processor time a call."""
        return {kind: seconds / max(1, self.calls) * 1000 for kind, seconds in self.cpu_s.items()}

    @property
    def setups_per_s_core(self) -> float:
        """Calls for each second of the worker's processor time."""
        return self.calls / max(0.01, self.cpu_s[KIND])

    @property
    def carried(self) -> bool:
        """All calls went all the way, as many as were begun, nothing was sent twice, and the worker had time left."""
        enough = self.calls > 0.9 * self.rate * self.seconds
        return not self.failed and not self.resent and enough and self.cpu_s[KIND] < FULL * self.seconds


@dataclass(frozen=True, slots=True)
class Level:
    """So many calls at once, all bridged."""

    calls: int
    alive: int
    """In which both sides have heard each other lately."""
    rss_mb: float
    """Of the worker."""
    cores: Mapping[str, float]
    """Processor time while the calls are held, seconds a second, by kind of process, and of the load."""
    failed: int
    """Calls so far."""

    @property
    def carried(self) -> bool:
        """All of them live, and none has failed."""
        return self.alive == self.calls and not self.failed


class Rounds:
    """Rounds at one site."""

    def __init__(self, site: FlowSite, console: Console) -> None:
        self._site = site
        self._console = console

    # --- set-ups -----------------------------------------------------------------------------------------------

    def cores(self, seconds: float) -> dict[str, float]:
        """Processor time of each kind from now on, seconds a second."""
        begun, before = time.monotonic(), self._cpu_seconds()
        time.sleep(seconds)
        after, took = self._cpu_seconds(), time.monotonic() - begun
        return {kind: (after[kind] - before[kind]) / took for kind in before}

    def highest_rate(self, start: float, seconds: float) -> float:
        """The last rate, each a third more than the one before, that was carried. 0: not even the first was."""
        rate, highest = start, 0.0
        while True:
            (window,) = self.windows(rate, seconds, 1)
            if not window.carried:
                self.drain()
                return highest
            highest, rate = rate, rate * STEP

    def windows(self, rate: float, seconds: float, count: int) -> list[Window]:
        """Windows one after the other at a rate that was reached before."""
        load = self._site.load
        load.begin(rate, HOLD_S)
        time.sleep(SETTLE_S)
        found = []
        for _ in range(count):
            begun, before, cpu = time.monotonic(), load.counts(), self._cpu_seconds()
            time.sleep(seconds)
            after, cpu_after, took = load.counts(), self._cpu_seconds(), time.monotonic() - begun
            found.append(_window(rate, took, before, after, {kind: cpu_after[kind] - cpu[kind] for kind in cpu}))
            self._tell(found[-1])
        return found

    def drain(self) -> Counts:
        """Begin no more calls, and wait until those that there are are over."""
        self._site.load.begin(0, HOLD_S)
        return self._until(lambda counts: not counts.open, OVER_S)

    # --- calls at once -----------------------------------------------------------------------------------------

    def level(self, calls: int, rate: float, held_s: float) -> Level:
        """Begin calls until there are so many, and hold them."""
        load = self._site.load
        missing = calls - load.counts().open
        load.begin(rate, None, missing)
        counts = self._until(lambda now: now.failed or now.reached["BRIDGED"] >= calls, missing / rate + OVER_S)
        cores = self.cores(held_s)
        counts = load.counts()
        found = Level(calls, counts.alive, self._site.rss_mb(), cores, counts.failed.total())
        self._console.print(
            f"  {calls} calls: {counts.alive} alive, {counts.failed.total()} failed; worker {found.rss_mb:.0f} MB, "
            f"{cores[KIND]:.2f} of a core"
        )
        return found

    def hang_up(self, rate: float) -> Counts:
        """End all calls, and wait until they are over."""
        counts = self._site.load.counts()
        self._site.load.hang_up(rate)
        return self._until(lambda now: not now.open, counts.open / rate + OVER_S)

    # --- inside ------------------------------------------------------------------------------------------------

    def _cpu_seconds(self) -> dict[str, float]:
        return {**self._site.cpu_seconds(), "load": self._site.load.counts().cpu_s}

    def _until(self, condition: Callable[[Counts], object], seconds: float) -> Counts:
        """The counts when it holds, or when the time is over."""
        deadline = time.monotonic() + seconds
        while not condition(counts := self._site.load.counts()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return counts

    def _tell(self, window: Window) -> None:
        told = ", ".join(f"{kind} {ms:.2f}" for kind, ms in window.per_call_ms.items())
        self._console.print(
            f"  {window.rate:.0f} calls/s for {window.seconds:.0f} s: {window.calls} bridged, {window.failed} failed, "
            f"{window.resent} sent again; ms a call: {told}"
        )


def _window(rate: float, seconds: float, before: Counts, after: Counts, cpu_s: Mapping[str, float]) -> Window:
    return Window(
        rate=rate,
        seconds=seconds,
        calls=after.reached["BRIDGED"] - before.reached["BRIDGED"],
        failed=after.failed.total() - before.failed.total(),
        resent=after.resent.total() - before.resent.total(),
        answer_p99_ms=_p99_ms(after.answered_s[len(before.answered_s) :]),
        connect_p99_ms=_p99_ms(after.connected_s[len(before.connected_s) :]),
        cpu_s=cpu_s,
    )


def _p99_ms(seconds: Sequence[float]) -> float:
    return round(percentile(seconds, 0.99) * 1000, 1) if seconds else 0.0
