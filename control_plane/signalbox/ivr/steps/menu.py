"""Plays a prompt, takes a key or digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.ivr.asking import Question, ask
from signalbox.ivr.keyed import Choice
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
    from signalbox.ivr.call import VoiceCall


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``digits``, ``no_input`` or ``no_match``."""
    node = step.node.menu
    return await ask(
        call,
        Question(
            Sound.prompt(node.prompt),
            Choice.at(node),
            first_s=node.timeout.ToMilliseconds() / 1000,
            next_s=node.inter_digit_timeout.ToMilliseconds() / 1000,
            repeats=node.repeats,
            after_silence=Sound.prompt(node.no_input_prompt),
            after_wrong=Sound.prompt(node.no_match_prompt),
        ),
    )
