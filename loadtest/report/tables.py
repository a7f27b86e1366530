"""The tables of a report, as text: printed, and on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest import rows
from loadtest.report.summary import SHARES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.summary import Summary

ERRORS_SHOWN = 20
UNITS = {rows.ASR: "%", rows.NER: "%", rows.LOST: "‰"}
"""Rows that have something else than milliseconds; their percentiles say nothing, or little."""


@dataclass(frozen=True, slots=True)
class Table:
    """``names``: so many of its columns, from the left, are words."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def objectives(summary: Summary) -> Table:
    """Each, and whether it was reached."""
    found = []
    for one in summary.verdicts:
        found.append([one.name, one.seen, one.bound.text, "breached" if one.breached else "reached"])
    return Table(("objective", "measured", "to reach", ""), found)


def outcomes(summary: Summary) -> Table:
    """By kind of number."""
    names = [str(outcome) for outcome in summary.outcomes]
    found = [
        [kind, str(sum(counted.values())), *(str(counted.get(name, "")) for name in names)]
        for kind, counted in sorted(summary.by_kind().items())
    ]
    return Table(("number", "attempts", *names), found)


def times(summary: Summary) -> Table:
    """Locust's statistics."""
    found = []
    for (type, name), count in sorted(summary.counts.items()):
        percentiles = ["" if name in UNITS else _value(name, count.percentile(share)) for share in SHARES]
        how_many = [f"{count.number:,}", str(count.failed or "")]
        found.append([type, name, *how_many, _value(name, count.mean_ms), *percentiles])
    return Table(("", "", "number", "failed", "mean", "median", "p95", "p99"), found, names=2)


def errors(summary: Summary) -> Table:
    """What went wrong most often."""
    ranked = sorted(summary.errors, key=lambda error: -error[3])
    found = [[type, name, what, str(number)] for type, name, what, number in ranked[:ERRORS_SHOWN]]
    if len(ranked) > ERRORS_SHOWN:
        found.append(["", "", f"and {len(ranked) - ERRORS_SHOWN} more: report.json", ""])
    return Table(("", "", "what", "times"), found, names=3)


def generator(summary: Summary) -> Table:
    """What the processes that make calls took."""
    took = summary.effort()
    names = list(next(iter(took.values()), {}))
    found = [[process, *(f"{some[name]:g}" for name in names)] for process, some in took.items()]
    return Table(("process", *(name.replace("_", " ") for name in names)), found)


def _value(name: str, ms: float | None) -> str:
    """A time, or what the row has in place of it."""
    if ms is None:
        return ""
    return f"{ms:.2f} {UNITS[name]}" if name in UNITS else f"{ms:,.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
