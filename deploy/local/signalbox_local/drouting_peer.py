"""A proxy that routes by ``drouting``: what its table takes to load, to hold and to change.

It is the proxy of a cluster that asks nobody, started again with another instance file. The first of its SIP workers
loads the table while the others take calls already; a reload is the work of the process that takes orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.address import split
from signalbox.edge import kamailio_config
from signalbox.settings import load

from signalbox_local import drouting_data, lifeline, memory, setup_delay
from signalbox_local.bench import percentile
from signalbox_local.cluster import ClusterError
from signalbox_local.drouting_probe import order
from signalbox_local.runner import find_executable
from signalbox_local.sipp import Sipp, SippOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalbox_local.cluster import Cluster
    from signalbox_local.drouting_probe import Probe
    from signalbox_local.setup_delay import Invite

PROXY, EDGE = "kamailio-1", "edge-1"
PRIVATE_MB, SHARED_MB = 2_500, 4_096
"""Of each process, and of all together. Both are taken page by page as they are needed."""
LADDER_MB = (16, 512, 768, 1_024)
"""16 is what the proxy has in production."""
LIMIT_S = 300.0
OLD_LINE, NEW_LINE = 2, 3
"""Gateways of the number that is changed: the probe's lines. All others have the first."""
STEADY_RATE = 200
AROUND_S = 3.0
STOP_S = 10.0
ASK_EVERY_S = 0.02
PATIENCE_S = 0.1
"""With a proxy that may not be there yet."""


