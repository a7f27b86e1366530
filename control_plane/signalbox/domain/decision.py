"""Where does a call go? One engine: :func:`decide` answers, and tells its steps if it is given a trace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from signalbox.domain.numbering import national

if TYPE_CHECKING:
    from signalbox.domain.rules import DialStage, Line, MediaMode, Number, Rules


class Why(StrEnum):
    """Constant names of the steps that can decide. Operators search for them: they never change."""

    TRUNK_UNKNOWN = "trunk_unknown"
    TRUNK_DISABLED = "trunk_disabled"
    NUMBER_UNKNOWN = "number_unknown"
    NUMBER_SUSPENDED = "number_suspended"
    LOOP_GUARD = "loop_guard"
    NO_LINE = "no_line"
    DIAL = "dial"


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse with a SIP status code (RFC 3261 section 21) and reason phrase."""

    code: int
    phrase: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Lines that ring together for ``ring_time_ms``; at least one."""

    lines: tuple[Line, ...]
    ring_time_ms: int


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring the stages in order until a line answers; at least one."""

    stages: tuple[Stage, ...]
    media: MediaMode


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a call, and why. ``tenant`` and ``number`` are empty if the number was not looked at.

    ``caller_independent``: every caller of the number would have got it, on any trunk that is in service.
    """

    action: Reject | Dial
    why: Why
    tenant: str = ""
    number: str = ""
    caller_independent: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a decision: the rule looked at, what was found (for people), and whether it decided."""

    rule: str
    finding: str
    decisive: bool = False


Trace = list[Step]


class Question(Protocol):
    """The call. ``routing.v1.DecideRequest`` is one."""

    @property
    def trunk(self) -> str:
        """Id of the trunk; "" stands for any."""

    @property
    def called(self) -> str:
        """The number dialled, as written."""

    @property
    def diversions(self) -> int:
        """Forwards before us (RFC 5806, RFC 7044)."""


FORBIDDEN = Reject(403, "Forbidden")
NOT_FOUND = Reject(404, "Not Found")
UNAVAILABLE = Reject(480, "Temporarily Unavailable")
LOOP_DETECTED = Reject(482, "Loop Detected")

_TRUNK_UNKNOWN = Decision(FORBIDDEN, Why.TRUNK_UNKNOWN)
_TRUNK_DISABLED = Decision(FORBIDDEN, Why.TRUNK_DISABLED)
# Not for use again at an edge: there is no number to keep it under.
_NUMBER_UNKNOWN = Decision(NOT_FOUND, Why.NUMBER_UNKNOWN)


def decide(rules: Rules, question: Question, max_diversions: int, trace: Trace | None = None) -> Decision:
    """Decide one call by the rules. Pure but for the memo in ``rules``; with a trace every step is evaluated and told.

    Equal questions under unchanged rules get the identical object, so that callers can keep what they make of it.
    """
    if (refused := _check_trunk(rules, question.trunk, trace)) is not None:
        return refused
    digits = national(question.called)
    number = rules.number(digits)
    if number is None:
        if trace is not None:
            form = f"in national form {digits}" if digits else "which is no number of this country"
            trace.append(Step("number", f"dialled {question.called}, {form}: unknown", decisive=True))
        return _NUMBER_UNKNOWN
    looped = question.diversions > max_diversions
    if trace is None and (known := rules.recall(number, looped)) is not None:
        return known
    if trace is not None:
        trace.append(Step("number", f"dialled {question.called}: {digits} of tenant {number.tenant}"))
    decision = _decide_number(rules, number, looped, trace)
    if trace is None:
        rules.remember(number, looped, decision)
    return decision


def _check_trunk(rules: Rules, id: str, trace: Trace | None) -> Decision | None:
    """The refusal that the trunk's state calls for, if any."""
    if not id:
        if trace is not None:
            trace.append(Step("trunk", "any trunk"))
        return None
    trunk = rules.trunk(id)
    if trunk is None:
        if trace is not None:
            trace.append(Step("trunk", f"{id} is unknown", decisive=True))
        return _TRUNK_UNKNOWN
    if trace is not None:
        state = "disabled" if trunk.disabled else "in service"
        trace.append(Step("trunk", f"{id} is {state}", decisive=trunk.disabled))
    return _TRUNK_DISABLED if trunk.disabled else None


def _decide_number(rules: Rules, number: Number, looped: bool, trace: Trace | None) -> Decision:
    """The part of a decision that rests on the number and its tenant's lines alone."""
    steps: Trace = [] if trace is None else trace
    state = "suspended" if number.suspended else "active"
    steps.append(Step("number_state", state, decisive=number.suspended))
    if number.suspended:
        return Decision(FORBIDDEN, Why.NUMBER_SUSPENDED, number.tenant, number.number, caller_independent=True)
    finding = "forwarded too often" if looped else "not forwarded too often"
    steps.append(Step("loop_guard", finding, decisive=looped))
    if looped:
        return Decision(LOOP_DETECTED, Why.LOOP_GUARD, number.tenant, number.number)
    resolved = (_resolve(rules, number, stage, position, steps) for position, stage in enumerate(number.stages, 1))
    stages = tuple(stage for stage in resolved if stage is not None)
    if not stages:
        steps.append(Step("no_line", "no line is left to ring", decisive=True))
        return Decision(UNAVAILABLE, Why.NO_LINE, number.tenant, number.number, caller_independent=True)
    steps.append(Step("dial", f"stages: {len(stages)}, media: {number.media.value}", decisive=True))
    return Decision(Dial(stages, number.media), Why.DIAL, number.tenant, number.number, caller_independent=True)


def _resolve(rules: Rules, number: Number, stage: DialStage, position: int, steps: Trace) -> Stage | None:
    """A stage with its lines looked up. Missing lines are passed over; None if none is left."""
    lines = []
    for id in stage.lines:
        line = rules.line(number.tenant, id)
        if line is None:
            steps.append(Step("line", f"stage {position}: line {id} does not exist, passed over"))
            continue
        steps.append(Step("line", f"stage {position}: line {id} is {line.user} at {line.host} port {line.port}"))
        lines.append(line)
    return Stage(tuple(lines), stage.ring_time_ms) if lines else None
