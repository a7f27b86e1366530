"""``make bench-edge``: what it costs to ask the routing service where a call goes.

Two clusters side by side, whole calls INVITE…BYE through one proxy of each in turns: (a) the proxy relays to a fixed
line with the same script minus the question, (b) the service decides every call. Processor time is that of the proxy
and, for (b), of its edge and of all routing replicas; the callers and lines are SIPp and count for neither. The edge of
(a) asks nobody, but it follows the events of its proxy as that of (b) does: what both edges do is told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import shutil
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from signalbox.address import split

from signalbox_local import interrupts, setup_delay
from signalbox_local.bench import Spread, machine, percentile, write_json
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from signalbox_local.rules import Rules
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox_local.manifest import Kind

HOST = "127.0.0.1"
CALLED, CALLED_ANCHORED = "4001234567", "4001234568"
CLEAN_UP_TO = 1500
DELAY_RATE = 500
DELAY_ROUNDS = 2
SEARCH_START, SEARCH_STEP, SEARCH_END = 2000.0, 1.2, 9000.0
SEARCH_RUN_S = 4.0
SEARCH_TRIES = 2
MEDIA_RATE = 300
SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rates: Sequence[int]
    """Calls/s."""
    rounds: int
    run_s: float
    search: bool
    """For the highest rates without a retransmission."""


USUAL = Plan(rates=(500, 1000, 1500, 2000), rounds=5, run_s=5.0, search=True)
SMALL = Plan(rates=(1000,), rounds=1, run_s=2.0, search=False)
"""To see that it works. Figures are given for 1,000 calls/s in both."""

# What a proxy without media is advised to have: docs/design/asking.md.
ONE_DECISION_WORKER = {"edge": {"edge": {"kamailio": {"decision_workers": 1}}}}

STATIC, ROUTED = "static", "routed"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of calls."""

    variant: str
    purpose: str
    rate: float
    """Calls per second asked for."""
    achieved: float
    """Calls per second made."""
    calls: int
    failed: int
    retransmissions: int
    """Of the callers and of the line."""
    cpu_ms_per_call: dict[str, float]
    """By process."""
    delays_ms: tuple[float, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing failed, nothing was sent twice."""
        return self.failed == 0 and self.retransmissions == 0

    @property
    def cpu_ms(self) -> float:
        """Of all processes that a call needs to be set up, per call: the proxy alone if nobody is asked."""
        return self.all_cpu_ms if self.variant == ROUTED else self.proxy_cpu_ms

    @property
    def all_cpu_ms(self) -> float:
        """The same with those that follow its events, per call."""
        return sum(self.cpu_ms_per_call.values())

    @property
    def proxy_cpu_ms(self) -> float:
        """Of the proxy, per call."""
        return self.cpu_ms_per_call["kamailio-1"]


@dataclass(frozen=True, slots=True)
class Callee:
    """What is called, and whose processor time its calls take."""

    address: str
    """Where it takes calls, host:port."""
    cpu_seconds: Mapping[str, Callable[[], float]]
    """Of each process, so far."""

    @classmethod
    def of(cls, cluster: Cluster, *kinds: Kind) -> Callee:
        """The proxy of a cluster, with its processes of these kinds."""
        names = [name for kind in kinds for name in cluster.names(kind)]
        cpu = {name: functools.partial(cluster.cpu_seconds, name) for name in names}
        return cls(cluster.address("kamailio-1", "sip"), cpu)


class Bench:
    """Who is called, by variant, the line, and the runs so far."""

    def __init__(
        self,
        callees: Mapping[str, Callee],
        line: Sipp,
        workdir: Path,
        console: Console,
        *,
        scenario: Path = SCENARIOS / "uac_load.xml",
        fields: Path | None = None,
        patience_s: float = 30.0,
    ) -> None:
        """``fields``: the file that the callers' scenario takes its fields from, if it has any.

        ``patience_s``: a run ends so long after its last call began, whatever is open then.
        """
        self._callees = callees
        self._line = line
        self._workdir = workdir
        self._console = console
        self._scenario = scenario
        self._fields = fields
        self._patience_s = patience_s
        self.runs: list[Run] = []

    async def run(
        self,
        variant: str,
        purpose: str,
        rate: float,
        seconds: float,
        *,
        called: str = CALLED,
        timed: bool = False,
        callee: Callee | None = None,
    ) -> Run:
        """Make ``rate * seconds`` calls through one variant, or another callee, and keep what was seen."""
        callee = callee or self._callees[variant]
        line_before = self._line.statistics().retransmissions
        before = {name: spent() for name, spent in callee.cpu_seconds.items()}
        options = SippOptions(
            self._scenario, self._workdir, f"callers-{variant}", host=HOST, fields=self._fields,
            target=callee.address, service=called, rate=rate, calls=round(rate * seconds),
            hold_ms=0, max_open=20_000, timeout_s=seconds + self._patience_s, keys={"caller": "13800001234"},
        )  # fmt: skip
        with setup_delay.capture() if timed else contextlib.nullcontext() as invites:
            async with await Sipp.start(options) as callers:
                result = await callers.wait()
        delays: tuple[float, ...] = ()
        if invites:
            delays = tuple(setup_delay.delays_ms(invites.packets, split(callee.address)))
        # The line's statistics are written once a second.
        await asyncio.sleep(1.0 + SETTLE_S)
        calls = max(1, result.statistics.calls)
        cpu = {name: (spent() - before[name]) / calls * 1000 for name, spent in callee.cpu_seconds.items()}
        again = result.statistics.retransmissions + self._line.statistics().retransmissions - line_before
        run = Run(
            variant, purpose, rate, calls / max(result.statistics.elapsed_s, 0.001), calls,
            result.statistics.failed + result.statistics.open, again, cpu, delays,
        )  # fmt: skip
        self.runs.append(run)
        parts = "  ".join(f"{name} {ms:.3f}" for name, ms in cpu.items())
        self._console.print(
            f"  {variant:8} {rate:6.0f}/s {calls:6} calls failed {run.failed} retransmitted {again:3} ms/call: {parts}",
            highlight=False,
            soft_wrap=True,
        )
        return run

    async def in_turns(self, purpose: str, rate: float, seconds: float, rounds: int, *, timed: bool = False) -> None:
        """Both variants in turns, the one that begins changing from round to round."""
        for n in range(rounds):
            for variant in list(self._callees)[:: -1 if n % 2 else 1]:
                await self.run(variant, purpose, rate, seconds, timed=timed)

    async def highest_clean_rates(self) -> dict[str, float]:
        """By variant: the highest rate at which at least one of SEARCH_TRIES runs was clean, calls per second."""
        best = dict.fromkeys(self._callees, 0.0)
        rate = SEARCH_START
        alive = list(self._callees)
        while alive and rate < SEARCH_END:
            for variant in list(alive):
                for _ in range(SEARCH_TRIES):
                    if (await self.run(variant, "search", rate, SEARCH_RUN_S)).clean:
                        best[variant] = rate
                        break
                else:
                    alive.remove(variant)
            rate *= SEARCH_STEP
        return best


def summary(runs: Sequence[Run], best: dict[str, float]) -> dict[str, object]:
    """The figures, from the runs."""
    by: defaultdict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in runs:
        if run.purpose == "load":
            by[run.variant, run.rate].append(run)
    total, proxy, followed = {}, {}, {}
    for rate in sorted({rate for _, rate in by}):
        pairs = list(zip(by[ROUTED, rate], by[STATIC, rate], strict=True))
        name = f"{rate:.0f}"
        total[name] = Spread.of([routed.cpu_ms / static.cpu_ms for routed, static in pairs]).json()
        proxy[name] = Spread.of([routed.proxy_cpu_ms / static.proxy_cpu_ms for routed, static in pairs]).json()
        followed[name] = Spread.of([routed.all_cpu_ms / static.all_cpu_ms for routed, static in pairs]).json()
    low = [run for run in runs if run.purpose == "load" and run.rate <= CLEAN_UP_TO]
    delays = {v: [r.delays_ms for r in runs if r.purpose == "delay" and r.variant == v] for v in (STATIC, ROUTED)}
    added = {
        name: Spread.of(
            [percentile(r, share) - percentile(s, share) for r, s in zip(delays[ROUTED], delays[STATIC], strict=True)]
        ).json()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {
        "cpu_ratio": {rate: ratio["median"] for rate, ratio in total.items()},
        "cpu_ratio_spread": total,
        "cpu_ratio_events_followed": {rate: ratio["median"] for rate, ratio in followed.items()},
        "cpu_ratio_events_followed_spread": followed,
        "kamailio_cpu_ratio": proxy["1000"]["median"],
        "kamailio_cpu_ratio_spread": proxy,
        "failed": sum(run.failed for run in low if run.variant == ROUTED),
        "retransmissions": sum(run.retransmissions for run in low if run.variant == ROUTED),
        "static_failed": sum(run.failed for run in low if run.variant == STATIC),
        "static_retransmissions": sum(run.retransmissions for run in low if run.variant == STATIC),
        "added_pdd_ms": {name: spread["median"] for name, spread in added.items()},
        "added_pdd_ms_spread": added,
        "max_clean_cps": best,
    }


def show(console: Console, runs: Sequence[Run], figures: dict[str, object]) -> None:
    """Tables for people: CPU per call by process and rate, then the figures."""
    table = Table(title="CPU per call, milliseconds: median (least to greatest)")
    for column in (
        "calls/s",
        "static proxy",
        "its edge",
        "proxy",
        "edge",
        "routing",
        "all / static",
        "/ with its edge",
    ):
        table.add_column(column, justify="right")
    for rate in sorted({run.rate for run in runs if run.purpose == "load"}):
        static = [run for run in runs if (run.variant, run.purpose, run.rate) == (STATIC, "load", rate)]
        routed = [run for run in runs if (run.variant, run.purpose, run.rate) == (ROUTED, "load", rate)]
        routing = [sum(ms for name, ms in r.cpu_ms_per_call.items() if name.startswith("routing")) for r in routed]
        table.add_row(
            f"{rate:.0f}",
            f"{Spread.of([r.proxy_cpu_ms for r in static]):.3f}",
            f"{Spread.of([r.cpu_ms_per_call['edge-1'] for r in static]):.3f}",
            f"{Spread.of([r.proxy_cpu_ms for r in routed]):.3f}",
            f"{Spread.of([r.cpu_ms_per_call['edge-1'] for r in routed]):.3f}",
            f"{Spread.of(routing):.3f}",
            f"{Spread.of([r.cpu_ms / s.cpu_ms for r, s in zip(routed, static, strict=True)]):.2f}",
            f"{Spread.of([r.all_cpu_ms / s.all_cpu_ms for r, s in zip(routed, static, strict=True)]):.2f}",
        )
    console.print(table)
    for name, value in figures.items():
        console.print(f"{name}: {value}", highlight=False)


async def bench(directory: Path, console: Console, plan: Plan) -> dict[str, object]:
    """Run what is planned. Raises ClusterError or SippError."""
    port = free_port(HOST)
    clusters = {
        STATIC: Cluster(
            directory / STATIC,
            Options(name=STATIC, replicas=1, proxies=1, media_nodes=0, static_destination=f"sip:{HOST}:{port}"),
        ),
        ROUTED: Cluster(
            directory / ROUTED,
            Options(name=ROUTED, replicas=2, proxies=1, media_nodes=1, recorders=0, settings=ONE_DECISION_WORKER),
        ),
    }
    with contextlib.ExitStack() as stack:
        for cluster in clusters.values():
            stack.enter_context(cluster)
            with Rules.of(cluster) as rules:
                rules.tenant("bench")
                rules.trunk("callers", [HOST])
                rules.line("bench", "line", f"{HOST}:{port}")
                rules.number("bench", CALLED, [["line"]], anchored=False)
                rules.number("bench", CALLED_ANCHORED, [["line"]])
        workdir = directory / "sipp"
        line = await Sipp.start(
            SippOptions(SCENARIOS / "uas_load.xml", workdir, "line", host=HOST, port=port, max_open=50_000, timeout_s=0)
        )
        async with line:
            callees = {
                STATIC: Callee.of(clusters[STATIC], "kamailio", "edge"),
                ROUTED: Callee.of(clusters[ROUTED], "kamailio", "edge", "routing"),
            }
            anchoring = Callee.of(clusters[ROUTED], "kamailio", "edge", "routing", "rtpengine", "media")
            runner = Bench(callees, line, workdir, console)
            # A proxy that runs for a while has touched its shared memory: the first call that needs a page pays for it.
            await runner.in_turns("warm-up", max(plan.rates), plan.run_s, 1)
            for rate in plan.rates:
                await runner.in_turns("load", rate, plan.run_s, plan.rounds)
            await runner.in_turns("delay", DELAY_RATE, plan.run_s, DELAY_ROUNDS, timed=True)
            best = await runner.highest_clean_rates() if plan.search else {}
            await runner.run(
                ROUTED, "with rtpengine", MEDIA_RATE, plan.run_s, called=CALLED_ANCHORED, callee=anchoring
            )  # fmt: skip
        figures = summary(runner.runs, best)
        show(console, runner.runs, figures)
        runs = [{k: v for k, v in asdict(run).items() if k != "delays_ms"} for run in runner.runs]
        return {"machine": machine(), **figures, "runs": runs}


def planned(arguments: Sequence[str], about: str | None, usual: Plan, small: Plan) -> Plan:
    """What the command line asks for: the small one, or the usual one with as many rounds as it says."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="Few calls: to see that it works.")
    parser.add_argument("--rounds", type=int, help="Rounds at each rate.")
    given = parser.parse_args(arguments)
    return small if given.small else replace(usual, rounds=given.rounds or usual.rounds)


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Run, print, and keep the result in ``var/bench/edge.json``."""
    plan = planned(arguments, __doc__, USUAL, SMALL)
    console = Console()
    directory = Path("var/bench/edge").resolve()
    shutil.rmtree(directory, ignore_errors=True)
    interrupts.install()
    result = asyncio.run(bench(directory, console, plan))
    write_json(Path("var/bench/edge.json"), result)
    console.print("kept in var/bench/edge.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
