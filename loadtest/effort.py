"""Whether it was the generator that could not do more: then a run says nothing of the cluster, and is void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FULL = 0.9
"""Of a core: a process that takes so much has no room."""
FULL_SECONDS = 3
"""So many seconds in a row are no accident."""
LATE_MS = 60.0
"""A packet that is sent so late is late for any jitter buffer, and times of messages are off by as much."""
LATE_SHARE, LATE_FEWEST = 0.02, 3
"""Of the seconds of a run, and so many of them; now and then a machine stands still."""


@dataclass(frozen=True, slots=True)
class Second:
    """What one process that makes calls did in about a second."""

    calls_share: float
    """Of a core, by the process that speaks SIP and RTP."""
    locust_share: float
    """Of a core, by Locust's process beside it."""
    late_ms: float
    open_calls: int
    retransmitted: int
    """Since the start."""
    unreadable: int
    """Since the start."""


def why_void(seconds: Mapping[str, Sequence[Second]]) -> list[str]:
    """Reasons why a run says nothing, by the seconds of each process; none: it counts."""
    reasons = []
    for name, of_process in sorted(seconds.items()):
        for what, shares in (
            ("making calls", [second.calls_share for second in of_process]),
            ("Locust", [second.locust_share for second in of_process]),
        ):
            if (length := _longest(shares)) >= FULL_SECONDS:
                reasons.append(f"{name}: {what} took more than {FULL:.0%} of a core for {length} seconds in a row")
        late = sum(second.late_ms > LATE_MS for second in of_process)
        if late >= LATE_FEWEST and late / len(of_process) > LATE_SHARE:
            reasons.append(
                f"{name}: packets were sent more than {LATE_MS:.0f} ms late in {late} of {len(of_process)} seconds"
            )
    return reasons


def _longest(shares: Sequence[float]) -> int:
    longest = now = 0
    for share in shares:
        now = now + 1 if share > FULL else 0
        longest = max(longest, now)
    return longest
