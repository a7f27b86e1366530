"""The peer of ``make bench-routing``: Kamailio's own ``drouting``, alone: ``python -m signalbox_local.bench_drouting``.

A table of prefixes in SQLite, each of them a whole number. What loading, holding and reloading it takes is measured at
the proxy; then calls to many of the numbers go, in turns, through this proxy and through one that asks the routing
service, which has the same numbers, each with a line of its own. All of them are answered by one SIPp.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import random
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from signalbox.api.types.v1 import types_pb2
from signalbox.settings import EtcdSettings
from signalbox.store import codec
from signalbox.store.base import Put
from signalbox.store.etcd import EtcdStore

from signalbox_local import drouting_data, interrupts, routing_data
from signalbox_local.bench import Spread, machine, write_json
from signalbox_local.bench_edge import HOST, ONE_DECISION_WORKER, ROUTED, Bench, Callee, Run
from signalbox_local.cluster import Cluster
from signalbox_local.drouting_peer import (
    LADDER_MB,
    NEW_LINE,
    OLD_LINE,
    PRIVATE_MB,
    PROXY,
    SHARED_MB,
    STEADY_RATE,
    Peer,
)
from signalbox_local.drouting_probe import Probe
from signalbox_local.layout import Options
from signalbox_local.routing_data import DataSet
from signalbox_local.rules import Rules
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE = Path("var/bench/routing.json")
PREFIXES = 1_000_000
DROUTING = "drouting"
CALLED = 10_000
RATES = (500, 1_000)
RUN_S = 5.0
ROUNDS = 5
REPEATS = 3
OWN_GATEWAYS = (10_000, 20_000)
OWN_ADDRESSES = ipaddress.ip_network("127.64.0.0/10")
PLAN = 10_000_000
"""Numbers of 400 and seven digits."""
FILL_LIMIT_S = 600.0
MEMORY = {"kamailio": {"private_memory_mb": PRIVATE_MB, "shared_memory_mb": SHARED_MB}}


def measure(directory: Path, console: Console, prefixes: int = PREFIXES) -> dict[str, object]:
    """All of it, as ``peer.drouting`` has it. From the main thread. Raises ClusterError, ProbeError, SippError."""
    return asyncio.run(_measure(directory, console, DataSet(prefixes)))


async def _measure(directory: Path, console: Console, data: DataSet) -> dict[str, object]:
    port = free_port(HOST)
    proxy = Options(
        name=DROUTING, replicas=1, proxies=1, media_nodes=0, static_destination=f"sip:{HOST}:{port}",
        settings={"edge": {"edge": MEMORY}},
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(directory / DROUTING, proxy))
        with Rules.of(cluster) as rules:
            rules.trunk("callers", [HOST])
        probe = stack.enter_context(Probe(2))
        workdir = directory / "sipp"
        async with await Sipp.start(
            SippOptions(SCENARIOS / "uas_load.xml", workdir, "line", host=HOST, port=port, max_open=50_000, timeout_s=0)
        ) as line:
            numbers = called(data)
            scenario, fields = caller_of(numbers, workdir)
            table = Tables(directory / "drouting.sqlite", f"{HOST}:{port}", probe.lines, data)
            peer = Peer(cluster, table.file, probe, table.changed)
            found = table_figures(peer, table, console)
            callers = SippOptions(
                scenario, workdir, "callers-steady", host=HOST, target=cluster.address(PROXY, "sip"), rate=STEADY_RATE,
                hold_ms=0, timeout_s=0, keys={"caller": "13800001234"}, fields=fields,
            )  # fmt: skip
            found["change"] = await peer.change_under_calls(callers)
            console.print(f"  change: {found['change']}", highlight=False, soft_wrap=True)
            ours = stack.enter_context(_ours(directory / ROUTED))
            await _fill(ours, data, port)
            callees = {
                DROUTING: Callee.of(cluster, "kamailio", "edge"),
                ROUTED: Callee.of(ours, "kamailio", "edge", "routing"),
            }
            bench = Bench(callees, line, workdir, console, scenario=scenario, fields=fields)
            found["calls"] = {"numbers": len(numbers), **await calls(bench, line)}
    show(console, found)
    return found


class Tables:
    """The table, written anew as often as it takes."""

    def __init__(self, file: Path, line: str, probe: Sequence[str], data: DataSet) -> None:
        self.file = file
        self.data = data
        self.changed = routing_data.digits(data.count - 1)
        """The number whose gateway changes: the probe's."""
        self._gateways = {1: line, OLD_LINE: probe[0], NEW_LINE: probe[1]}

    def write(self, numbers: Iterable[str]) -> float:
        """Seconds that it took. The changed number is the last of them."""
        began = time.monotonic()
        rules = ((number, OLD_LINE if number == self.changed else 1) for number in numbers)
        drouting_data.write(self.file, self._gateways, rules)
        return round(time.monotonic() - began, 2)

    def write_own_gateways(self, count: int) -> None:
        """So many numbers, each with a gateway of its own."""
        own = {NEW_LINE + n: str(OWN_ADDRESSES[n]) for n in range(1, count)}
        numbers = map(routing_data.digits, range(count - 1))
        drouting_data.write(
            self.file, self._gateways | own, [*zip(numbers, own, strict=True), (self.changed, OLD_LINE)]
        )

    def in_a_row(self) -> Iterable[str]:
        """As an operator gets them: one after the other."""
        return map(routing_data.digits, range(self.data.count))

    def scattered(self) -> Iterable[str]:
        """As many of the whole plan, at random, with the changed one as the last."""
        others = random.Random(1).sample(range(PLAN), self.data.count)
        some = [number for number in map(routing_data.digits, others) if number != self.changed]
        return [*some[: self.data.count - 1], self.changed]


