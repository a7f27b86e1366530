"""The figures of ``make bench-recording``: what counts as carried, as lost, and as reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from signalbox_local.bench_recording import reached, summary, table
from signalbox_local.fetched_captures import Verdict, _holes
from signalbox_local.recording_rounds import RECORDED, UNRECORDED, Round, judge, most_of

ROUND = Round(
    RECORDED, "search", 100, 6.0, lost_on_the_way=0, late=0, delay_p99_ms=20.0, source_late_ms=5.0, cores={},
    setup_s=0.1,
)  # fmt: skip
FIGURES = {"lost": 0, "gaps": 0, "ratio": 0.8, "conversion_x_realtime": 500}


def test_a_round_is_carried_if_nothing_was_lost_and_nobody_fell_behind() -> None:
    assert ROUND.carried
    assert not replace(ROUND, lost_on_the_way=1).carried
    assert not replace(ROUND, delay_p99_ms=201.0).carried
    assert not replace(ROUND, source_late_ms=201.0).carried


def test_the_recordings_of_a_round_are_judged_together() -> None:
    verdicts = [
        Verdict(lost=1, unheard=5, shifted=2, gaps=3, partial=True),
        Verdict(lost=2, unheard=0, shifted=0, gaps=0, partial=False),
    ]
    assert judge(verdicts) == {"lost": 3, "gaps": 3, "shifted": 2, "partial": 1}


def test_figures_are_medians_and_sums_over_recorded_rounds() -> None:
    rounds = [replace(ROUND, lost=1), replace(ROUND, gaps=2), replace(ROUND, variant=UNRECORDED)]
    figures = summary({RECORDED: [80, 90, 100], UNRECORDED: [95, 100, 110]}, rounds, 3250)
    assert (figures["recorded_calls"], figures["unrecorded_calls"], figures["ratio"]) == (90, 100, 0.9)
    assert (figures["lost"], figures["gaps"]) == (1, 2)
    assert figures["compared"] == {"recordings": 200, "packets": 120_000}
    assert figures["bound_by_files"] == {"calls": 3250, "reached": []}
    assert figures["calls"][RECORDED] == {"median": 90, "min": 80, "max": 100}  # type: ignore[index]


def test_files_that_the_relay_may_open_are_told_as_what_bounds_its_calls() -> None:
    assert most_of(20_000) == 3250
    figures = (
        summary({RECORDED: [80], UNRECORDED: [3250]}, [ROUND], 3250) | FIGURES | {"recorder_cpu_per_call_minute": 0.1}
    )
    assert figures["bound_by_files"] == {"calls": 3250, "reached": [UNRECORDED]}
    console = Console(width=120)
    with console.capture() as shown:
        console.print(table(figures))
    assert "3250 or more: the relay may open no more files" in shown.get()


@pytest.mark.parametrize(
    "worse",
    [{"lost": 1}, {"gaps": 1}, {"ratio": 0.79}, {"conversion_x_realtime": 499}],
    ids=lambda worse: next(iter(worse)),
)
def test_each_figure_must_be_reached(worse: dict[str, float]) -> None:
    assert reached(FIGURES)
    assert not reached(FIGURES | worse)


def test_what_is_lost_where_the_machine_was_too_small_is_told_apart() -> None:
    rounds = [ROUND, replace(ROUND, lost=3, gaps=1, lost_on_the_way=1)]
    figures = summary({RECORDED: [80], UNRECORDED: [95]}, rounds, 3250)
    assert (figures["lost"], figures["gaps"]) == (0, 0)
    assert figures["overloaded"] == {"recordings": 100, "lost": 3, "gaps": 1}


def test_holes_are_runs_of_packets_that_never_came_between_others() -> None:
    assert _holes(np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)) == 2
    assert _holes(np.zeros(3, bool)) == 0
    assert _holes(np.array([0, 1, 1], bool)) == 0
