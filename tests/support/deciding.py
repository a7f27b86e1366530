"""Decisions for tests: calls, and the engine run to its end with counts that are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.domain.claims import supposed, uncounted
from signalbox.domain.decision import Setup, decide
from signalbox.domain.planner import Voice
from signalbox.domain.voice import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.domain.claims import Claim
    from signalbox.domain.decided import Decision, Trace
    from signalbox.domain.decision import Question
    from signalbox.domain.numbering import Caller
    from signalbox.domain.regions import Region
    from signalbox.domain.rules import Rules

MAX_DIVERSIONS = 2
NOW = 1_800_000_000.0
"""2027-01-15 16:00 in Shanghai, a Friday."""


@dataclass(frozen=True)
class Call:
    """A call to the number that tests have."""

    trunk: str = "carrier"
    called: str = "4001234567"
    diversions: int = 0
    call_id: str = "call-1"
    calling: str = "13800001234"
    asserted: str = ""
    edge: str = "edge-1"


@dataclass
class Places:
    """Regions by the first digits of a number."""

    by_prefix: Mapping[str, Region] = field(default_factory=dict)

    def find(self, caller: Caller) -> Region | None:
        """The region of the longest prefix."""
        fitting = [prefix for prefix in self.by_prefix if caller.number.startswith(prefix)]
        return self.by_prefix[max(fitting, key=len)] if fitting else None


NO_VOICE = Voice(Pool(), lambda cursor: "")


def setup(places: Mapping[str, Region] | None = None, voice: Voice = NO_VOICE) -> Setup:
    """What decisions rest on beside the rules."""
    return Setup(Places(places or {}), voice, MAX_DIVERSIONS)


def decided(
    rules: Rules,
    call: Question,
    trace: Trace | None = None,
    *,
    now: float = NOW,
    given: Setup | None = None,
    counts: Mapping[str, int] | None = None,
    claims: list[Claim] | None = None,
) -> Decision:
    """The decision if the counts are these (None: nothing is counted); what it claims goes to ``claims``."""
    deciding = decide(rules, call, now, given or setup(), trace)
    try:
        claim = next(deciding)
        while True:
            if claims is not None:
                claims.append(claim)
            claim = deciding.send(uncounted(claim) if counts is None else supposed(claim, counts))
    except StopIteration as end:
        decision: Decision = end.value
        return decision
