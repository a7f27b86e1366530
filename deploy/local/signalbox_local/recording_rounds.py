"""Rounds of calls through one rtpengine, recorded or not, and how many go at once."""

from __future__ import annotations

import asyncio
import itertools
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from signalbox_local import capacity
from signalbox_local.fetched_captures import verify_all
from signalbox_local.rtp_load import CALLER, LINE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ProcessPoolExecutor

    from rich.console import Console

    from signalbox_local.cluster import Cluster
    from signalbox_local.fetched_captures import Fetched, Node, Verdict
    from signalbox_local.relayed_calls import Relay, RelayedCall
    from signalbox_local.rtp_load import Lot, Parties

RECORDED: Final = "recorded"
UNRECORDED: Final = "unrecorded"
Variant = Literal["recorded", "unrecorded"]

LATE_MS = 200.0
"""A relay or a source that is further behind than this has more than it can carry, even if no packet is lost yet."""
TRIES = 2
PROCESSES = ("rtpengine-1", "media-1")
FILES_A_CALL = 6
"""Sockets for RTP and RTCP of two sides, and the two files of its capture (``rtpengine/README.md``)."""
FILES_BESIDE = 500
"""Of calls that have just ended, of its threads, logs and control sockets."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was seen in one round."""

    variant: Variant
    purpose: str
    calls: int
    seconds: float
    lost_on_the_way: int
    """Packets that never came to the far end."""
    late: int
    delay_p99_ms: float
    source_late_ms: float
    cores: dict[str, float]
    """Processor time per second: of the relay, its sidecar, the source and the sink."""
    setup_s: float
    """How long it took to make all calls."""
    lost: int = 0
    """Of recordings: packets that came to the far end but are not in them."""
    gaps: int = 0
    """Of recordings: gaps that were none on the wire."""
    shifted: int = 0
    """Of recordings: packets moved; more than a few, and the source was behind its clock."""
    partial: int = 0

    @property
    def carried(self) -> bool:
        """Every packet came, and nobody fell behind."""
        return self.lost_on_the_way == 0 and self.delay_p99_ms <= LATE_MS and self.source_late_ms <= LATE_MS


class Rounds:
    """One relay, the parties that talk through it, and the rounds so far."""

    def __init__(
        self, cluster: Cluster, relay: Relay, parties: Parties, node: Node, pool: ProcessPoolExecutor,
        console: Console,
    ) -> None:  # fmt: skip
        """``pool``: processes that verify recordings."""
        self._cluster = cluster
        self._relay = relay
        self._parties = parties
        self._node = node
        self._pool = pool
        self._console = console
        self._numbers = itertools.count(1)
        self.rounds: list[Round] = []
        _, files = resource.prlimit(cluster.pid("rtpengine-1"), resource.RLIMIT_NOFILE)
        self.bound = most_of(files)
        """Calls at once for which the relay has files enough, recorded or not."""

    async def run(self, variant: Variant, purpose: str, calls: int, seconds: float) -> Round:
        """So many calls at once for a time; recordings are compared with what was said."""
        lot, cores, setup_s = await self.talk(variant, calls, seconds)
        found: dict[str, int] = {}
        if variant == RECORDED:
            fetched = await asyncio.to_thread(self._fetch, calls)
            verdicts = await asyncio.to_thread(verify_all, fetched, lot.arrived, self._pool)
            found = judge(verdicts)
            # What is lost stays, to be looked at.
            clean([one for one, verdict in zip(fetched, verdicts, strict=True) if not verdict.lost])
        seen = Round(
            variant, purpose, calls, seconds, lot.lost, lot.late, lot.delay_p99_ms, lot.source_late_ms, cores, setup_s,
            **found,
        )  # fmt: skip
        self.rounds.append(seen)
        self._show(seen)
        return seen

    async def talk(self, variant: Variant, calls: int, seconds: float) -> tuple[Lot, dict[str, float], float]:
        """Make calls, let them talk, end them; what is captured stays. Returns also the use of processors, and how long
        it took to make the calls, seconds."""
        number = next(self._numbers)
        begun = time.monotonic()
        made = await self._relay.make([f"bench-{number}-{n}" for n in range(calls)], recorded=variant == RECORDED)
        setup_s = time.monotonic() - begun
        before = {name: self._cluster.cpu_seconds(name) for name in PROCESSES}
        lot = await asyncio.to_thread(self._parties.play, _targets(made), seconds)
        cores = {name: (self._cluster.cpu_seconds(name) - before[name]) / seconds for name in PROCESSES}
        cores |= {"source": lot.source_cpu_s / seconds, "sink": lot.sink_cpu_s / seconds}
        await self._relay.end(made)
        return lot, cores, setup_s

    async def most(self, variant: Variant, purpose: str, low: int, high: int, seconds: float) -> int:
        """The most calls that are carried, to 5 %; ``bound`` if all do of which the relay can have the files open."""

        async def carried(calls: int) -> bool:
            return await self._carried(variant, purpose, calls, seconds)

        return await capacity.greatest(carried, low, high, end=self.bound)

    async def first_failure(self, variant: Variant, start: int, end: int, seconds: float) -> int:
        """The first number of calls that is too many, going up by halves."""

        async def carried(calls: int) -> bool:
            return (await self.run(variant, "approach", calls, seconds)).carried

        return await capacity.first_failure(carried, start, 1.5, min(end, self.bound))

    async def _carried(self, variant: Variant, purpose: str, calls: int, seconds: float) -> bool:
        """One of some tries is carried: what else the machine does must not be taken for its end."""
        for _ in range(TRIES):
            if (await self.run(variant, purpose, calls, seconds)).carried:
                return True
        return False

    def _fetch(self, count: int) -> list[Fetched]:
        fetched = []
        for one in self._node.fetch(count):
            self._node.confirm(one)
            fetched.append(one)
        return fetched

    def _show(self, seen: Round) -> None:
        parts = "  ".join(f"{name} {value:.2f}" for name, value in seen.cores.items())
        self._console.print(
            f"  {seen.variant:10} {seen.calls:5} calls {'carried' if seen.carried else 'too many':8} lost on the way "
            f"{seen.lost_on_the_way:6}  p99 {seen.delay_p99_ms:6.1f} ms  not recorded {seen.lost}  cores: {parts}",
            highlight=False,
            soft_wrap=True,
        )


def most_of(files: int) -> int:
    """Recorded calls at once for which a process has enough, that may have so many files open."""
    return (files - FILES_BESIDE) // FILES_A_CALL


def judge(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """All recordings of a round together."""
    return {
        "lost": sum(one.lost for one in verdicts),
        "gaps": sum(one.gaps for one in verdicts),
        "shifted": sum(one.shifted for one in verdicts),
        "partial": sum(one.partial for one in verdicts),
    }


def clean(fetched: Sequence[Fetched]) -> None:
    """Delete the copies."""
    for one in fetched:
        for path, _ in one.files:
            path.unlink(missing_ok=True)


def _targets(calls: Sequence[RelayedCall]) -> list[list[tuple[str, int]]]:
    return [[call.targets[side] for call in calls] for side in (CALLER, LINE)]