def table_figures(peer: Peer, table: Tables, console: Console) -> dict[str, object]:
    """What the table takes, without calls. Leaves the proxy running with the numbers in a row, reloaded."""
    found: dict[str, object] = {"prefixes": table.data.count, "load_average": os.getloadavg()[0]}
    taken = {"without": peer.resident()}
    peer.stop()
    peer.route_by_table()
    table.write(table.scattered())
    found["load_scattered"] = spreads([peer.start() for _ in range(REPEATS)])
    taken["scattered"] = peer.resident()
    found["own_gateways_load_cpu_s"] = {
        str(count): _loaded_own(peer, table, count) for count in OWN_GATEWAYS if count <= table.data.count
    }
    found["write_s"] = table.write(table.in_a_row())
    found["file_mb"] = round(table.file.stat().st_size / 1e6, 1)
    peer.stop()
    found["private_memory_mb"] = {str(size): peer.try_private_memory(size) for size in LADDER_MB}
    found["load"] = spreads([peer.start() for _ in range(REPEATS)])
    taken["loaded"] = peer.resident()
    # The first one has memory to touch that nobody has touched before.
    found["first_reload"] = peer.reload()
    taken["reloaded"] = peer.resident()
    found["reload"] = spreads([peer.reload() for _ in range(REPEATS)])
    taken["reloaded_again"] = peer.resident()
    found["memory"] = taken
    for name, value in found.items():
        console.print(f"  {name}: {value}", highlight=False, markup=False, soft_wrap=True)
    return found


def _loaded_own(peer: Peer, table: Tables, count: int) -> float:
    table.write_own_gateways(count)
    return peer.start()["cpu_s"]


