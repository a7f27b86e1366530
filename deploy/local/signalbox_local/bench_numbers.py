"""What ten million numbers cost a routing replica, beside a million and a thousand in the same run.

For each count etcd is filled and a replica started with nothing of its own; it is stopped and started again while etcd
is away; then decisions are asked of all replicas in turns. Memory is that of the whole replica: what its processes have
for themselves, and the memory map once, all of it, whether it was looked at or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

from signalbox_local.bench import Spread
from signalbox_local.routing_data import DataSet
from signalbox_local.routing_site import REPLICA, WORKERS, Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

BATCHES = (1, 10, 50)
ROUNDS = 5
UNIFORM_ROUNDS = 3
RUN_S = 2.0
WARM_S = 6.0
BEFORE_ETCD_S = 120.0
MIB = 1 << 20
DIRECTORY = ("numbers", "lines", "words", "texts", "pages")
"""The tables of the memory map that numbers and lines are found with; others are of flows and lists."""


class NumbersBench:
    """The replicas, and what was measured so far by count."""

    def __init__(self, directory: Path, console: Console) -> None:
        self._directory = directory
        self._console = console
        self._sites: dict[int, Site] = {}
        self._runs: dict[int, list[dict[str, Any]]] = {}
        self.figures: dict[int, dict[str, object]] = {}

    async def run(self, counts: Sequence[int]) -> Mapping[str, object]:
        """All of it. Raises ClusterError, RuntimeError."""
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
            for count in counts:
                site = self._sites[count] = Site(self._directory / str(count), DataSet(count))
                stack.enter_context(site.cluster)
                self.figures[count] = await self._start(site, every=count == max(counts))
            await self._decisions()
        return {str(count): figures for count, figures in self.figures.items()}

    async def _start(self, site: Site, *, every: bool) -> dict[str, object]:
        """Start the replica in every way. ``every``: with every number of workers."""
        cluster, count = site.cluster, site.data.count
        await site.fill()
        site.forget()
        etcd_load_s = site.start()
        site.wait_kept()
        cluster.stop_process(REPLICA)
        cluster.stop_process("etcd")
        snapshot_start_s = site.start()
        if cluster.facts(REPLICA)["source"] != "snapshot":
            raise RuntimeError("the replica has its rules from elsewhere than its own files")
        await site.ask(10, 1.0)
        cluster.start_process("etcd", wait=False)
        cluster.wait_ready("etcd", timeout_s=BEFORE_ETCD_S)
        map_bytes, tables = site.map_file().stat().st_size, site.tables()
        memory = {}
        for workers in reversed(WORKERS) if every else (1,):
            memory[str(workers)] = await self._memory(site, workers, map_bytes)
        self._tell(count, f"etcd_load {etcd_load_s:.1f} s, snapshot_start {snapshot_start_s:.1f} s, memory {memory}")
        return {
            "rss_mb": max(one["own_and_map"] for one in memory.values()),
            "bytes_per_number": round(sum(tables[name] for name in DIRECTORY) / count, 1),
            "map_bytes_per_number": round(map_bytes / count, 1),
            "snapshot_start_s": round(snapshot_start_s, 2),
            "etcd_load_s": round(etcd_load_s, 1),
            "memory_mb_by_workers": memory,
            "map_mb": round(map_bytes / MIB, 1),
            "map_tables_mb": {name: round(size / MIB, 2) for name, size in tables.items()},
            "flows": site.data.flows,
        }

    async def _memory(self, site: Site, workers: int, map_bytes: int) -> dict[str, float]:
        """Of a replica with so many workers, each of which has answered questions."""
        site.cluster.stop_process(REPLICA)
        started_s = site.start(workers)
        # More connections than workers: the kernel deals them out by chance.
        await asyncio.gather(*(site.ask(50, WARM_S, zipf=n % 2 == 0) for n in range(2 * workers)))
        seen = site.memory()
        return {
            "own_and_map": round(seen.pss - seen.mapped + map_bytes / MIB),
            **{name: round(value) for name, value in dataclasses.asdict(seen).items()},
            "start_s": round(started_s, 1),
        }

    async def _decisions(self) -> None:
        """Decisions of all replicas in turns, by one worker each."""
        self._runs = {count: [] for count in self._sites}
        for site in self._sites.values():
            if site.workers != 1:
                site.cluster.stop_process(REPLICA)
                site.start()
            await site.ask(50, WARM_S)
        for zipf, rounds in ((True, ROUNDS), (False, UNIFORM_ROUNDS)):
            for _ in range(rounds):
                for batch in BATCHES:
                    await self._in_turns(batch, zipf=zipf)
        for count, site in self._sites.items():
            for zipf in (True, False):
                self.figures[count] |= self._summary(count, zipf)
            half = self._spread(count, 10, "per_s", zipf=True).median / 10 / 2
            runs = [await site.ask(10, RUN_S, rate=half) for _ in range(ROUNDS)]
            spread = Spread.of([run["p99_ms"] for run in runs])
            self.figures[count] |= {
                "p99_ms_half_load": round(spread.median, 2), "p99_ms_half_load_spread": spread.json(2),
            }  # fmt: skip

    async def _in_turns(self, batch: int, *, zipf: bool) -> None:
        for count, site in self._sites.items():
            run = await site.ask(batch, RUN_S, zipf=zipf)
            self._runs[count].append(run)
            self._tell(
                count,
                f"batch {batch}, {'popular' if zipf else 'any'} numbers: {run['per_s']:.0f}/s, "
                f"{run['per_s_core']:.0f}/s a core, p99 {run['p99_ms']:.1f} ms",
            )

    def _summary(self, count: int, zipf: bool) -> dict[str, object]:
        """Decisions per core, and beside those of the smallest count in the same rounds."""
        name, least = "" if zipf else "uniform_", min(self._sites)
        spreads = {str(batch): self._spread(count, batch, "per_s_core", zipf=zipf) for batch in BATCHES}
        ratios = {}
        for batch in BATCHES:
            pairs = zip(self._of(count, batch, zipf), self._of(least, batch, zipf), strict=True)
            ratios[str(batch)] = Spread.of([own["per_s_core"] / other["per_s_core"] for own, other in pairs]).json(3)
        return {
            f"{name}decisions_per_s_core": {batch: round(spread.median) for batch, spread in spreads.items()},
            f"{name}decisions_per_s_core_spread": {batch: spread.json(0) for batch, spread in spreads.items()},
            f"{name}decisions_beside_{least}": ratios,
        }

    def _spread(self, count: int, batch: int, what: str, *, zipf: bool) -> Spread:
        return Spread.of([run[what] for run in self._of(count, batch, zipf)])

    def _of(self, count: int, batch: int, zipf: bool) -> list[dict[str, Any]]:
        return [run for run in self._runs[count] if run["batch"] == batch and run["zipf"] == zipf]

    def _tell(self, count: int, text: str) -> None:
        self._console.print(f"  {count:>10,} numbers: {text}", highlight=False, soft_wrap=True)
