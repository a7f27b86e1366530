"""What comes out of a decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain import screening
from signalbox.domain.objects import MediaMode

if TYPE_CHECKING:
    from signalbox.domain.objects import Line


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
    RECORDING_UNAVAILABLE = "recording_unavailable"
    LEG_INVALID = "leg_invalid"
    LEG_EXPIRED = "leg_expired"
    LEG_MISUSED = "leg_misused"
    NO_LINE = "no_line"
    LINES_BUSY = "lines_busy"
    HANG_UP = "hang_up"
    VOICE = "voice"
    DIAL = "dial"
    LEG = "leg"

    # As of any text: that of an enumeration is worked out anew each time.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse with a SIP status code (RFC 3261 section 21) and reason phrase."""

    code: int
    phrase: str


class Stage(NamedTuple):
    """Lines that ring together for ``ring_time_ms``; at least one.

    What follows when none of them took the call, for each way of failing: 0: the call ends with what the lines said;
    1 to 16: the stage at this position; 400 to 699: the call ends with this status code. ``cursor``: the lines are
    workers that execute the call flow from here on. ``record``: a call that one of the lines takes is recorded, if the
    dial's media say so.
    """

    lines: tuple[Line, ...]
    ring_time_ms: int
    on_busy: int = 0
    on_no_answer: int = 0
    on_failed: int = 0
    cursor: str = ""
    record: bool = False


class Dial(NamedTuple):
    """Ring the stages from the first on until a line answers; at least one. With media RECORD some of them have
    ``record``, and all are anchored. ``max_duration_s``: longest call, 0: any. ``unrecorded``: the media of a call that
    is to be recorded and cannot be."""

    stages: tuple[Stage, ...]
    media: MediaMode
    max_duration_s: int = 0
    unrecorded: MediaMode = MediaMode.ANCHOR


class Decision(NamedTuple):
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