def spreads(some: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Of the same measurement made again and again: median, least and greatest by name."""
    return {name: Spread.of([one[name] for one in some]).json() for name in some[0]}


def called(data: DataSet) -> list[str]:
    """Numbers that are called: spread over all, each with a line of its own and any number of calls."""
    last = data.count - 1
    ranks = range(min(data.count, routing_data.UNLIMITED))
    lined = [n for n in map(data.popular, ranks) if n % 2 and n != last]
    return [routing_data.digits(n) for n in lined[:CALLED]]


def caller_of(numbers: Sequence[str], workdir: Path) -> tuple[Path, Path]:
    """Files for SIPp: the usual caller who calls what its field says, and the numbers one after the other."""
    workdir.mkdir(parents=True, exist_ok=True)
    scenario, fields = workdir / "uac_numbers.xml", workdir / "numbers.csv"
    scenario.write_text((SCENARIOS / "uac_load.xml").read_text().replace("[service]", "[field0]"))
    fields.write_text("\n".join(["SEQUENTIAL", *(f"{number};" for number in numbers), ""]))
    return scenario, fields


def _ours(directory: Path) -> Cluster:
    return Cluster(
        directory, Options(name=ROUTED, replicas=2, proxies=1, media_nodes=0, settings=ONE_DECISION_WORKER)
    )  # fmt: skip


async def _fill(cluster: Cluster, data: DataSet, port: int) -> None:
    """The same numbers for the routing service, whose carrier is at a port of ours."""
    replicas = cluster.names("routing")
    for name in replicas:
        # To follow a million changes, or to begin with an old snapshot, would take longer than to read them all.
        cluster.stop_process(name)
        shutil.rmtree(cluster.directory / name)
        (cluster.directory / name).mkdir(mode=0o700)
    store = EtcdStore.open(EtcdSettings(endpoints=[cluster.address("etcd", "client")]))
    try:
        await routing_data.fill(store, data)
        carrier = types_pb2.Trunk(id=routing_data.CARRIER)
        carrier.targets.add(host=HOST, port=port)
        carrier.health_check.disabled = True
        revision = await store.commit([], [Put(codec.key_of(carrier), codec.encode(carrier))])
    finally:
        await store.close()
    for name in replicas:
        cluster.start_process(name, wait=False)
    cluster.wait_ready(timeout_s=FILL_LIMIT_S)
    cluster.wait_for_rules(revision, FILL_LIMIT_S)


async def calls(bench: Bench, line: Sipp) -> dict[str, object]:
    """All runs. Up to the search for the highest rate, the one line should have answered all calls of either proxy.

    It counts an ACK that comes after its call's BYE, which happens among the workers of a proxy, as one more.
    """
    before = line.statistics().calls
    await bench.in_turns("warm-up", max(RATES), RUN_S, 1)
    for rate in RATES:
        await bench.in_turns("load", rate, RUN_S, ROUNDS)
    made = {"made": sum(run.calls for run in bench.runs), "answered": line.statistics().calls - before}
    return {**made, **summary(bench.runs, await bench.highest_clean_rates())}


def summary(runs: Sequence[Run], best: Mapping[str, float]) -> dict[str, object]:
    """The figures of the calls: processor time of each per call, and both beside each other round by round."""
    by: defaultdict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in runs:
        if run.purpose == "load":
            by[run.variant, run.rate].append(run)
    rates = {}
    for rate in RATES:
        ours, theirs = by[ROUTED, rate], by[DROUTING, rate]
        pairs = list(zip(ours, theirs, strict=True))
        rates[str(rate)] = {
            "drouting_cpu_ms": Spread.of([run.cpu_ms for run in theirs]).json(),
            "routed_proxy_cpu_ms": Spread.of([run.proxy_cpu_ms for run in ours]).json(),
            "routed_cpu_ms": Spread.of([run.cpu_ms for run in ours]).json(),
            "proxy_ratio": Spread.of([one.proxy_cpu_ms / other.proxy_cpu_ms for one, other in pairs]).json(),
            "all_ratio": Spread.of([one.cpu_ms / other.cpu_ms for one, other in pairs]).json(),
            "events_followed_ratio": Spread.of([one.all_cpu_ms / other.all_cpu_ms for one, other in pairs]).json(),
        }
    loaded = [run for run in runs if run.purpose == "load"]
    return {
        "cpu": rates,
        "calls": {variant: sum(run.calls for run in loaded if run.variant == variant) for variant in best},
        "failed": {variant: sum(run.failed for run in loaded if run.variant == variant) for variant in best},
        "retransmissions": {
            variant: sum(run.retransmissions for run in loaded if run.variant == variant) for variant in best
        },
        "max_clean_cps": {variant: round(rate) for variant, rate in best.items()},
        "runs": [{k: v for k, v in asdict(run).items() if k != "delays_ms"} for run in runs],
    }


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Tables for people."""
    change, reload = found["change"], found["reload"]
    table = Table(title=f"drouting, {found['prefixes']:,} prefixes", show_header=False)
    rows = [
        ("file", f"{found['file_mb']} MB, written in {found['write_s']} s"),
        ("start", _seconds(found["load"])),
        ("start, numbers scattered", _seconds(found["load_scattered"])),
        ("calls refused meanwhile", f"for {Spread(*found['load']['refused_calls_s'].values())} s"),
        *((f"with {size} MB a process", what) for size, what in found["private_memory_mb"].items()),
        *(
            (f"start, {n} own gateways", f"{s} s of processor time")
            for n, s in found["own_gateways_load_cpu_s"].items()
        ),
        *((f"memory, {name}", f"{mb['mb']:.0f} MB") for name, mb in found["memory"].items()),
        ("first reload", "{wall_s} s, {cpu_s} s of processor time".format(**found["first_reload"])),
        ("reload", _seconds(reload)),
        ("one change in force", f"{change['change_in_force_s']} s"),
        ("calls meanwhile", f"{change['failed']} of {change['calls']} failed"),
        *(
            (f"delay {name}, ms", f"p50 {ms['p50']}, p99 {ms['p99']}, max {ms['max']}")
            for name, ms in change["delay_ms"].items()
        ),
    ]
    for name, value in rows:
        table.add_row(name, escape(value))
    console.print(table)
    calls = Table(title="CPU per call, milliseconds: median (least to greatest)")
    columns = {
        "drouting": "drouting_cpu_ms",
        "proxy": "routed_proxy_cpu_ms",
        "all": "routed_cpu_ms",
        "proxy / drouting": "proxy_ratio",
        "all / drouting": "all_ratio",
        "/ with its edge": "events_followed_ratio",
    }
    for column in ("calls/s", *columns):
        calls.add_column(column, justify="right")
    for rate, figures in found["calls"]["cpu"].items():
        calls.add_row(rate, *(f"{Spread(*figures[name].values()):.3f}" for name in columns.values()))
    console.print(calls)
    for name in ("made", "answered", "failed", "retransmissions", "max_clean_cps"):
        console.print(f"{name}: {found['calls'][name]}", highlight=False)


def _seconds(found: Mapping[str, Mapping[str, float]]) -> str:
    wall, cpu = (Spread(*found[name].values()) for name in ("wall_s", "cpu_s"))
    return f"{wall} s, {cpu} s of processor time"


def merge(file: Path, found: Mapping[str, object]) -> None:
    """Put these figures into the file of the whole benchmark and leave the others as they are."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"machine": machine()}
    kept.setdefault("peer", {})["drouting"] = dict(found)
    write_json(file, kept)


def main() -> int:
    """Run, print, and keep the result in ``var/bench/routing.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefixes", type=int, default=PREFIXES, help="How many, in hundreds.")
    arguments = parser.parse_args()
    console = Console()
    directory = Path("var/bench/drouting").resolve()
    shutil.rmtree(directory, ignore_errors=True)
    interrupts.install()
    found = measure(directory, console, arguments.prefixes)
    merge(FILE, found)
    console.print(f"kept in {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
