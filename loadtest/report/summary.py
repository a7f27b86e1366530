"""All that is known of a run when it is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.effort import Second
    from loadtest.figures import Counts
    from loadtest.objectives import Verdict
    from loadtest.outcome import Outcome
    from loadtest.series import Window

SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one run."""

    machine: Mapping[str, object]
    length_s: float
    """So long calls were begun."""
    processes: Mapping[str, Mapping[tuple[str, str], int]]
    """By process that made calls: kinds of numbers and outcomes."""
    outcomes: Mapping[Outcome, int]
    counts: Counts
    figures: Mapping[str, float]
    verdicts: Sequence[Verdict]
    void: Sequence[str]
    """Why the run says nothing; none: it counts."""
    seconds: Mapping[str, Sequence[Second]]
    windows: Sequence[Window]
    errors: Sequence[tuple[str, str, str, int]]
    """Type and name of the row, what was wrong, and how often."""

    @property
    def attempts(self) -> int:
        """Calls that ended."""
        return sum(self.outcomes.values())

    @property
    def verdict(self) -> str:
        """In one word."""
        if self.void:
            return "void"
        return "breached" if any(one.breached for one in self.verdicts) else "reached"

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Outcomes by kind of number."""
        found: dict[str, dict[str, int]] = {}
        for counted in self.processes.values():
            for (kind, outcome), number in counted.items():
                of_kind = found.setdefault(kind, {})
                of_kind[outcome] = of_kind.get(outcome, 0) + number
        return found

    def effort(self) -> dict[str, dict[str, float]]:
        """What each process that made calls took at most, and in the middle."""
        found = {}
        for name, seconds in self.seconds.items():
            if not seconds:
                continue
            calls = sorted(second.calls_share for second in seconds)
            found[name] = {
                "calls_cores_median": round(calls[len(calls) // 2], 3),
                "calls_cores_most": round(calls[-1], 3),
                "locust_cores_most": round(max(second.locust_share for second in seconds), 3),
                "late_ms_most": round(max(second.late_ms for second in seconds), 1),
                "open_calls_most": max(second.open_calls for second in seconds),
                "retransmitted": seconds[-1].retransmitted,
                "unreadable": seconds[-1].unreadable,
            }
        return found

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "verdict": self.verdict,
            "void": list(self.void),
            "machine": dict(self.machine),
            "seconds": round(self.length_s, 1),
            "attempts": self.attempts,
            "outcomes": {str(outcome): number for outcome, number in Counter(dict(self.outcomes)).most_common()},
            "by_kind": self.by_kind(),
            "figures": {name: round(value, 6) for name, value in self.figures.items()},
            "objectives": [
                {
                    "name": one.name,
                    **one.bound.model_dump(exclude_none=True),
                    "measured": one.value,
                    "breached": one.breached,
                }
                for one in self.verdicts
            ],
            "rows": [
                {
                    "type": type,
                    "name": name,
                    "number": count.number,
                    "failed": count.failed,
                    "mean": count.mean_ms,
                    **{f"p{share * 100:g}": count.percentile(share) for share in SHARES},
                }
                for (type, name), count in sorted(self.counts.items())
            ],
            "errors": [list(error) for error in self.errors],
            "generator": self.effort(),
            "generator_seconds": {name: [asdict(one) for one in some] for name, some in self.seconds.items()},
            "windows": [
                {
                    "at_s": round(window.at_s, 1),
                    "rate": round(window.rate, 2),
                    "open_calls": window.open_calls,
                    "outcomes": {str(outcome): number for outcome, number in window.outcomes.items()},
                    "p99_ms": {f"{row[0]} {row[1]}": window.p99_ms(row) for row in window.counts},
                }
                for window in self.windows
            ],
        }
