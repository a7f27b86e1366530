"""``make bench-decide``: full decisions of one routing replica over gRPC, per core.

Every call is judged by a screening list of 10,000 entries, a schedule with a calendar, a region branch and limits of
its number and tenant, and goes to a group of lines in turn; limits and turns are counted in redis. The rules are
written through the provisioning API. Decisions per core are decisions by the processor time of the replica; redis,
which is another process, is told beside it. Where the time goes is measured part by part; the sum of the parts is told
beside the whole.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from rich.console import Console
from rich.table import Table
from signalbox import settings as settings_module
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2

from signalbox_local import interrupts
from signalbox_local.bench import Spread, machine, write_json
from signalbox_local.cluster import Cluster
from signalbox_local.decide_load import Load, ask
from signalbox_local.decide_parts import Parts, measure_parts
from signalbox_local.layout import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCHES = (1, 10, 50)
ROUNDS = 5
RUN_S = 4.0
NUMBERS = [f"400{n:07d}" for n in range(1, 1001)]
LINES = 10
ENTRIES = 10_000
TENANT, TRUNK = "bench", "callers"
AT_ONCE = 40


def write_rules(stub: Any) -> None:
    """A tenant with 1,000 numbers that share a flow, a schedule, a calendar, a list, a region group and ten lines."""
    stub.CreateTenant(
        pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=TENANT, limits=types_pb2.Limits(concurrent_calls=10_000_000)))
    )
    stub.CreateTrunk(pb.CreateTrunkRequest(trunk=types_pb2.Trunk(id=TRUNK, source_addresses=["127.0.0.1"])))
    for start in range(LINES):
        line = types_pb2.Line(tenant=TENANT, id=f"line-{start}", user=f"10{start:02d}", host="127.0.0.1")
        stub.CreateLine(pb.CreateLineRequest(line=line))
    lines = [flows_pb2.DialLine(line=f"line-{n}") for n in range(LINES)]
    group = flows_pb2.LineGroup(tenant=TENANT, id="desks", lines=lines, distribution=flows_pb2.DISTRIBUTION_ROUND_ROBIN)
    days = [
        schedules_pb2.CalendarDay(date=f"2099-01-{day:02d}", kind=schedules_pb2.DAY_KIND_HOLIDAY)
        for day in range(1, 31)
    ]
    weekly = schedules_pb2.WeeklyHours(
        days=schedules_pb2.Weekday.values()[1:], start_time="00:00", end_time="24:00"
    )  # fmt: skip
    schedule = schedules_pb2.Schedule(tenant=TENANT, id="hours")
    schedule.draft.calendar = "holidays"
    schedule.draft.periods.add(name="open", weekly=weekly)
    flow = flows_pb2.Flow(tenant=TENANT, id="main")
    flow.draft.entry = "hours"
    add = flow.draft.nodes.add
    branch = flows_pb2.ScheduleBranch(period="open", next="where")
    add(id="hours", schedule=flows_pb2.ScheduleNode(schedule="hours", branches=[branch], otherwise="closed"))
    regions = [flows_pb2.RegionBranch(groups=["north"], next="desks")]
    add(id="where", region=flows_pb2.RegionNode(branches=regions, otherwise="desks"))
    add(id="desks", dial=flows_pb2.DialNode(line_group="desks"))
    add(id="closed", hang_up=flows_pb2.HangUpNode())
    north = screening_pb2.RegionGroup(tenant=TENANT, id="north", provinces=["北京", "天津", "河北", "山西", "内蒙古"])
    request = pb.ApplyRequest()
    for kind, object in (
        ("line_group", group),
        ("calendar", schedules_pb2.Calendar(tenant=TENANT, id="holidays", days=days)),
        ("schedule", schedule),
        ("region_group", north),
        ("screening_list", screening_pb2.ScreeningList(tenant=TENANT, id="pests")),
        ("flow", flow),
    ):
        getattr(request.put.add(), kind).CopyFrom(object)
    stub.Apply(request, timeout=30)
    entries = [screening_pb2.ScreeningEntry(number=f"199{n:08d}") for n in range(ENTRIES)]
    stub.AddScreeningEntries(pb.AddScreeningEntriesRequest(tenant=TENANT, list="pests", entries=entries), timeout=60)
    for start in range(0, len(NUMBERS), AT_ONCE):
        request = pb.ApplyRequest()
        for number in NUMBERS[start : start + AT_ONCE]:
            request.put.add().number.CopyFrom(
                types_pb2.Number(
                    number=number,
                    tenant=TENANT,
                    flow="main",
                    media=types_pb2.MEDIA_MODE_BYPASS,
                    screening=types_pb2.Screening(blacklists=["pests"]),
                    limits=types_pb2.Limits(concurrent_calls=1_000_000),
                )
            )
        stub.Apply(request, timeout=30)


class Bench:
    """One replica under load."""

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self._cluster = cluster
        self._console = console
        self._seed = 0

    async def run(self, batch: int, rate: float = 0.0, seconds: float = RUN_S) -> dict[str, Any]:
        """One run: what the asker told, with the processor time of replica and redis in seconds."""
        self._seed += 1
        load = Load(
            self._cluster.address("routing-1", "grpc"), batch, seconds, NUMBERS, TRUNK, rate=rate, seed=self._seed
        )  # fmt: skip
        before = {name: self._cluster.cpu_seconds(name) for name in ("routing-1", "redis")}
        told = await ask(load)
        for name, began in before.items():
            told[f"{name}_cpu_s"] = self._cluster.cpu_seconds(name) - began
        if told["dialled"] != told["decided"]:
            raise RuntimeError(f"{told['decided'] - told['dialled']} of {told['decided']} calls were not dialled")
        told |= {"batch": batch, "rate": rate, "per_s": told["decided"] / told["elapsed_s"]}
        told["per_s_core"] = told["decided"] / told["routing-1_cpu_s"]
        told["redis_us"] = told["redis_cpu_s"] / told["decided"] * 1e6
        self._console.print(
            f"  batch {batch:3} {'at ' + format(rate, '.0f') + ' messages/s' if rate else 'as fast as it goes':24}"
            f" {told['per_s']:8.0f}/s {told['per_s_core']:8.0f}/s a core, redis {told['redis_us']:.1f} µs each,"
            f" p50 {told['p50_ms']:.1f} p99 {told['p99_ms']:.1f} ms",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        return told


async def bench(directory: Path, console: Console, rounds: int = ROUNDS) -> dict[str, object]:
    """Run so many rounds of all of it. Raises ClusterError or RuntimeError."""
    with Cluster(directory, Options(name="decide", replicas=1, proxies=0, media_nodes=0)) as cluster:
        with cluster.provisioning_channel() as channel:
            write_rules(provisioning_pb2_grpc.ProvisioningServiceStub(channel))
        await asyncio.sleep(1.0)
        runner = Bench(cluster, console)
        await runner.run(10, seconds=2.0)
        runs: list[dict[str, Any]] = []
        for _ in range(rounds):
            for batch in BATCHES:
                runs.append(await runner.run(batch))
        half = []
        for _ in range(rounds):
            fastest = Spread.of([run["per_s"] for run in runs if run["batch"] == 10]).median
            half.append(await runner.run(10, rate=fastest / 10 / 2))
        file = directory / "settings" / "routing-1.toml"
        parts = await measure_parts(settings_module.load(file), NUMBERS, TRUNK)
    return summary(runs, half, parts)


def summary(runs: Sequence[dict[str, Any]], half: Sequence[dict[str, Any]], parts: Parts) -> dict[str, object]:
    """The figures, from the runs."""
    per_core = {b: Spread.of([run["per_s_core"] for run in runs if run["batch"] == b]) for b in BATCHES}
    redis = {b: Spread.of([run["redis_us"] for run in runs if run["batch"] == b]) for b in BATCHES}
    whole_us = 1e6 / per_core[10].median
    by_part = {"grpc": parts.grpc_us, "rules": parts.rules_us, "redis": parts.redis_us}
    return {
        "decisions_per_s_core": {str(b): round(spread.median) for b, spread in per_core.items()},
        "decisions_per_s_core_spread": {str(b): spread.json(0) for b, spread in per_core.items()},
        "p99_ms_half_load": Spread.of([run["p99_ms"] for run in half]).json(),
        "share": {name: round(us / parts.sum_us, 3) for name, us in by_part.items()},
        "us_per_decision_at_batch_10": {
            "whole": round(whole_us, 1),
            "sum_of_parts": round(parts.sum_us, 1),
            **{name: round(us, 1) for name, us in by_part.items()},
        },
        "redis_server_us": {str(b): spread.json(2) for b, spread in redis.items()},
        "runs": [*runs, *half],
    }  # fmt: skip


def main() -> int:
    """Run, print, and keep the result in ``var/bench/decide.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="How many rounds.")
    rounds = parser.parse_args().rounds
    console = Console()
    directory = Path("var/bench/decide").resolve()
    shutil.rmtree(directory, ignore_errors=True)
    interrupts.install()
    began = time.monotonic()
    figures = uvloop.run(bench(directory, console, rounds))
    table = Table(title="Full decisions of one replica")
    for column in ("questions a message", "decisions/s a core: median (least to greatest)"):
        table.add_column(column, justify="right")
    spreads: Any = figures["decisions_per_s_core_spread"]
    for batch, spread in spreads.items():
        table.add_row(batch, f"{spread['median']:.0f} ({spread['min']:.0f}–{spread['max']:.0f})")
    console.print(table)
    for name, value in figures.items():
        if name != "runs":
            console.print(f"{name}: {value}", highlight=False)
    write_json(Path("var/bench/decide.json"), {"machine": machine(), **figures})
    console.print(f"kept in var/bench/decide.json, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
