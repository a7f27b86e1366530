"""Asking a caller for keys: the question, what is keyed, and the question again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.keyed import Meaning
from signalbox.ivr.media.session import Party
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.keyed import Choice


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what counts as an answer.

    ``first_s``: silence after the question, ``next_s``: between keys; ``repeats``: how often it is asked again;
    ``after_silence`` and ``after_wrong`` are heard before that.
    """

    sound: Sound
    choice: Choice
    first_s: float
    next_s: float
    repeats: int = 0
    after_silence: Sound = field(default_factory=Sound)
    after_wrong: Sound = field(default_factory=Sound)


async def ask(call: VoiceCall, question: Question) -> StepOutcome:
    """Answer the call and ask: ``digits`` that lead on, or ``no_input`` or ``no_match`` as the last try ended.

    The first key ends what is played. Who knows the way keys ahead: keys from before are the first ones, and while
    there are any, nothing is played. After a wrong key those that were keyed ahead were meant for somewhere else.
    """
    media = await call.answer()
    keys, choice = media.keys[Party.CALLER], question.choice
    before, outcome = Sound(), StepOutcome(no_input=True)
    for _ in range(question.repeats + 1):
        keyed = await keys.collect(
            choice.most,
            first_timeout_s=question.first_s,
            next_timeout_s=question.next_s,
            terminator=choice.terminator,
            is_whole=choice.is_whole,
            playback=None if keys.waiting else await call.play(before + question.sound),
        )
        match choice.meaning(keyed):
            case Meaning.CHOSEN:
                return StepOutcome(digits=keyed.digits)
            case Meaning.WRONG:
                keys.forget()
                before, outcome = question.after_wrong, StepOutcome(no_match=True)
            case Meaning.NOTHING:
                before, outcome = question.after_silence, StepOutcome(no_input=True)
    return outcome
