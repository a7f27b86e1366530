"""The figures of a run, by the names that objectives have, from what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest import rows
from loadtest.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLS, ROUTING, PROVISIONING = "calls", "routing", "provisioning"
GROUPS = {
    "asr": CALLS,
    "ner": CALLS,
    "failures": CALLS,
    "shed": CALLS,
    "shed_p99_ms": CALLS,
    "shed_unclean": CALLS,
    "post_dial_delay_p50_ms": CALLS,
    "post_dial_delay_p99_ms": CALLS,
    "audio_lost": CALLS,
    "audio_through_p99_ms": CALLS,
    "keys_wrong": CALLS,
    "hang_up_p99_ms": CALLS,
    "decide_p99_ms": ROUTING,
    "decide_stream_p99_ms": ROUTING,
    "decide_failures": ROUTING,
    "edit_p99_ms": PROVISIONING,
    "edit_failures": PROVISIONING,
    "import_p99_ms": PROVISIONING,
    "in_force_p99_ms": PROVISIONING,
}
"""All figures, and who has to take part for each. Shares are from 0 to 1, times in milliseconds."""


@dataclass(slots=True)
class Count:
    """One row of statistics: how many, of them failed, and how long they took."""

    number: int = 0
    failed: int = 0
    total_ms: float = 0.0
    times: dict[int, int] = field(default_factory=dict)
    """How many took so many milliseconds, as Locust keeps them: to 1 below 100, to two digits above."""

    @property
    def timed(self) -> int:
        """How many of them have a time."""
        return sum(self.times.values())

    @property
    def mean_ms(self) -> float | None:
        """None: there is no time."""
        return self.total_ms / self.timed if self.timed else None

    def percentile(self, share: float) -> float | None:
        """Nearest rank; None: there is no time."""
        left = share * self.timed
        for ms, number in sorted(self.times.items()):
            left -= number
            if left <= 0:
                return float(ms)
        return None

    def since(self, before: Count) -> Count:
        """What has come since an earlier state of the same row."""
        times = {ms: number - before.times.get(ms, 0) for ms, number in self.times.items()}
        return Count(
            self.number - before.number,
            self.failed - before.failed,
            self.total_ms - before.total_ms,
            {ms: number for ms, number in times.items() if number > 0},
        )


Counts = dict[tuple[str, str], Count]
"""Rows by type and name."""


def figures(counts: Counts, outcomes: Mapping[Outcome, int]) -> dict[str, float]:
    """Those that were measured."""
    found: dict[str, float | None] = {**_calls(outcomes), **_times(counts)}
    shed, keys = counts.get((rows.SIP, rows.SHED)), counts.get((rows.RTP, rows.KEYS))
    if shed is not None:
        found["shed_unclean"] = shed.failed / shed.number
    if keys is not None:
        found["keys_wrong"] = keys.failed / keys.number
    if (lost := counts.get((rows.RTP, rows.LOST))) is not None and lost.mean_ms is not None:
        found["audio_lost"] = lost.mean_ms / rows.PER_MILLE
    for name, which in (
        ("decide_failures", (rows.DECIDE, rows.DECIDE_STREAM)),
        ("edit_failures", (rows.EDIT, rows.IMPORT, rows.IN_FORCE)),
    ):
        some = [counts[rows.GRPC, row] for row in which if (rows.GRPC, row) in counts]
        if some:
            found[name] = sum(one.failed for one in some) / sum(one.number for one in some)
    return {name: value for name, value in found.items() if value is not None}


def _calls(outcomes: Mapping[Outcome, int]) -> dict[str, float]:
    finished = {outcome: number for outcome, number in outcomes.items() if outcome is not Outcome.UNFINISHED}
    attempts = sum(finished.values())
    if not attempts:
        return {}
    shed = finished.get(Outcome.SHED, 0)
    failed = sum(number for outcome, number in finished.items() if outcome.failure)
    return {
        "asr": sum(number for outcome, number in finished.items() if outcome.answered) / attempts,
        "ner": 1 - failed / attempts,
        "failures": (failed - shed) / attempts,
        "shed": shed / attempts,
    }


_P99 = {
    "post_dial_delay_p99_ms": (rows.SIP, rows.DELAY),
    "shed_p99_ms": (rows.SIP, rows.SHED),
    "audio_through_p99_ms": (rows.RTP, rows.THROUGH),
    "hang_up_p99_ms": (rows.SIP, rows.HANG_UP),
    "decide_p99_ms": (rows.GRPC, rows.DECIDE),
    "decide_stream_p99_ms": (rows.GRPC, rows.DECIDE_STREAM),
    "edit_p99_ms": (rows.GRPC, rows.EDIT),
    "import_p99_ms": (rows.GRPC, rows.IMPORT),
    "in_force_p99_ms": (rows.GRPC, rows.IN_FORCE),
}


def _times(counts: Counts) -> dict[str, float | None]:
    found = {name: counts[row].percentile(0.99) for name, row in _P99.items() if row in counts}
    if (delay := counts.get((rows.SIP, rows.DELAY))) is not None:
        found["post_dial_delay_p50_ms"] = delay.percentile(0.5)
    return found
