"""What the demo saw, step by step, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

VERSION = 1
FILE_NAME = "report.json"


@dataclass(slots=True)
class Step:
    """One step: filled in while it goes on."""

    number: int
    title: str
    did: list[str] = field(default_factory=list)
    saw: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What was not as it should be."""
    figures: dict[str, object] = field(default_factory=dict)
    """For programs; names end with their unit."""
    headline: str = ""
    """What was seen in a few words."""
    seconds: float = 0.0
    done: bool = False
    """False: not tried, or given up half way."""

    @property
    def ok(self) -> bool:
        """True if it was done and everything was as it should be."""
        return self.done and not self.problems

    def check(self, good: bool, problem: str) -> None:
        """Note a problem unless it is good."""
        if not good:
            self.problems.append(problem)


@dataclass(slots=True)
class Report:
    """All steps."""

    started: str
    """UTC, ISO 8601."""
    steps: Sequence[Step]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if every step was."""
        return all(step.ok for step in self.steps)

    def write(self, file: Path) -> None:
        """Write it as JSON, in one step."""
        value = {
            "version": VERSION,
            "ok": self.ok,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "steps": [{**asdict(step), "ok": step.ok, "seconds": round(step.seconds, 3)} for step in self.steps],
        }
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        write_atomically(file, text.encode(), mode=0o644)


def show_step(console: Console, step: Step) -> None:
    """A step that has just ended: what was done, what was seen, how long it took."""
    mark = "[green]✔[/green]" if step.ok else "[red]✘[/red]"
    console.print(f"{mark} [bold]{step.number}. {step.title}[/bold]  [dim]{step.seconds:.1f} s[/dim]")
    rows = Table.grid(padding=(0, 1))
    for texts, style in ((step.did, "dim"), (step.saw, ""), (step.problems, "red")):
        for text in texts:
            rows.add_row(f"[{style}]{_BULLETS[style]}[/{style}]" if style else _BULLETS[style], text, style=style)
    console.print(Padding(rows, (0, 0, 1, 3)))


def show_summary(console: Console, report: Report, file: Path, logs: Path) -> None:
    """The end: every step on one line, and the verdict."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(justify="right")
    for step in report.steps:
        mark = "[green]✔[/green]" if step.ok else "[red]✘[/red]" if step.done or step.problems else "[dim]–[/dim]"
        found = step.headline if step.ok else step.problems[0] if step.problems else "not tried"
        table.add_row(f"{mark} {step.title}", found, f"[dim]{step.seconds:.1f} s[/dim]")
    verdict = "[bold green]Everything was as it should be[/bold green]"
    if not report.ok:
        verdict = f"[bold red]Not everything was as it should be[/bold red] (logs: {logs})"
    console.print(Panel(table, title=verdict, subtitle=f"{report.seconds:.0f} s in all · {file}", padding=(1, 2)))


_BULLETS = {"dim": "·", "": "→", "red": "!"}
