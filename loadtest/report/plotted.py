"""The course of a run as plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox_local.plots import Line, lines

from loadtest import rows
from loadtest.outcome import Outcome

if TYPE_CHECKING:
    from loadtest.report.summary import Summary

TIME = "seconds of the run"


def plots(summary: Summary) -> dict[str, str]:
    """SVG documents by name, in the order in which they are to be seen."""
    windows = summary.windows
    at = [window.at_s for window in windows]
    found = {
        "calls": lines(
            "Calls",
            TIME,
            "a second",
            [
                Line("attempts that ended", at, [window.rate for window in windows]),
                Line("answered", at, [_rate(summary, one, answered=True) for one in range(len(windows))]),
                Line("shed (503)", at, [_rate(summary, one, shed=True) for one in range(len(windows))]),
            ],
        ),
        "open_calls": lines(
            "Calls at once", TIME, "calls", [Line("", at, [float(window.open_calls) for window in windows])]
        ),
        "ratios": lines(
            "ASR and NER",
            TIME,
            "%",
            [
                Line("ASR", at, [_percent(window.share(lambda one: one.answered)) for window in windows]),
                Line("NER", at, [_percent(window.share(lambda one: not one.failure)) for window in windows]),
            ],
        ),
        "delay": _times("Post-dial delay", summary, (rows.SIP, rows.DELAY)),
        "audio": lines(
            "Audio lost",
            TIME,
            "‰ of packets",
            [Line("mean", at, [_mean(summary, one) for one in range(len(windows))])],
        ),
    }
    if (rows.GRPC, rows.DECIDE) in summary.counts:
        found["decisions"] = _times(
            "Decisions over gRPC", summary, (rows.GRPC, rows.DECIDE), (rows.GRPC, rows.DECIDE_STREAM)
        )
    if (rows.GRPC, rows.EDIT) in summary.counts:
        found["edits"] = _times("Changes of rules", summary, (rows.GRPC, rows.EDIT), (rows.GRPC, rows.IN_FORCE))
    found["generator"] = lines(
        "The generator itself",
        "seconds",
        "cores",
        [
            Line(f"{name}: {what}", list(range(len(some))), [getattr(one, field) for one in some])
            for name, some in summary.seconds.items()
            for what, field in (("calls", "calls_share"), ("Locust", "locust_share"))
        ],
    )
    return found


def _times(title: str, summary: Summary, *which: tuple[str, str]) -> str:
    at = [window.at_s for window in summary.windows]
    drawn = []
    for row in which:
        name = "" if len(which) == 1 else f"{row[1]}, "
        for share, label in ((0.5, "median"), (0.99, "p99")):
            values = [
                window.counts[row].percentile(share) if row in window.counts else None for window in summary.windows
            ]
            drawn.append(Line(name + label, at, values))
    return lines(title, TIME, "ms", drawn)


def _rate(summary: Summary, at: int, *, answered: bool = False, shed: bool = False) -> float:
    window = summary.windows[at]
    return sum(
        number
        for outcome, number in window.outcomes.items()
        if (answered and outcome.answered) or (shed and outcome is Outcome.SHED)
    ) / window.length_s  # fmt: skip


def _mean(summary: Summary, at: int) -> float | None:
    count = summary.windows[at].counts.get((rows.RTP, rows.LOST))
    return None if count is None else count.mean_ms


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
