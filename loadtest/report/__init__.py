"""What a run came to: judged, printed, and kept as a page with plots and as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from signalbox_local.bench import machine, write_json

from loadtest import objectives
from loadtest.effort import why_void
from loadtest.exitcodes import ExitCode
from loadtest.figures import figures
from loadtest.report import page, plotted, text
from loadtest.report.summary import Summary

if TYPE_CHECKING:
    from loadtest.run import Run

WIDTH = 118


def judge(run: Run) -> ExitCode:
    """Judge a run that is over, print and keep its report; the exit code."""
    counts, outcomes = run.counts, run.all_outcomes
    measured = figures(counts, outcomes)
    kinds: list[Any] = list(run.environment.user_classes)
    summary = Summary(
        machine=machine(),
        length_s=run.series.load_s,
        processes=run.outcomes,
        outcomes=outcomes,
        counts=counts,
        figures=measured,
        verdicts=objectives.judge(run.objectives, measured, {kind.part for kind in kinds}),
        void=why_void(run.seconds),
        seconds=run.seconds,
        windows=run.series.windows,
        errors=[
            (error.method, error.name, str(error.error), error.occurrences)
            for error in run.environment.stats.errors.values()
        ],
    )
    folder = Path(run.options.report)
    folder.mkdir(parents=True, exist_ok=True)
    plots = plotted.plots(summary)
    for name, svg in plots.items():
        (folder / f"{name}.svg").write_text(svg)
    (folder / "report.html").write_text(page.render(summary, plots), encoding="utf-8")
    write_json(folder / "report.json", summary.json())
    text.show(Console(highlight=False, file=sys.stdout, width=WIDTH), summary, folder)
    return {"void": ExitCode.VOID, "breached": ExitCode.BREACHED, "reached": ExitCode.REACHED}[summary.verdict]
