"""A line speaks with another one before it hands the caller over: see docs/design/transfers.md."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

import structlog

from signalbox.ivr.connecting import LINE_LEFT, in_vain
from signalbox.ivr.conversation import NORMAL_CLEARING, Conversation, pressed
from signalbox.ivr.keysequences import KeySequences
from signalbox.ivr.legs import Way
from signalbox.ivr.media.anchoring import anchor_late
from signalbox.ivr.media.errors import MediaError
from signalbox.ivr.media.session import Party, State
from signalbox.ivr.ringing import RingBack, Taken, ring
from signalbox.ivr.sounds import Sound, Tone
from signalbox.ivr.together import first_of
from signalbox.sip.errors import SipError

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.legs import Leg
    from signalbox.ivr.media.session import MediaSession

logger = structlog.get_logger(__name__)

_NOBODY: KeySequences[bool] = KeySequences({})


BUSY_TIMES = 3
"""How often the busy tone sounds for a line that nobody can be called for: two seconds."""


async def keep(call: VoiceCall, talking: Conversation, in_vain: StepOutcome) -> StepOutcome:
    """There is nobody to speak with: the line is told by a tone, and has its caller back until it leaves.

    ``in_vain``: the outcome if it has hung up before, for then it has handed over.
    """
    leg = talking.leg
    try:
        tone = await call.play(Sound.tone(Tone.BUSY), repeat=BUSY_TIMES, to=Party.LINE)
        if tone is not None:
            await first_of(tone.done(), leg.left())
        if leg.over:
            await talking.let_go()
            return in_vain
        conversation = Conversation(call, leg, records=talking.records)
        await conversation.connect()
        await conversation.until(_NOBODY, _NOBODY)
        await conversation.let_go()
        return LINE_LEFT
    finally:
        leg.hang_up(NORMAL_CLEARING)


class _Act(Enum):
    """What the line does with the caller."""

    HANDS_OVER = "hands over"
    TAKES_BACK = "takes back"


class Consultation:
    """The line and the one that it calls have media of their own, in which the line is the caller."""

    def __init__(self, call: VoiceCall, talking: Conversation, step: ContinueResponse) -> None:
        """``talking``: caller and line, who do not hear each other now."""
        node = step.transfer_node
        self._call = call
        self._dial = step.dial
        self._line = talking.leg
        self._records = talking.records
        self._other: Leg | None = None
        self._rang = False
        self._caller = talking.media
        self._aside: MediaSession | None = None
        self._ring_back = RingBack(call, talking.media, node.ring_back, passes=False)
        self._keys = KeySequences({node.complete_keys: _Act.HANDS_OVER, node.return_keys: _Act.TAKES_BACK})

    async def run(self) -> StepOutcome | None:
        """To the end of the caller's conversation with one of them.

        None: the line has hung up before anybody was rung, so it has handed over, and the caller is alone.
        """
        try:
            await self._ring_back.begin()
            self._ring_back.rings()
            way = await self._consult()
            if way is None or await self._back():
                return LINE_LEFT
            await self._ring_back.end()
            if self._caller.state is not State.ALONE:
                await self._caller.drop_line()
            return in_vain(way) if self._rang or not self._line.over else None
        finally:
            for leg in (self._line, self._other):
                if leg is not None:
                    leg.hang_up(NORMAL_CLEARING)
            try:
                await self._ring_back.give_up()
            finally:
                # A second cancellation must not leave the aside to the node's time-out.
                await self._close_aside()

    async def _consult(self) -> Way | None:
        """None: the caller was handed over, and is alone again. Else nobody else has the caller, and why."""
        try:
            await self._move_aside()
            found, wanted = await self._ring()
            if isinstance(found, Way):
                return found
            if (wanted or await self._speak()) is _Act.HANDS_OVER:
                await self._hand_over(records=found.stage.record)
                return None
        except (MediaError, SipError) as error:
            if self._caller.state is State.LOST or self._call.sip.ended is not None:
                raise
            logger.warning("consultation_failed", call_id=self._call.facts.call_id, error=str(error))
        return Way.FAILED

    async def _move_aside(self) -> None:
        """The line leaves the caller's media."""
        call = self._call
        self._aside, offer = await anchor_late(call.nodes, f"{self._caller.call_id}.{next(call.asides)}")
        answer = await self._line.change(offer)
        await self._caller.drop_line()
        await self._aside.caller_answer(answer)
        self._line.on_offer(self._aside.caller_offer)

    async def _ring(self) -> tuple[Taken | Way, _Act | None]:
        """What came of the call to the other one, and what the line wants already. If it takes the caller back, nobody
        has to answer any more; if it hands over, it need not be there."""
        call, aside = self._call, self._aside
        assert aside is not None
        self._rang = True

        async def rung() -> Taken | Way:
            async with RingBack(call, aside, "", passes=True) as ring_back:
                found = await ring(call, aside, self._dial, ring_back)
                self._other = found.leg if isinstance(found, Taken) else None
            return found

        ringing = asyncio.ensure_future(rung())
        try:
            act = await first_of(_done(ringing), self._act())
            if act is _Act.TAKES_BACK:
                return Way.FAILED, act
            return await ringing, act
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)

    async def _speak(self) -> _Act:
        """They hear each other."""
        aside, other = self._aside, self._other
        assert aside is not None
        assert other is not None
        if aside.state is State.APART:
            await aside.connect()

        async def other_left() -> _Act:
            await other.left()
            return _Act.TAKES_BACK

        return await first_of(self._act(), other_left())

    async def _act(self) -> _Act:
        """Wait for what the line wants. Who hangs up hands over."""
        aside = self._aside
        assert aside is not None

        async def left() -> _Act:
            await self._line.left()
            return _Act.HANDS_OVER

        return await first_of(left(), pressed(aside.keys[Party.CALLER], self._keys))

    async def _hand_over(self, *, records: bool) -> None:
        """To the other one, until it leaves."""
        other = self._other
        assert other is not None
        await self._bring(other)
        self._line.hang_up(NORMAL_CLEARING)
        conversation = Conversation(self._call, other, records=records)
        if await conversation.begin(Sound(), Sound(), self._ring_back):
            await conversation.until(_NOBODY, _NOBODY)
        await conversation.let_go()

    async def _back(self) -> bool:
        """To the line, until it leaves. False: it is not there any more."""
        if self._other is not None:
            self._other.hang_up(NORMAL_CLEARING)
        if self._line.over:
            return False
        # If the line could not be moved aside it is in the caller's media still.
        if self._caller.state is not State.APART:
            try:
                await self._bring(self._line)
            except (MediaError, SipError) as error:
                if self._caller.state is State.LOST:
                    raise
                logger.warning("line_not_brought_back", call_id=self._call.facts.call_id, error=str(error))
                return False
        await self._ring_back.give_up()
        conversation = Conversation(self._call, self._line, records=self._records)
        await conversation.connect()
        await conversation.until(_NOBODY, _NOBODY)
        await conversation.let_go()
        return True

    async def _bring(self, leg: Leg) -> None:
        """Into the caller's media."""
        await self._caller.answer_line(await leg.change(await self._caller.offer_line()))
        leg.on_offer(self._caller.line_offer)
        await self._close_aside()

    async def _close_aside(self) -> None:
        if self._aside is not None:
            await self._aside.close()


async def _done(work: asyncio.Future[Taken | Way]) -> None:
    await asyncio.wait([work])
