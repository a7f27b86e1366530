"""Plots of ``make bench``: how cost grows with rules, with calls a second, and with calls at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from signalbox_local import plots
from signalbox_local.bench import Spread
from signalbox_local.plots import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAMES = {
    "static": "static Kamailio",
    "drouting": "drouting",
    "kemi": "gRPC in KEMI Python",
    "b2bua": "sippy's B2BUA",
    "routed": "Signalbox",
}


def drawn(found: Mapping[str, Any]) -> dict[str, str]:
    """By name, the plots that there are figures for, as SVG; figures by part."""
    made: dict[str, str] = {}
    if "peers" in found:
        made["rate"] = by_rate(found["peers"])
    if len(found.get("routing", {}).get("numbers", {})) > 1:
        made |= by_rules(found["routing"]["numbers"])
    if "concurrent" in found.get("ivr", {}):
        made |= by_calls(found["ivr"]["concurrent"])
    return made


def by_rate(peers: Mapping[str, Any]) -> str:
    """Processor time a call; each line ends at the last rate with a clean run."""
    totals: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in peers["runs"]:
        if run["purpose"] != "warm-up" and not run["failed"] and not run["retransmissions"]:
            totals[run["variant"]][run["rate"]].append(sum(run["cpu_ms_per_call"].values()))
    some = [_line(NAMES[name], {rate: Spread.of(spent) for rate, spent in totals[name].items()}) for name in NAMES]
    return plots.lines(
        "Processor time a call, up to the highest rate without a retransmission", "calls a second",
        "ms, of all processes", [line for line in some if line.x], x_scale="log", y_scale="log",
    )  # fmt: skip


def by_rules(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Time of a decision and memory of a replica, by how many numbers there are."""
    counts = sorted(map(int, numbers))
    decisions = []
    for what, name in (("", "popular numbers"), ("uniform_", "any number")):
        for batch in numbers[str(counts[0])][f"{what}decisions_per_s_core"]:
            spreads = {n: numbers[str(n)][f"{what}decisions_per_s_core_spread"][batch] for n in counts}
            # The most decisions are the shortest.
            micro = {
                n: Spread(*(1e6 / one[key] for key in ("median", "max", "min"))) for n, one in spreads.items()
            }  # fmt: skip
            decisions.append(_line(f"{name}, {batch} a message", micro))
    memory = [
        Line(f"{workers} workers" if workers != "1" else "1 worker", *_points(of), points=True)
        for workers in sorted({name for n in counts for name in numbers[str(n)]["memory_mb_by_workers"]}, key=int)
        if (of := _memory(numbers, counts, workers))
    ]
    return {
        "rules": plots.lines(
            "Processor time of a decision", "numbers", "µs", decisions, x_scale="log"
        ),
        "rules-memory": plots.lines("Memory of a routing replica", "numbers", "MiB", memory, x_scale="log"),
    }  # fmt: skip


def _memory(numbers: Mapping[str, Any], counts: Iterable[int], workers: str) -> dict[int, float]:
    return {
        n: numbers[str(n)]["memory_mb_by_workers"][workers]["own_and_map"]
        for n in counts
        if workers in numbers[str(n)]["memory_mb_by_workers"]
    }


def by_calls(concurrent: Mapping[str, Any]) -> dict[str, str]:
    """Memory of a worker with voice, and processor time of it and of those beside it, by calls at once."""
    levels = [one for one in concurrent["levels"] if one["alive"] == one["calls"]]
    calls = [0, *(one["calls"] for one in levels)]
    memory = Line("worker", calls, [concurrent["fresh_rss_mb"], *(one["rss_mb"] for one in levels)], points=True)
    names = {"ivr": "worker with voice", "rtpengine": "rtpengines", "media": "their sidecars"}
    cores = [
        Line(name, calls[1:], [one["cores"].get(kind) for one in levels], points=True) for kind, name in names.items()
    ]
    return {
        "calls-memory": plots.lines("Memory of a worker with voice", "calls at once", "MB", [memory]),
        "calls": plots.lines("Calls that are held: a packet each way every 12 s", "calls at once", "cores", cores),
    }


def _line(name: str, spreads: Mapping[Any, Spread]) -> Line:
    ordered = sorted(spreads.items())
    return Line(
        name, [x for x, _ in ordered], [one.median for _, one in ordered], low=[one.least for _, one in ordered],
        high=[one.greatest for _, one in ordered], points=True,
    )  # fmt: skip


def _points(of: Mapping[int, float]) -> tuple[Sequence[int], Sequence[float]]:
    return list(of), list(of.values())
