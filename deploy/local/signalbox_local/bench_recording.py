"""``make bench-recording``: what recording costs, and whether anything gets lost.

One real rtpengine with its sidecar, two-way G.711 calls that are made and recorded as a proxy does it but without SIP,
more and more at once, up to the first lost packet: with and without recording in turns. What each side says is known,
and every recording of every round is compared with it, sample by sample. Source and sink of the packets and the relay
share the machine; what the source takes is told. Then calls of a minute go through the real recorder.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from rich.console import Console
from rich.table import Table
from signalbox.ng import NgClient

from signalbox_local import fetched_captures, interrupts
from signalbox_local.bench import Spread, machine, write_json
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.fetched_captures import OGG, WAV, Node, conversion
from signalbox_local.layout import Options
from signalbox_local.recording_rounds import RECORDED, UNRECORDED, Rounds, clean
from signalbox_local.relayed_calls import TENANT, Relay
from signalbox_local.rtp_load import Parties
from signalbox_local.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox_local.recording_rounds import Round, Variant

DIRECTORY = Path("var/bench/recording")
FILE = Path("var/bench/recording.json")
VARIANTS: tuple[Variant, Variant] = (UNRECORDED, RECORDED)
APPROACH_S = 3.0
APPROACH_START, APPROACH_END = 600, 4_000
RATIO, CONVERSION_X = 0.8, 500.0
"""To reach."""
CONVERTED = 20
CONVERSION_ROUNDS = 3
WARM_UP_S = 2.0
STORED_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    searches: int = 3
    """For the most calls, of each variant."""
    round_s: float = 5.0
    minute_calls: int = 40
    """Calls that go through the recorder."""
    minute_s: float = 60.0


SMALL = Plan(searches=1, round_s=3.0, minute_calls=4, minute_s=5.0)
"""To see that it works."""


async def measure(cluster: Cluster, console: Console, plan: Plan) -> dict[str, Any]:
    """All figures. Raises ClusterError, NgError, CapturesMissingError, grpc.RpcError."""
    parties = Parties()
    client = await NgClient.connect(cluster.address("rtpengine-1", "ng"))
    try:
        with (
            grpc.insecure_channel(cluster.address("media-1", "captures")) as channel,
            fetched_captures.processes() as pool,
        ):
            node = Node(channel, cluster.directory / "fetched")
            relay = Relay(client, parties, int(str(cluster.facts("media-1")["number"])))
            rounds = Rounds(cluster, relay, parties, node, pool, console)
            cluster.stop_process("recorder-1")
            found = await most_calls(rounds, plan)
            cluster.start_process("recorder-1")
            recorder = await recorded_minutes(cluster, rounds, node, console, plan)
    finally:
        client.close()
        parties.close()
    return summary(found, rounds.rounds, rounds.bound) | recorder


async def most_calls(rounds: Rounds, plan: Plan) -> dict[Variant, list[int]]:
    """By variant, in turns: the most calls that were carried, of each search."""
    failed = await rounds.first_failure(UNRECORDED, APPROACH_START, APPROACH_END, APPROACH_S)
    found: dict[Variant, list[int]] = {variant: [] for variant in VARIANTS}
    for n in range(plan.searches):
        for variant in VARIANTS[:: -1 if n % 2 else 1]:
            low, high = int(failed / 1.25), failed
            if found[variant]:
                low, high = int(found[variant][-1] * 0.95), int(found[variant][-1] * 1.1)
            found[variant].append(await rounds.most(variant, "search", low, high, plan.round_s))
    return found


async def recorded_minutes(
    cluster: Cluster, rounds: Rounds, node: Node, console: Console, plan: Plan
) -> dict[str, object]:
    """What the recorder takes, beside nothing else, and how fast captures are rendered."""
    await rounds.talk(RECORDED, 1, WARM_UP_S)
    await _stored(node)
    before = cluster.cpu_seconds("recorder-1")
    lot, _, _ = await rounds.talk(RECORDED, plan.minute_calls, plan.minute_s)
    # The recorder takes one; these are borrowed until they have been copied.
    fetched = await asyncio.to_thread(lambda: list(node.fetch(min(CONVERTED, plan.minute_calls - 2))))
    for one in fetched:
        node.release(one)
    begun = time.monotonic()
    await _stored(node)
    stored_s = time.monotonic() - begun
    minutes = plan.minute_calls * plan.minute_s / 60
    cpu_s = (cluster.cpu_seconds("recorder-1") - before) / minutes
    rendered: dict[str, list[float]] = {"ogg_opus": [], "wav": []}
    for _ in range(CONVERSION_ROUNDS):
        rendered["ogg_opus"].append(await asyncio.to_thread(conversion, fetched, OGG))
        rendered["wav"].append(await asyncio.to_thread(conversion, fetched, WAV))
    clean(fetched)
    spreads = {name: Spread.of(values) for name, values in rendered.items()}
    console.print(f"  {minutes:.0f} minutes of calls were in the store {stored_s:.1f} s after their end")
    return {
        "conversion_x_realtime": round(spreads["ogg_opus"].median),
        "conversion": {name: spread.json(0) for name, spread in spreads.items()},
        "recorder_cpu_per_call_minute": round(cpu_s, 4),
        "recorder": {
            "calls": plan.minute_calls,
            "seconds_each": plan.minute_s,
            "stored_after_s": round(stored_s, 2),
            "lost_on_the_way": lot.lost,
        },
    }


async def _stored(node: Node) -> None:
    """Wait until the recorder has taken everything."""
    deadline = time.monotonic() + STORED_TIMEOUT_S
    while left := await asyncio.to_thread(node.waiting):
        if time.monotonic() > deadline:
            raise ClusterError(f"{left} captures were not stored within {STORED_TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.1)


def summary(found: Mapping[Variant, Sequence[int]], rounds: Sequence[Round], bound: int) -> dict[str, object]:
    """The figures of the calls; ``bound``: calls of which the relay could have had the files open."""
    calls = {variant: Spread.of([float(most) for most in found[variant]]) for variant in VARIANTS}
    recorded = [one for one in rounds if one.variant == RECORDED]
    carried = [one for one in recorded if one.carried]
    beyond = [one for one in recorded if not one.carried]
    return {
        "recorded_calls": int(calls[RECORDED].median),
        "unrecorded_calls": int(calls[UNRECORDED].median),
        "ratio": round(calls[RECORDED].median / max(1.0, calls[UNRECORDED].median), 3),
        "calls": {variant: spread.json(0) for variant, spread in calls.items()},
        "bound_by_files": {"calls": bound, "reached": [one for one in VARIANTS if calls[one].median >= bound]},
        "lost": sum(one.lost for one in carried),
        "gaps": sum(one.gaps for one in carried),
        "shifted": sum(one.shifted for one in carried),
        "overloaded": {
            "recordings": sum(one.calls for one in beyond),
            "lost": sum(one.lost for one in beyond),
            "gaps": sum(one.gaps for one in beyond),
        },
        "partial": sum(one.partial for one in recorded),
        "compared": {
            "recordings": sum(one.calls for one in recorded),
            "packets": sum(round(one.calls * one.seconds * 100) for one in recorded),
        },
        "rounds": [asdict(one) | {"carried": one.carried} for one in rounds],
    }


def table(figures: Mapping[str, object]) -> Table:
    """The figures, with what is to be reached."""
    rows = Table("figure", "measured", "to reach", box=None, pad_edge=False)
    wanted = {
        "recorded_calls": "",
        "unrecorded_calls": "",
        "ratio": f"≥ {RATIO}",
        "lost": "0",
        "gaps": "0",
        "conversion_x_realtime": f"≥ {CONVERSION_X:.0f}",
        "recorder_cpu_per_call_minute": "",
    }
    for name, asked in wanted.items():
        rows.add_row(name, str(figures[name]), asked)
    bound: dict[str, Any] = figures["bound_by_files"]  # type: ignore[assignment]
    for variant in bound["reached"]:
        rows.add_row(f"{variant} calls", f"{bound['calls']} or more: the relay may open no more files", "")
    return rows


def reached(figures: Mapping[str, object]) -> bool:
    """True if everything is as it is to be."""
    ratio, conversion_x = float(str(figures["ratio"])), float(str(figures["conversion_x_realtime"]))
    return figures["lost"] == 0 and figures["gaps"] == 0 and ratio >= RATIO and conversion_x >= CONVERSION_X


def main() -> None:
    """Run it; exit code 1 if something is not as it is to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="Short rounds and few calls: to see that it works.")
    parser.add_argument("--searches", type=int, help="Searches for the most calls, with and without recording each.")
    given = parser.parse_args()
    plan = SMALL if given.small else Plan()
    if given.searches:
        plan = replace(plan, searches=given.searches)
    interrupts.install()
    console = Console(highlight=False)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    options = Options(name="recording", replicas=1, proxies=0, media_nodes=1, recorders=1)
    begun = time.monotonic()
    with Cluster(DIRECTORY, options) as cluster:
        with Rules.of(cluster) as rules:
            rules.tenant(TENANT)
        figures = asyncio.run(measure(cluster, console, plan))
    figures |= {
        "plan": "small" if given.small else "full",
        "took_s": round(time.monotonic() - begun),
        "machine": machine(),
    }
    write_json(FILE, figures)
    if not any(one["lost"] for one in figures["rounds"]):
        shutil.rmtree(DIRECTORY, ignore_errors=True)
    console.print(table(figures))
    console.print(f"\n{FILE}")
    sys.exit(0 if reached(figures) else 1)


if __name__ == "__main__":
    main()