class Peer:
    """The proxy, its table, and the number in it that belongs to a probe."""

    def __init__(self, cluster: Cluster, file: Path, probe: Probe, number: str) -> None:
        self._cluster = cluster
        self._file = file
        self._probe = probe
        self._number = number
        self.address = split(cluster.address(PROXY, "sip"))
        edge = load(cluster.directory / "settings" / f"{EDGE}.toml").edge
        self._edge = edge
        self._runtime = edge.kamailio.runtime_dir
        self._config = self._runtime / kamailio_config.CONFIG_FILE

    def route_by_table(self) -> None:
        """From its next start on, the proxy will."""
        drouting_data.route_by(self._file, self._config)

    def stop(self) -> None:
        """End the proxy; one that is down is no error."""
        self._cluster.stop_process(PROXY)

    def start(self) -> dict[str, float]:
        """Start it; seconds from then until the first right answer, and for how many of these it refused calls."""
        self.stop()
        began = time.monotonic()
        self._cluster.start_process(PROXY, wait=False)
        refusing_since = None
        while True:
            outcome = self._probe.ask(self.address, self._number, PATIENCE_S)
            now = time.monotonic() - began
            if outcome.line is not None:
                break
            if outcome.code and refusing_since is None:
                refusing_since = now
            if now > LIMIT_S or not self._cluster.pid(PROXY):
                raise ClusterError(f"the table was not loaded in {now:.0f} s: see {self._cluster.log(PROXY)}")
            time.sleep(ASK_EVERY_S)
        return {
            "wall_s": round(now, 2),
            "cpu_s": round(self._cluster.cpu_seconds(PROXY), 2),
            "refused_calls_s": round(now - refusing_since, 2) if refusing_since is not None else 0.0,
        }

    def resident(self) -> dict[str, float]:
        """Memory of all its processes together, MB: what it takes, and of that their own and their common memory."""
        found = []
        for pid in memory.group(self._cluster.pid(PROXY)):
            with contextlib.suppress(OSError):
                found.append(memory.parse(Path(f"/proc/{pid}/smaps_rollup").read_text()))
        return resident(found)

    def try_private_memory(self, megabytes: int) -> str:
        """Start it with so much for each process while it is down, and end it: "loads", or why it ended by itself."""
        kamailio = self._edge.kamailio.model_copy(update={"private_memory_mb": megabytes})
        command = kamailio_config.command(self._edge.model_copy(update={"kamailio": kamailio}), self._config)
        log = self._runtime / f"private-{megabytes}.log"
        command = lifeline.tied([find_executable(command[0]), *command[1:]])
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            deadline = time.monotonic() + LIMIT_S
            while process.poll() is None:
                if self._probe.ask(self.address, self._number, PATIENCE_S).line is not None:
                    return "loads"
                if time.monotonic() > deadline:
                    raise ClusterError(f"with {megabytes} MB the table was not loaded in {LIMIT_S:.0f} s: see {log}")
                time.sleep(ASK_EVERY_S)
            return f"ends: {shortage(log.read_text(errors='replace'))}"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LIMIT_S / 10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def reload(self) -> dict[str, float]:
        """Have the table loaded anew: seconds."""
        began, cpu = time.monotonic(), self._cluster.cpu_seconds(PROXY)
        order(self._runtime, "drouting.reload", LIMIT_S)
        wall = time.monotonic() - began
        return {"wall_s": round(wall, 2), "cpu_s": round(self._cluster.cpu_seconds(PROXY) - cpu, 2)}

    async def change_under_calls(self, callers: SippOptions) -> dict[str, object]:
        """Change one number and reload, with calls at a steady rate before, meanwhile and after.

        Seconds from the change until the number is called where it then says, and what the others saw. Needs the right
        to capture packets.
        """
        with setup_delay.capture() as invites:
            async with await Sipp.start(callers) as sipp:
                await asyncio.sleep(AROUND_S)
                drouting_data.change(self._file, self._number, NEW_LINE)
                began, clock = time.time(), time.monotonic()
                reloading = asyncio.create_task(asyncio.to_thread(self.reload))
                in_force = await self._in_force(clock)
                reloaded = await reloading
                ended = time.time()
                await asyncio.sleep(AROUND_S)
                result = await sipp.stop(STOP_S)
        calls = result.statistics
        return {
            "rate": callers.rate,
            "reload": reloaded,
            "change_in_force_s": round(in_force, 2),
            "calls": calls.calls,
            "failed": calls.failed,
            "retransmissions": calls.retransmissions,
            "delay_ms": {
                name: delays(invites.packets, self.address, since, until)
                for name, since, until in (("before", 0.0, began), ("during", began, ended), ("after", ended, 1e12))
            },
        }

    async def _in_force(self, began: float) -> float:
        while True:
            outcome = await asyncio.to_thread(self._probe.ask, self.address, self._number)
            now = time.monotonic() - began
            if outcome.line == NEW_LINE - OLD_LINE:
                return now
            if outcome.line is None or now > LIMIT_S:
                raise ClusterError(f"{now:.1f} s after the change the number is called at {outcome}")
            await asyncio.sleep(ASK_EVERY_S)


def resident(rollups: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Of the ``smaps_rollup`` of some processes, KiB by name: what they take together, MB of a million bytes."""
    total = {"mb": 0, "own_mb": 0, "common_mb": 0}
    for one in rollups:
        for name, key in zip(total, ("Pss", "Pss_Anon", "Pss_Shmem"), strict=True):
            total[name] += one.get(key, 0) * 1024
    return {name: round(size / 1e6, 1) for name, size in total.items()}


def shortage(log: str) -> str:
    """What Kamailio's log first says of memory."""
    match = re.search(r"(?:ERROR|CRITICAL): (.*memory.*)", log)
    return match[1] if match else "not for lack of memory"


def delays(invites: Iterable[Invite], proxy: tuple[str, int], since: float, until: float) -> dict[str, float]:
    """How long the proxy held the calls that came in a time, milliseconds."""
    held = setup_delay.delays_ms([one for one in invites if since <= one.arrival < until], proxy)
    if not held:
        return {"calls": 0}
    found = {"p50": percentile(held, 0.5), "p99": percentile(held, 0.99), "max": max(held)}
    return {"calls": len(held), **{name: round(value, 2) for name, value in found.items()}}
