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
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from signalbox_local import interrupts
from signalbox_local.bench import Spread, machine, write_json
from signalbox_local.cluster import Cluster
from signalbox_local.flow_load import Sockets
from signalbox_local.flow_rounds import HOLD_S, WORKER, Rounds
from signalbox_local.flow_site import WORKER as WORKER_NAME
from signalbox_local.flow_site import FlowSite, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY = Path("var/bench/ivr")
FILE = Path("var/bench/ivr.json")
SETUPS, CALLS, MEMORY_MB = 200, 3_000, 1_000
"""To reach."""
LEFT_S = 60.0
OPEN = 1_000
"""Calls at once of the rounds that count set-ups, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    windows: int = 5
    window_s: float = 10.0
    start_rate: float = 30.0
    margin: float = 0.8
    """Windows have so much of the highest rate that was carried."""
    rate: float = 0.0
    """Calls/s of the windows; 0: to be found."""
    idle_s: float = 10.0
    levels: Sequence[int] = (1_000, 3_000, 10_000)
    """Calls at once."""
    ramp_rate: float = 40.0
    held_s: float = 30.0


SMALL = Plan(windows=2, window_s=3.0, rate=10.0, idle_s=2.0, levels=(20,), ramp_rate=10.0, held_s=2.0)
"""To see that it works."""


@contextlib.contextmanager
def site(calls: int) -> Iterator[FlowSite]:
    """A new cluster for so many calls at once."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    with (
        contextlib.closing(Sockets.open()) as sockets,
        Cluster(DIRECTORY, options(calls)) as cluster,
        contextlib.closing(FlowSite(cluster, sockets, calls)) as found,
    ):
        yield found


def setups(plan: Plan, console: Console) -> dict[str, Any]:
    """Calls a second."""
    with site(OPEN) as here:
        rounds = Rounds(here, console)
        idle = rounds.cores(plan.idle_s)
        highest = 0.0 if plan.rate else rounds.highest_rate(plan.start_rate, plan.window_s / 2)
        before = here.load.counts()
        console.print(f"worker: process {here.cluster.pid(WORKER_NAME)}")
        windows = rounds.windows(plan.rate or max(1.0, highest * plan.margin), plan.window_s, plan.windows)
        counts = rounds.drain()
        left = here.left_after(LEFT_S)
    parts = {kind: Spread.of([one.per_call_ms[kind] for one in windows]) for kind in windows[0].cpu_s}
    per_core = Spread.of([one.setups_per_s_core for one in windows])
    return {
        "setups_per_s_core": round(per_core.median, 1),
        "setups": {
            "per_s_core": per_core.json(1),
            "worker_ms_per_call": parts[WORKER].json(3),
            "parts_ms_per_call": {kind: spread.json(3) for kind, spread in parts.items()},
            "idle_cores": {kind: round(share, 4) for kind, share in idle.items()},
            "rate": windows[0].rate,
            "highest_rate_carried": highest,
            "held_s": HOLD_S,
            "answer_p99_ms": Spread.of([one.answer_p99_ms for one in windows]).json(1),
            "connect_p99_ms": Spread.of([one.connect_p99_ms for one in windows]).json(1),
            "windows": [asdict(one) for one in windows],
        },
        "failed": dict(counts.failed - before.failed),
        "resent": dict(counts.resent - before.resent),
        "unfinished": counts.open,
        "left": left,
    }


def concurrent(plan: Plan, console: Console) -> dict[str, Any]:
    """Calls at once, up to the first level at which a call fails."""
    with site(max(plan.levels)) as here:
        rounds = Rounds(here, console)
        fresh_mb, levels = here.rss_mb(), []
        for calls in plan.levels:
            levels.append(rounds.level(calls, plan.ramp_rate, plan.held_s))
            if levels[-1].alive < calls:
                break
        counts = rounds.hang_up(2 * plan.ramp_rate)
        left = here.left_after(LEFT_S)
        after_mb = here.rss_mb()
    carried = [one for one in levels if one.alive == one.calls]
    most = carried[-1] if carried else levels[0]
    return {
        "concurrent_calls": most.alive,
        "worker_rss_mb": round(most.rss_mb),
        "concurrent": {
            "levels": [asdict(one) for one in levels],
            "fresh_rss_mb": round(fresh_mb, 1),
            "after_rss_mb": round(after_mb, 1),
            "kb_per_call": round((most.rss_mb - fresh_mb) * 1000 / max(1, most.alive), 1),
            "ramp_rate": plan.ramp_rate,
        },
        "failed": dict(counts.failed),
        "resent": dict(counts.resent),
        "unfinished": counts.open,
        "left": left,
    }


def joined(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All figures; what failed and what is left, of all parts together, and what of each."""
    figures: dict[str, Any] = {}
    failed: Counter[str] = Counter()
    for part in parts.values():
        figures |= part
        failed.update(part["failed"])
    ends = {
        name: {key: part[key] for key in ("failed", "resent", "unfinished", "left")} for name, part in parts.items()
    }
    return figures | {"failed": failed.total(), "failed_why": dict(failed)} | {"ends": ends}


def table(figures: dict[str, Any]) -> Table:
    """The figures, with what is to be reached."""
    rows = Table("figure", "measured", "to reach", box=None, pad_edge=False)
    wanted = {
        "setups_per_s_core": f"≥ {SETUPS}, aim 500",
        "concurrent_calls": f"≥ {CALLS}, aim 10000",
        "worker_rss_mb": f"≤ {MEMORY_MB}",
        "failed": "0",
    }
    for name, asked in wanted.items():
        if name in figures:
            rows.add_row(name, str(figures[name]), asked)
    return rows


def clean(figures: dict[str, Any]) -> bool:
    """True if no call failed and nothing was left of any."""
    ends = figures["ends"].values()
    return not figures["failed"] and not any(one["unfinished"] or any(one["left"].values()) for one in ends)


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Run it; 1 if a call failed, or something was left of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="Few calls: to see that it works.")
    parser.add_argument(
        "--parts", default="setups,concurrent", help="What is measured, with commas: setups, concurrent."
    )
    parser.add_argument("--rate", type=float, help="Calls/s of the windows, instead of looking for it.")
    parser.add_argument("--windows", type=int, help="How many windows.")
    parser.add_argument("--levels", help="Calls at once, with commas.")
    parser.add_argument("--ramp-rate", type=float, help="Calls/s up to them.")
    given = parser.parse_args(arguments)
    plan = SMALL if given.small else Plan()
    chosen = {name: value for name in ("rate", "windows", "ramp_rate") if (value := getattr(given, name)) is not None}
    if given.levels:
        chosen["levels"] = tuple(map(int, given.levels.split(",")))
    plan = replace(plan, **chosen)
    measured = {"setups": setups, "concurrent": concurrent}
    interrupts.install()
    console, begun = Console(highlight=False, soft_wrap=True), time.monotonic()
    figures = joined({name: measured[name](plan, console) for name in given.parts.split(",")})
    figures |= {"plan": asdict(plan), "took_s": round(time.monotonic() - begun), "machine": machine()}
    write_json(FILE, figures)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    console.print(table(figures))
    console.print(f"\n{FILE}")
    return 0 if clean(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
