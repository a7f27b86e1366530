"""The demo's report, for people and for programs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from rich.console import Console
from signalbox_local.demo.report import Report, Step, show_step, show_summary

if TYPE_CHECKING:
    from pathlib import Path


def good() -> Step:
    return Step(1, "A call", did=["called"], saw=["heard"], headline="all heard", seconds=1.25, done=True)


def bad() -> Step:
    step = Step(2, "A fault", did=["killed"], figures={"failed": 3}, seconds=2.0, done=True)
    step.check(True, "never noted")
    step.check(False, "3 calls failed")
    return step


def report(*steps: Step) -> Report:
    return Report("2026-01-02T03:04:05+00:00", steps, seconds=4.5)


def text(show: object, *arguments: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    show(console, *arguments)  # type: ignore[operator]
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_all_is_well_only_if_every_step_was_done_without_problem() -> None:
    assert report(good()).ok
    assert not report(good(), bad()).ok
    assert not report(good(), Step(2, "Never tried")).ok


def test_programs_find_verdict_problems_and_figures(tmp_path: Path) -> None:
    report(good(), bad()).write(tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["version"], told["ok"], told["seconds"]) == (1, False, 4.5)
    assert [step["ok"] for step in told["steps"]] == [True, False]
    assert told["steps"][1]["problems"] == ["3 calls failed"]
    assert told["steps"][1]["figures"] == {"failed": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_people_see_what_was_done_and_seen_and_how_long_it_took() -> None:
    shown = text(show_step, good())
    for word in ("1. A call", "called", "heard", "1.2 s"):
        assert word in shown
    assert "3 calls failed" in text(show_step, bad())


def test_the_summary_has_a_line_for_every_step_and_the_verdict(tmp_path: Path) -> None:
    shown = text(show_summary, report(good()), tmp_path / "r", tmp_path / "log")
    assert "Everything was as it should be" in shown
    assert "all heard" in shown
    shown = text(show_summary, report(good(), bad(), Step(3, "Never tried")), tmp_path / "r", tmp_path / "log")
    for word in ("Not everything", "3 calls failed", "not tried"):
        assert word in shown
