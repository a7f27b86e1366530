"""From the first ring to the end of a conversation: what dials and transfers have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.conversation import Conversation
from signalbox.ivr.keysequences import KeySequences
from signalbox.ivr.legs import Way
from signalbox.ivr.ringing import RingBack, ring
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.media.session import MediaSession

LINE_LEFT = StepOutcome(line_left=True)
TRANSFER = StepOutcome(transfer=True)
_IN_VAIN = {
    Way.BUSY: StepOutcome(busy=True),
    Way.NO_ANSWER: StepOutcome(no_answer=True),
    Way.FAILED: StepOutcome(failed=True),
}


class _Meant(Enum):
    """What keys of a conversation ask for."""

    TRANSFER = "transfer"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Manner:
    """What is heard and keyed besides; by default nothing.

    ``ring_back``: prompt for the caller; ``passes``: early media in its place; ``whisper``: prompt for the line;
    ``announcements``: what the caller is told of which line. Keys as in a DialNode.
    """

    ring_back: str = ""
    passes: bool = False
    whisper: str = ""
    announcements: Mapping[str, Sound] = field(default_factory=dict)
    transfer_keys: str = ""
    pause_keys: str = ""
    resume_keys: str = ""


async def connect(call: VoiceCall, dial: routing_pb2.Dial, manner: Manner) -> StepOutcome:
    """Ring lines, and connect the caller to the one that answers, until it hangs up or leads the caller on.

    Then the line is ``call.talking``. Raises MediaLostError, CallOverError if the caller is gone.
    """
    media = await _offering(call)
    async with RingBack(call, media, manner.ring_back, passes=manner.passes) as ring_back:
        taken = await ring(call, media, dial, ring_back)
        if isinstance(taken, Way):
            return in_vain(taken)
        conversation = Conversation(call, taken.leg, records=taken.stage.record)
        try:
            return await _talk(call, conversation, manner, ring_back)
        except BaseException:
            await conversation.end()
            raise


def in_vain(way: Way) -> StepOutcome:
    """No line has taken the call."""
    return _IN_VAIN[way]


async def _offering(call: VoiceCall) -> MediaSession:
    """The media with a caller whose description is known: one who made no offer has to be answered for that."""
    return await (call.answer() if call.sip.offer is None else call.anchored())


async def _talk(call: VoiceCall, conversation: Conversation, manner: Manner, ring_back: RingBack) -> StepOutcome:
    announcement = manner.announcements.get(conversation.leg.line, Sound())
    both = await conversation.begin(Sound.prompt(manner.whisper), announcement, ring_back)
    if both and await _until_over(conversation, manner):
        await conversation.separate()
        call.talking = conversation
        return TRANSFER
    await conversation.let_go()
    return LINE_LEFT


async def _until_over(conversation: Conversation, manner: Manner) -> bool:
    """True: the caller is to be led on; False: the line has left."""
    caller = KeySequences({manner.transfer_keys: _Meant.TRANSFER})
    line = KeySequences(
        {
            manner.resume_keys: _Meant.RESUME,
            manner.pause_keys: _Meant.PAUSE,
            manner.transfer_keys: _Meant.TRANSFER,
        }
    )
    while (meant := await conversation.until(caller, line)) in (_Meant.PAUSE, _Meant.RESUME):
        # The same keys may mean either.
        again = conversation.paused and manner.resume_keys == manner.pause_keys
        await conversation.pause(paused=meant is _Meant.PAUSE and not again)
    return meant is _Meant.TRANSFER
