"""Where a line is reached that a worker with voice rings: the decision for a question with a leg.

The step of the flow has chosen the line, and counted it: nothing else is asked, and nothing counted.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

from signalbox.domain import egress
from signalbox.domain.decided import Decision, Dial, Stage, Step, Why, reject
from signalbox.domain.leg import LegError, open_
from signalbox.domain.objects import Line, MediaMode

if TYPE_CHECKING:
    from collections.abc import Set

    from signalbox.domain.decided import Trace
    from signalbox.domain.leg import Leg
    from signalbox.domain.objects import Target
    from signalbox.domain.rules import Rules

TRUNK = "_voice"
"""Id of the trunk that calls of workers come from. No trunk that is provisioned can have it."""
RING_MS = 180_000
"""As long as a line may ring at all: the worker ends what has rung for long enough."""

_INVALID = Decision(reject(403), Why.LEG_INVALID)


class Question(Protocol):
    """A question with a leg. ``routing.v1.DecideRequest`` is one."""

    @property
    def trunk(self) -> str:
        """Id of the trunk; "" stands for that of the workers."""

    @property
    def leg(self) -> str:
        """The leg as text."""

    @property
    def parent(self) -> str:
        """Id of the caller's call, as the worker says it; "": it is not known."""


def reach(
    rules: Rules, question: Question, key: bytes | None, now: float, dead: Set[Target], trace: Trace | None = None
) -> Decision:
    """Ring the line of a leg, by one way after the other until one does not fail. ``now``: epoch seconds.

    ``key`` is what legs are sealed with; None: there are none. ``dead``: targets that are dead to the proxy that asks.
    """
    try:
        leg = _opened(question, key)
    except LegError as error:
        _tell(trace, Why.LEG_INVALID.value, str(error), decisive=True)
        return _INVALID
    _tell(trace, "leg", f"line {leg.line} of tenant {leg.tenant}, for call {leg.call_id} to {leg.number}")
    if question.parent not in ("", leg.call_id):
        _tell(trace, Why.LEG_MISUSED.value, f"it is told to be for call {question.parent}", decisive=True)
        return Decision(reject(403), Why.LEG_MISUSED, leg.tenant, leg.number)
    if now > leg.expires:
        _tell(trace, Why.LEG_EXPIRED.value, f"{now - leg.expires:.0f} s ago", decisive=True)
        return Decision(reject(403), Why.LEG_EXPIRED, leg.tenant, leg.number)
    line = _line(rules, leg)
    # Seeded by the caller's call, as the first way in the step was.
    ways = egress.attempts(rules, line, leg.call_id, dead, partial(_tell, trace)) if line is not None else ()
    if not ways:
        reason = "does not exist" if line is None else "is reached nowhere"
        _tell(trace, Why.NO_LINE.value, f"line {leg.line} {reason}", decisive=True)
        return Decision(reject(480), Why.NO_LINE, leg.tenant, leg.number)
    _tell(trace, Why.LEG.value, f"ways to the line: {len(ways)}, media: bypass", decisive=True)
    return Decision(Dial(_stages(ways), MediaMode.BYPASS, leg.max_duration_s), Why.LEG, leg.tenant, leg.number)


def _opened(question: Question, key: bytes | None) -> Leg:
    """Raises LegError for what is no leg of ours, or comes from somebody else."""
    if question.trunk not in ("", TRUNK):
        raise LegError(f"a call from trunk {question.trunk} is no worker's")
    if key is None:
        raise LegError("this service makes no legs")
    return open_(question.leg, key)


def _line(rules: Rules, leg: Leg) -> Line | None:
    if leg.line[:1].isdigit():
        return Line(leg.tenant, leg.line, leg.line, "")
    return rules.line(leg.tenant, leg.line)


@lru_cache(maxsize=4_096)
def _stages(ways: tuple[Line, ...]) -> tuple[Stage, ...]:
    """One way after the other. What the line says ends the call; only a way that has failed is followed by the next.

    Equal ways get the identical stages, so that their message is made once.
    """
    last = len(ways)
    return tuple([Stage((way,), RING_MS, on_failed=at + 1 if at < last else 0) for at, way in enumerate(ways, 1)])


def _tell(trace: Trace | None, rule: str, finding: str, *, decisive: bool = False) -> None:
    if trace is not None:
        trace.append(Step(rule, finding, decisive))
