"""What became of each call as its caller and its line saw it, and how many of them a step has cost. Pure.

::

    begun ──no 2xx within 30 s, or a refusal──► FAILED
      └─answered──► a BYE that nobody planned, or a flow that does not dial──► CUT
                └─► a BYE of the caller that is refused, or that does not reach the line──► LEFT
                └─► over as planned──► OK, or SILENT if either side heard nothing for more than 2 s in between
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SILENCE_S = 2.0
"""A party that hears nothing for longer takes the call for dead."""


class Outcome(enum.StrEnum):
    """How a call went."""

    OK = "ok"
    FAILED = "failed"
    """Not answered."""
    CUT = "cut"
    """Answered, and ended by something else than its caller."""
    SILENT = "silent"
    """Ended as planned, but with silence of more than :data:`SILENCE_S`, or never heard at all."""
    LEFT = "left"
    """Its end did not get through: somebody pays for a call that is over."""


@dataclass(frozen=True, slots=True)
class Record:
    """A call that is over. Times in seconds of the monotonic clock."""

    n: int
    kind: str
    begun: float
    answered: float
    """0: it was not."""
    at: float
    """When it became what it was: failed, was cut, fell silent, was hung up."""
    over: float
    outcome: Outcome
    why: str = ""
    node: str = ""
    """Address of the media node that the caller spoke to."""
    silence_s: float = 0.0
    """The longest time in which either side heard nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """A step's time."""

    name: str
    begin: float
    end: float
    lost_nodes: frozenset[str] = frozenset()
    """Addresses of media nodes that were taken away by force in it: their calls cannot live on."""
    stall_s: float = 0.0
    """For so long at most the machine of the callers stood still."""


@dataclass(slots=True)
class StepCount:
    """What a step has cost."""

    name: str
    seconds: float
    up: int = 0
    """Calls that were up, or being set up, when it began."""
    begun: int = 0
    """Calls that began in it."""
    failed: int = 0
    cut: int = 0
    silent: int = 0
    left: int = 0
    on_lost_node: int = 0
    """Of those that were cut or silent: their media ran on a node that was lost."""
    stall_s: float = 0.0
    """See Window."""
    whys: Counter[str] = field(default_factory=Counter)
    """What happened, and how often."""

    @property
    def calls(self) -> int:
        """Calls that the step could have harmed."""
        return self.up + self.begun

    @property
    def bad(self) -> int:
        """Calls that failed or were cut without need."""
        return self.failed + self.cut + self.silent + self.left - self.on_lost_node

    def json(self) -> dict[str, object]:
        """For programs."""
        return {**asdict(self), "calls": self.calls, "bad": self.bad, "whys": dict(self.whys)}


def count(records: Iterable[Record], windows: Sequence[Window]) -> list[StepCount]:
    """Each call at the step in which it began, or at whose beginning it was there; what happened to it, at the step in
    which that happened: a failed call when it began. What happens between two steps belongs to the one before."""
    counts = [StepCount(one.name, one.end - one.begin, stall_s=one.stall_s) for one in windows]
    for record in records:
        for window, step in zip(windows, counts, strict=True):
            step.up += record.begun < window.begin < record.over
            step.begun += window.begin <= record.begun < window.end
        if record.outcome is Outcome.OK:
            continue
        when = record.begun if record.outcome is Outcome.FAILED else record.at
        before = [at for at, window in enumerate(windows) if window.begin <= when]
        if before:
            _blame(counts[before[-1]], windows[before[-1]], record)
    return counts


def _blame(step: StepCount, window: Window, record: Record) -> None:
    step.failed += record.outcome is Outcome.FAILED
    step.cut += record.outcome is Outcome.CUT
    step.silent += record.outcome is Outcome.SILENT
    step.left += record.outcome is Outcome.LEFT
    lost = record.node in window.lost_nodes and record.outcome is not Outcome.FAILED
    step.on_lost_node += lost
    step.whys[f"{record.kind}: {record.outcome}, {record.why}{' (on the lost node)' if lost else ''}"] += 1
