"""The report as it is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich.table
from rich.markup import escape

from loadtest.report import tables

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from loadtest.report.summary import Summary
    from loadtest.report.tables import Table


def show(console: Console, summary: Summary, folder: Path) -> None:
    """Print it."""
    minutes, seconds = divmod(round(summary.length_s), 60)
    rate = summary.attempts / summary.length_s if summary.length_s else 0.0
    length = f"{minutes} min {seconds} s, {rate:.1f} a second on average"
    console.print(f"\n[bold]{summary.attempts:,} call attempts in {length}[/bold]")
    console.print(_table("What became of the calls", tables.outcomes(summary)))
    console.print(_table("Times", tables.times(summary)))
    if summary.errors:
        console.print(_table("What went wrong", tables.errors(summary)))
    console.print(_table("The generator itself", tables.generator(summary)))
    console.print(_table("Objectives", tables.objectives(summary)))
    for reason in summary.void:
        console.print(f"[bold red]void[/bold red]: {reason}: the generator was the bottleneck, so nothing is said here")
    for one in summary.verdicts:
        if one.breached:
            console.print(f"[bold red]breached[/bold red]: {one}")
    if summary.verdict == "reached":
        console.print("[bold green]all objectives are reached[/bold green]")
    console.print(f"{folder / 'report.html'} has the plots, {folder / 'report.json'} all figures")


def _table(title: str, shown: Table) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left")
    for at, name in enumerate(shown.head):
        table.add_column(name, justify="left" if at < shown.names else "right")
    for row in shown.rows:
        table.add_row(*(escape(one) for one in row), style="red" if "breached" in row else None)
    return table
