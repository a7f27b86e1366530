"""``make bench-ivr``: what a call flow costs a worker with voice, and how many calls one worker can have.

One worker in a whole cluster on loopback: one proxy, one routing replica, rtpengines with their sidecars. A call is
answered, hears a prompt, presses a key, is connected to a line by way of the proxy, both hear each other, and it is
hung up; every stage of every call is checked by what its two sides hear (:mod:`signalbox_local.flow_calls`). First
calls a second, with the processor time of the worker a call; then calls at once, with its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from signalbox_local import flow_figures, interrupts
from signalbox_local.bench import machine, write_json
from signalbox_local.cluster import Cluster
from signalbox_local.flow_figures import Part
from signalbox_local.flow_rounds import Rounds
from signalbox_local.flow_site import WORKER, FlowSite, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


DIRECTORY = Path("var/bench/ivr")
"""Of the cluster; the figures are kept beside it."""
LEFT_S = 60.0
OPEN = 1_000
"""Calls at once while calls a second are counted, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    windows: int = 5
    window_s: float = 10.0
    rate: float = 0.0
    """Calls/s of the windows; 0: ``margin`` of the highest that is carried, which is looked for from ``start`` on."""
    start: float = 30.0
    margin: float = 0.7
    idle_s: float = 10.0
    levels: Sequence[int] = (1_000, 3_000, 10_000)
    """Calls at once."""
    ramp_rate: float = 40.0
    """Calls/s up to them; they are hung up twice as fast."""
    held_s: float = 45.0
    """Longer than it takes until who is not heard counts as dead."""


SMALL = Plan(windows=2, window_s=3.0, rate=10.0, idle_s=2.0, levels=(20,), ramp_rate=10.0, held_s=2.0)
"""To see that it works."""


@contextlib.contextmanager
def site(directory: Path, calls: int) -> Iterator[FlowSite]:
    """A new cluster for so many calls at once. Raises ClusterError if one is running there."""
    cluster = Cluster(directory, options(calls))
    if not cluster.running:
        shutil.rmtree(directory, ignore_errors=True)
    with cluster, FlowSite.of(cluster, calls) as found:
        yield found
    shutil.rmtree(directory, ignore_errors=True)


def setups(plan: Plan, directory: Path, console: Console) -> Part:
    """Calls a second."""
    with site(directory, OPEN) as here:
        rounds = Rounds(here, console)
        console.print(f"the worker is process {here.cluster.pid(WORKER)}")
        idle = rounds.cores(plan.idle_s)
        highest = 0.0 if plan.rate else rounds.highest_rate(plan.start, plan.window_s / 2)
        before = here.load.counts()
        windows = rounds.windows(
            plan.rate or (highest or plan.start) * plan.margin, plan.window_s, plan.windows
        )  # fmt: skip
        counts = rounds.drain()
        left = here.left_after(LEFT_S)
    figures = flow_figures.setups(windows, idle, highest)
    return Part(figures, counts.failed - before.failed, counts.resent - before.resent, counts.open, left)


def concurrent(plan: Plan, directory: Path, console: Console) -> Part:
    """Calls at once, up to the first level at which a call fails."""
    with site(directory, max(plan.levels)) as here:
        rounds = Rounds(here, console)
        fresh_mb, levels = here.rss_mb(), []
        for calls in plan.levels:
            levels.append(rounds.level(calls, plan.ramp_rate, plan.held_s))
            if not levels[-1].carried:
                break
        counts = rounds.hang_up(2 * plan.ramp_rate)
        left = here.left_after(LEFT_S)
        figures = flow_figures.concurrent(levels, fresh_mb, here.rss_mb())
    return Part(figures, counts.failed, counts.resent, counts.open, left)


PARTS = {"setups": setups, "concurrent": concurrent}


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Run it; 1 if a call failed, or something was left of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="Few calls: to see that it works.")
    parser.add_argument("--parts", default=",".join(PARTS), help="What is measured: %(default)s.")
    parser.add_argument("--rate", type=float, help="Calls/s of the windows, instead of looking for it.")
    parser.add_argument("--windows", type=int, help="How many windows.")
    parser.add_argument("--levels", help="Calls at once, with commas between them.")
    parser.add_argument("--ramp-rate", type=float, help="Calls/s up to them.")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="Of the cluster: %(default)s.")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.parts.split(",") if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]!r}")
    chosen = {name: value for name in ("rate", "windows", "ramp_rate") if (value := getattr(given, name)) is not None}
    if given.levels:
        chosen["levels"] = tuple(map(int, given.levels.split(",")))
    plan = replace(SMALL if given.small else Plan(), **chosen)
    interrupts.install()
    console, begun = Console(highlight=False, soft_wrap=True), time.monotonic()
    parts = {name: PARTS[name](plan, given.directory, console) for name in given.parts.split(",")}
    figures, file = flow_figures.summary(parts), given.directory.with_suffix(".json")
    write_json(
        file, figures | {"plan": asdict(plan), "took_s": round(time.monotonic() - begun), "machine": machine()}
    )  # fmt: skip
    console.print(flow_figures.table(figures))
    console.print(f"\n{file}")
    return 0 if all(part.clean for part in parts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
