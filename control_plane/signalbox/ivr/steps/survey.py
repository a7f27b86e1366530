"""Asks the caller for a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.ivr.asking import Question, ask
from signalbox.ivr.keyed import Choice
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
    from signalbox.ivr.call import VoiceCall


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``digits``, which are one of the keys, ``no_input`` or ``no_match``."""
    node = step.node.survey
    first_s = node.timeout.ToMilliseconds() / 1000
    return await ask(
        call,
        Question(
            Sound.prompt(node.prompt),
            Choice(frozenset(node.keys), most=1),
            first_s=first_s,
            next_s=first_s,
            repeats=node.repeats,
            after_wrong=Sound.prompt(node.no_match_prompt),
        ),
    )
