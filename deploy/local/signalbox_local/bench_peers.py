"""``make bench-peers``: the same calls through other ways to route them, and through ours, in turns.

*static*: our proxy without the question. *drouting*: the same with Kamailio's own table of 1,000 prefixes. *kemi*:
Kamailio whose workers ask our routing replica from Python and wait. *b2bua*: sippy's back-to-back user agent, which
sends every call on. *routed*: ours. Whole calls INVITE…BYE without media; processor time is that of all processes that
a call needs to be set up. The peers have the less to do: kemi and b2bua look at no source and keep no events.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from signalbox.edge import kamailio_config
from signalbox.settings import load

from signalbox_local import drouting_data, interrupts, routing_data
from signalbox_local.bench import Spread, machine, write_json
from signalbox_local.bench_drouting import DROUTING
from signalbox_local.bench_edge import (
    CALLED,
    HOST,
    ONE_DECISION_WORKER,
    ROUTED,
    STATIC,
    Bench,
    Callee,
    Plan,
    Run,
    planned,
)
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from signalbox_local.peers.process import Peer, b2bua, kemi_proxy
from signalbox_local.rules import Rules
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRECTORY, FILE = Path("var/bench/peers"), Path("var/bench/peers.json")
KEMI, B2BUA = "kemi", "b2bua"
VARIANTS = (STATIC, DROUTING, ROUTED, KEMI, B2BUA)
PREFIXES = 1_000
TRUNK = "callers"
SECOND_PROXY = "kamailio-2"
WARM_UP_RATE = 200
SEARCH_STEP, SEARCH_TRIES = 1.15, 2
SEARCH_END = 9_000.0
PATIENCE_S = 10.0
"""With the calls of a run that was too much; what is open then has failed."""
LINE_IDLE_S = 10.0
"""After a run the line's calls are over."""


USUAL = Plan(rates=(100, 200, 500, 1000), rounds=3, run_s=4.0, search=True)
"""A peer that does not stand a rate is not asked for the higher ones."""
SMALL = Plan(rates=(50, 100), rounds=1, run_s=2.0, search=False)
"""To see that it works."""


class Peers:
    """All of them, and the runs that each has made."""

    def __init__(self, bench: Bench, outside: Mapping[str, Peer], line: Sipp) -> None:
        self.bench = bench
        self._outside = outside
        self._line = line

    async def run(self, variant: str, purpose: str, rate: float, seconds: float) -> Run:
        """One run. What is left of one that was too much does not spoil the next."""
        run = await self.bench.run(variant, purpose, rate, seconds)
        if run.clean:
            return run
        deadline = time.monotonic() + LINE_IDLE_S
        while self._line.statistics().open and time.monotonic() < deadline:  # noqa: ASYNC110
            # SIPp writes them once a second.
            await asyncio.sleep(0.5)
        if variant in self._outside:
            await asyncio.to_thread(self._outside[variant].restart)
        return run

    async def at_rates(self, plan: Plan) -> dict[str, float]:
        """All in turns at each rate; the highest that each stands, calls/s; 0: none."""
        standing, stood = list(VARIANTS), dict.fromkeys(VARIANTS, 0.0)
        for rate in plan.rates:
            clean: defaultdict[str, int] = defaultdict(int)
            for n in range(plan.rounds):
                for variant in standing[:: -1 if n % 2 else 1]:
                    clean[variant] += (await self.run(variant, "load", rate, plan.run_s)).clean
            standing = [variant for variant in standing if 2 * clean[variant] >= plan.rounds]
            stood.update(dict.fromkeys(standing, float(rate)))
        return stood

    async def highest(self, variant: str, stood: float, plan: Plan) -> float:
        """From a rate that it stands (0: none), the highest at which one of SEARCH_TRIES runs was clean, calls/s."""
        best = stood
        rate = (stood or plan.rates[0] / 2) * (SEARCH_STEP if stood else 1)
        while rate < SEARCH_END:
            for _ in range(SEARCH_TRIES):
                if (await self.run(variant, "search", rate, plan.run_s)).clean:
                    break
            else:
                return best
            best, rate = rate, rate * SEARCH_STEP
        return best


async def measure(directory: Path, console: Console, plan: Plan) -> dict[str, object]:
    """Run all of it. Raises ClusterError, PeerError or SippError."""
    port = free_port(HOST)
    destination = f"{HOST}:{port}"
    workdir = directory / "sipp"
    caller, answering = scenarios(workdir)
    with contextlib.ExitStack() as stack:
        options = Options(name=ROUTED, replicas=2, proxies=1, media_nodes=0, settings=ONE_DECISION_WORKER)
        asking = stack.enter_context(Cluster(directory / ROUTED, options))
        options = Options(name=STATIC, replicas=1, proxies=2, media_nodes=0, static_destination=f"sip:{destination}")
        silent = stack.enter_context(Cluster(directory / STATIC, options))
        for cluster in (asking, silent):
            _rules(cluster, destination)
        _route_by_table(silent, directory / "drouting.sqlite", destination)
        outside = _outside(directory, asking, destination)
        for peer in outside.values():
            stack.enter_context(peer)
        answer = SippOptions(answering, workdir, "line", host=HOST, port=port, max_open=50_000, timeout_s=0)
        async with await Sipp.start(answer) as line:
            bench = Bench(
                _callees(asking, silent, outside), line, workdir, console, scenario=caller, patience_s=PATIENCE_S
            )
            peers = Peers(bench, outside, line)
            for variant in VARIANTS:
                await peers.run(variant, "warm-up", min(WARM_UP_RATE, max(plan.rates)), plan.run_s)
            highest = await peers.at_rates(plan)
            if plan.search:
                for variant in VARIANTS:
                    highest[variant] = await peers.highest(variant, highest[variant], plan)
    return summary(bench.runs, highest, searched=plan.search)


