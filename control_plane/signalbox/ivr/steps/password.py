"""Asks for a password, once: routing compares it, and has the step done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.asking import Question, ask
from signalbox.ivr.keyed import Choice
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall

DIGITS_MAX = 20


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``digits``, or ``no_input``. What was keyed is told to nobody but routing."""
    node = step.node.password
    wrong = Sound.prompt(node.wrong_prompt) if step.password_try > 1 else Sound()
    outcome = await ask(
        call,
        Question(
            wrong + Sound.prompt(node.prompt),
            Choice(frozenset(), DIGITS_MAX, node.terminator, least=1),
            first_s=node.timeout.ToMilliseconds() / 1000,
            next_s=node.inter_digit_timeout.ToMilliseconds() / 1000,
        ),
    )
    # The terminator alone.
    return StepOutcome(no_input=True) if outcome.no_match else outcome
