"""What a call is told as in Locust's statistics: the rows of its table, under the names that operators use.

Locust knows a type, a name and a time in milliseconds. Rows whose name ends in a unit have that in place of the time:
each call is 0 or 100 in "ASR %", so the column of averages has the answer-seizure ratio (ITU-T E.425) in percent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtest.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.engine.messages import Direction, Result

SIP, RTP, GRPC = "SIP", "RTP", "gRPC"
ATTEMPT = "call attempts"
ASR, NER = "ASR %", "NER %"
DELAY = "post-dial delay"
ANSWERED = "answered"
TALK = "talk time"
HANG_UP = "hang-up"
SHED = "shed (503)"
LOST = "audio lost ‰"
THROUGH = "audio through"
KEYS = "keys"
DECIDE, DECIDE_STREAM = "Decide", "DecideStream"
EDIT, IMPORT, IN_FORCE = "edit of a number", "import of numbers", "edit in force"
PER_MILLE = 1000.0


class Row(NamedTuple):
    """One line of statistics gets one more entry."""

    type: str
    name: str
    ms: float | None
    """None: there is no time to tell."""
    failure: str = ""
    """Not empty: it counts as a failure, for this reason."""


def rows(result: Result) -> Iterator[Row]:
    """All that a finished call counts for."""
    outcome = Outcome(result.outcome)
    failure = f"{outcome}: {result.why}" if outcome.failure else ""
    yield Row(SIP, ATTEMPT, result.final_ms, failure)
    if outcome is Outcome.UNFINISHED:
        return
    yield Row(SIP, ASR, 100.0 * outcome.answered)
    yield Row(SIP, NER, 100.0 * (not outcome.failure))
    if result.dialled_ms is not None:
        yield Row(SIP, DELAY, result.dialled_ms)
    elif outcome is Outcome.TIMED_OUT:
        yield Row(SIP, DELAY, None, f"{outcome}: {result.why}")
    if outcome.answered:
        yield Row(SIP, ANSWERED, result.answered_ms)
    if outcome is Outcome.SHED:
        yield Row(SIP, SHED, result.final_ms, "" if result.retry_after else "without Retry-After")
    if result.talked_ms is not None:
        yield from _talk(result, outcome)


def _talk(result: Result, outcome: Outcome) -> Iterator[Row]:
    yield Row(SIP, TALK, result.talked_ms)
    if outcome is Outcome.LEFT_UP:
        yield Row(SIP, HANG_UP, None, f"{outcome}: {result.why}")
    elif result.cleared_ms is not None:
        yield Row(SIP, HANG_UP, result.cleared_ms)
    for direction in (result.caller, result.line):
        yield from _sound(direction)
    if result.keys:
        wrong = result.heard_keys != result.keys and outcome is not Outcome.CUT
        yield Row(RTP, KEYS, None, f"pressed {result.keys}, heard {result.heard_keys or 'nothing'}" if wrong else "")


def _sound(direction: Direction) -> Iterator[Row]:
    if direction.sent:
        yield Row(RTP, LOST, PER_MILLE * direction.lost / direction.sent)
    yield Row(RTP, THROUGH, direction.first_ms, "" if direction.first_ms is not None else "nothing was heard")