def scenarios(workdir: Path) -> tuple[Path, Path]:
    """The usual caller and line, whose Contact names no transport: SIPp writes it in capitals, which sippy refuses."""
    workdir.mkdir(parents=True, exist_ok=True)
    made = []
    for name in ("uac_load.xml", "uas_load.xml"):
        file = workdir / name
        file.write_text((SCENARIOS / name).read_text().replace(";transport=[transport]", ""))
        made.append(file)
    return made[0], made[1]


def _rules(cluster: Cluster, line: str) -> None:
    with Rules.of(cluster) as rules:
        rules.tenant("bench")
        rules.trunk(TRUNK, [HOST])
        rules.line("bench", "line", line)
        rules.number("bench", CALLED, [["line"]], anchored=False)


def _route_by_table(cluster: Cluster, file: Path, line: str) -> None:
    """From now on the second proxy of the cluster does."""
    others = (routing_data.digits(n) for n in range(PREFIXES - 1))
    drouting_data.write(file, {1: line}, [(CALLED, 1), *((number, 1) for number in others if number != CALLED)])
    edge = load(cluster.directory / "settings" / "edge-2.toml").edge
    drouting_data.route_by(file, edge.kamailio.runtime_dir / kamailio_config.CONFIG_FILE)
    cluster.stop_process(SECOND_PROXY)
    cluster.start_process(SECOND_PROXY)


def _outside(directory: Path, asking: Cluster, line: str) -> dict[str, Peer]:
    """Those that are no proxy of ours, not started yet; with Python in Kamailio as many workers as our proxy has."""
    addresses = [f"{HOST}:{port}" for port in (free_port(HOST), free_port(HOST))]
    workers = load(asking.directory / "settings" / "edge-1.toml").edge.kamailio.udp_workers
    replica = asking.address("routing-1", "grpc")
    return {
        KEMI: kemi_proxy(directory / KEMI, addresses[0], replica, TRUNK, workers),
        B2BUA: b2bua(directory / B2BUA, addresses[1], line),
    }


def _callees(asking: Cluster, silent: Cluster, outside: Mapping[str, Peer]) -> dict[str, Callee]:
    """Each with the processes that a call needs to be set up: nobody counts who only follows events."""

    def proxy(name: str) -> Callee:
        return Callee(silent.address(name, "sip"), {name: functools.partial(silent.cpu_seconds, name)})

    kemi, other = outside[KEMI], outside[B2BUA]
    replica = functools.partial(asking.cpu_seconds, "routing-1")
    return {
        STATIC: proxy("kamailio-1"),
        DROUTING: proxy(SECOND_PROXY),
        ROUTED: Callee.of(asking, "kamailio", "edge", "routing"),
        KEMI: Callee(kemi.address, {"kamailio": kemi.cpu_seconds, "routing-1": replica}),
        B2BUA: Callee(other.address, {"sippy": other.cpu_seconds}),
    }


def summary(runs: Sequence[Run], highest: Mapping[str, float], *, searched: bool) -> dict[str, object]:
    """The figures, from the runs. ``cpu_ms``: at all rates that were tried, whether the peer stood them or not."""
    loaded: defaultdict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in runs:
        if run.purpose == "load":
            loaded[run.variant, run.rate].append(run)
    figures: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        own = {rate: some for (name, rate), some in sorted(loaded.items()) if name == variant}
        figures[variant] = {
            "cpu_ms": {f"{rate:.0f}": Spread.of([run.all_cpu_ms for run in some]).json() for rate, some in own.items()},
            "beside_static": {
                f"{rate:.0f}": Spread.of(
                    [one.all_cpu_ms / base.all_cpu_ms for one, base in zip(some, loaded[STATIC, rate], strict=True)]
                ).json()
                for rate, some in own.items()
                if loaded[STATIC, rate] and all(base.all_cpu_ms for base in loaded[STATIC, rate])
            },
            "calls": sum(run.calls for some in own.values() for run in some),
            "failed": sum(run.failed for some in own.values() for run in some),
            "retransmissions": sum(run.retransmissions for some in own.values() for run in some),
            **({"max_clean_cps": round(highest[variant])} if searched else {}),
        }
    return {"variants": figures, "runs": [{k: v for k, v in asdict(run).items() if k != "delays_ms"} for run in runs]}


def table(figures: Mapping[str, Any]) -> Table:
    """For people: processor time a call by rate, and the rest."""
    rates = list(dict.fromkeys(rate for one in figures["variants"].values() for rate in one["cpu_ms"]))
    made = Table(title="CPU per call of all processes that it needs, milliseconds: median (least to greatest)")
    for column in ("", *(f"{rate}/s" for rate in rates), "failed", "sent again", "of calls", "highest clean"):
        made.add_column(column, justify="right")
    for variant, one in figures["variants"].items():
        spent = [f"{Spread(*one['cpu_ms'][rate].values()):.2f}" if rate in one["cpu_ms"] else "–" for rate in rates]
        counts = (one["failed"], one["retransmissions"], one["calls"], one.get("max_clean_cps", "–"))
        made.add_row(variant, *spent, *map(str, counts))
    return made


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Run, print, and keep the result in ``var/bench/peers.json``."""
    plan = planned(arguments, __doc__, USUAL, SMALL)
    console = Console()
    directory = DIRECTORY.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    interrupts.install()
    began, load_average = time.monotonic(), os.getloadavg()[0]
    figures = asyncio.run(measure(directory, console, plan))
    console.print(table(figures))
    kept = {"machine": machine(), "load_average": round(load_average, 2), "plan": asdict(plan), **figures}
    write_json(FILE, kept | {"took_s": round(time.monotonic() - began)})
    console.print(f"kept in {FILE}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
