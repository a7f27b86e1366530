"""What comes out of a decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from signalbox.domain import screening

if TYPE_CHECKING:
    from signalbox.domain.objects import Line, MediaMode


class Why(StrEnum):
    """Constant names of the steps that can decide. Operators search for them: they never change."""

    TRUNK_UNKNOWN = "trunk_unknown"
    TRUNK_DISABLED = "trunk_disabled"
    NUMBER_UNKNOWN = "number_unknown"
    NUMBER_SUSPENDED = "number_suspended"
    LOOP_GUARD = "loop_guard"
    CALLER_ANONYMOUS = screening.CALLER_ANONYMOUS
    CALLER_BLACKLISTED = screening.CALLER_BLACKLISTED
    CALLER_NOT_WHITELISTED = screening.CALLER_NOT_WHITELISTED
    LIMIT_TRUNK = "limit_trunk"
    LIMIT_NUMBER = "limit_number"
    LIMIT_TENANT = "limit_tenant"
    FLOW_MISSING = "flow_missing"
    FLOW_BROKEN = "flow_broken"
    NO_VOICE_WORKER = "no_voice_worker"
    NO_LINE = "no_line"
    LINES_BUSY = "lines_busy"
    HANG_UP = "hang_up"
    VOICE = "voice"
    DIAL = "dial"


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse with a SIP status code (RFC 3261 section 21) and reason phrase."""

    code: int
    phrase: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Lines that ring together for ``ring_time_ms``; at least one.

    What follows when none of them took the call, for each way of failing: 0: the call ends with what the lines said;
    1 to 16: the stage at this position; 400 to 699: the call ends with this status code. ``cursor``: the lines are
    workers that execute the call flow from here on.
    """

    lines: tuple[Line, ...]
    ring_time_ms: int
    on_busy: int = 0
    on_no_answer: int = 0
    on_failed: int = 0
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring the stages from the first on until a line answers; at least one. ``max_duration_s``: longest call, 0:
    any."""

    stages: tuple[Stage, ...]
    media: MediaMode
    max_duration_s: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a call, and why. ``tenant`` and ``number`` are empty if the number was not looked at.

    ``caller_independent``: every caller of the number would have got it, on any trunk that is in service, at any
    time, as long as no limit is reached; of what is counted it may rest on whose turn it was. ``priority``: the
    caller goes to the front of queues.
    """

    action: Reject | Dial
    why: Why
    tenant: str = ""
    number: str = ""
    caller_independent: bool = False
    priority: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a decision: the rule looked at, what was found (for people), and whether it decided."""

    rule: str
    finding: str
    decisive: bool = False


Trace = list[Step]

_PHRASES = {
    403: "Forbidden",
    404: "Not Found",
    433: "Anonymity Disallowed",
    480: "Temporarily Unavailable",
    482: "Loop Detected",
    486: "Busy Here",
    503: "Service Unavailable",
    603: "Decline",
}
_REJECTS = {code: Reject(code, phrase) for code, phrase in _PHRASES.items()}


def reject(code: int) -> Reject:
    """The refusal with one of the codes that decisions use, and its phrase (RFC 3261, RFC 5079)."""
    return _REJECTS[code]
