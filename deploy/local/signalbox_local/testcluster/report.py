"""What the steps have cost, as a table for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signalbox_local.testcluster.tally import StepCount

COLUMNS = ("step", "s", "calls", "failed", "cut", "silent > 2 s", "left up", "of these, on a lost node", "stall, ms")


def table(counts: Sequence[StepCount], notes: Mapping[str, str]) -> Table:
    """For the terminal."""
    shown = Table(*COLUMNS, "what happened")
    for step in counts:
        whys = "; ".join(f"{times} × {why}" for why, times in step.whys.most_common(3))
        style = "red" if step.bad or step.name in notes else ""
        shown.add_row(*_cells(step), "; ".join(one for one in (notes.get(step.name, ""), whys) if one), style=style)
    return shown


def markdown(counts: Iterable[StepCount]) -> str:
    """For docs/benchmarks.md."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(_cells(step) for step in counts)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cells(step: StepCount) -> list[str]:
    numbers = (step.calls, step.failed, step.cut, step.silent, step.left, step.on_lost_node, round(step.stall_s * 1000))
    return [step.name, f"{step.seconds:.0f}", *(f"{one:,}" for one in numbers)]
