"""Lines are rung, stage after stage, and the caller hears that they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from signalbox.ivr.legs import ANSWERED_ELSEWHERE, Leg, Way, parse
from signalbox.ivr.media.errors import MediaError, MediaRefusedError, UnusableDescriptionError
from signalbox.ivr.media.session import State
from signalbox.ivr.sounds import Sound, Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.media.playback import Playback
    from signalbox.ivr.media.session import MediaSession

logger = structlog.get_logger(__name__)

_TONE = Sound.tone(Tone.RINGING)


class Taken(NamedTuple):
    """A line has taken the call. ``stage``: among whose lines it was."""

    leg: Leg
    stage: routing_pb2.Stage


class RingBack:
    """What is heard in ``media`` while lines ring: by the caller, or by a line that consults.

    ``prompt``: over and over from the beginning on; empty: once a line rings, 180 for a caller who hears nothing of us
    yet, or else a ringing tone, unless music goes on. ``passes``: a line's early media, in place of all of it.

    Nobody waits for its sound: it is heard once it is there, and lines are called meanwhile. What is not there yet when
    an ``async with`` ends is given up; what is heard then goes on.
    """

    def __init__(self, call: VoiceCall, media: MediaSession, prompt: str, *, passes: bool) -> None:
        self._call = call
        self._media = media
        self._prompt = prompt
        self._passes = passes
        self._rings = False
        """A line rings, or did."""
        self._coming: asyncio.Task[None] | None = None
        """Plays a sound as soon as there is one."""
        self._playing: Playback | None = None
        self._through: Leg | None = None
        """The line whose early media are heard."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.give_up()

    async def begin(self) -> None:
        """Lines are called from now on."""
        if self._prompt and self._through is None and not self._sounds:
            if self._is_callers:
                await self._call.early()
            self._play(Sound.prompt(self._prompt))

    def rings(self) -> None:
        """A line rings."""
        self._rings = True
        music = self._call.music if self._is_callers else None
        if self._through is not None or self._sounds or (music is not None and _lasts(music.playback)):
            return
        if not self._is_callers or self._call.answered or self._call.told_early:
            self._play(_TONE)
        else:
            self._call.sip.ring()

    async def hear(self, legs: Sequence[Leg]) -> None:
        """Early media of the first of these lines that sends any, as long as it rings. Without any line: none."""
        if not self._passes or (self._through is not None and not self._through.over):
            return
        if self._through is not None:
            self._through = None
            await self._media.separate()
            await self.begin()
            if any(leg.rings for leg in legs):
                self.rings()
        for leg in legs:
            if leg.early is not None and not leg.over and await self._let_through(leg):
                return

    async def give_up(self) -> None:
        """A sound that is not there yet is not waited for any more: something else is to be heard."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])

    async def end(self) -> None:
        """No line has taken the call. Music goes on."""
        await self.give_up()
        if self._playing is not None:
            await self._playing.stop()
        self._through = None

    @property
    def _is_callers(self) -> bool:
        return self._media is self._call.media

    @property
    def _sounds(self) -> bool:
        """Something is heard, or is about to be."""
        return (self._coming is not None and not self._coming.done()) or _lasts(self._playing)

    async def _let_through(self, leg: Leg) -> bool:
        try:
            await self._media.answer_line(str(leg.early))
        except (UnusableDescriptionError, MediaRefusedError):
            # The answer counts.
            leg.early = None
            return False
        if self._is_callers:
            await self._call.early()
        await self.give_up()
        if self._media.state is State.APART:
            await self._media.connect()
        self._through = leg
        return True

    def _play(self, sound: Sound) -> None:
        name = f"ring-back of {self._call.facts.call_id}"
        self._coming = asyncio.create_task(self._heard(sound), name=name)

    async def _heard(self, sound: Sound) -> None:
        try:
            self._playing = await self._call.play(sound, repeat=None, at=self._media)
        except MediaError as error:
            # Whoever works with these media gets it, too.
            logger.info("ring_back_ends", call_id=self._call.facts.call_id, error=str(error))
            return
        if self._playing is None and self._rings and sound is not _TONE:
            self._coming = None
            self.rings()


def _lasts(playback: Playback | None) -> bool:
    """It goes on until it is stopped. The place in a queue, which ends by itself, is none that lines ring to."""
    return playback is not None and playback.seconds is None and not playback.over


async def ring(call: VoiceCall, media: MediaSession, dial: routing_pb2.Dial, ring_back: RingBack) -> Taken | Way:
    """Ring the lines of a dial: who took the call, whose answer ``media`` has, or how none did.

    Lines in vain leave nothing behind. Raises MediaLostError, CallOverError if the caller is gone.
    """
    at, worst = 1, Way.FAILED
    while at:
        stage = dial.stages[at - 1]
        await ring_back.begin()
        found = await _ring_stage(call, media, stage, ring_back)
        if isinstance(found, Leg):
            return Taken(found, stage)
        worst = max(worst, found)
        await ring_back.hear(())
        jump = (stage.on_failed, stage.on_no_answer, stage.on_busy)[found]
        # Stages lead forward; any other number ends the dial, and how it ended is known.
        at = jump if at < jump <= len(dial.stages) else 0
    await ring_back.end()
    if media.state is not State.ALONE:
        await media.drop_line()
    return worst


async def _ring_stage(call: VoiceCall, media: MediaSession, stage: routing_pb2.Stage, ring_back: RingBack) -> Leg | Way:
    try:
        if media.state not in (State.ALONE, State.RINGING):
            # What rang before was heard before its answer.
            await media.drop_line()
        offer = parse(await media.offer_line())
    except MediaRefusedError as error:
        logger.warning("line_not_offered", call_id=call.facts.call_id, error=str(error))
        return Way.FAILED
    changed = asyncio.Event()
    legs = [Leg(call, branch, offer, changed.set) for branch in stage.branches]
    taken: Leg | None = None
    try:
        found = await _rung(media, legs, stage.ring_time_ms / 1000, changed, ring_back)
        taken = found if isinstance(found, Leg) else None
        return found
    finally:
        for leg in legs:
            if leg is not taken:
                leg.hang_up(ANSWERED_ELSEWHERE if taken is not None else ())


async def _rung(
    media: MediaSession, legs: Sequence[Leg], ring_s: float, changed: asyncio.Event, ring_back: RingBack
) -> Leg | Way:
    """Wait for one that answers, for the ring time from the first that rings."""
    clock = asyncio.get_running_loop().time
    until, ringing = clock() + ring_s, False
    while True:
        changed.clear()
        for leg in legs:
            if leg.answered and leg.failed is None and await _takes(media, leg):
                return leg
        ways = [leg.failed for leg in legs if leg.failed is not None]
        if len(ways) == len(legs):
            return max(ways)
        if not ringing and any(leg.rings for leg in legs):
            until, ringing = clock() + ring_s, True
            ring_back.rings()
        await ring_back.hear(legs)
        try:
            async with asyncio.timeout_at(until):
                await changed.wait()
        except TimeoutError:
            return max([Way.NO_ANSWER, *ways])


async def _takes(media: MediaSession, leg: Leg) -> bool:
    """False, and it has failed: nothing can be done with its answer."""
    try:
        await media.answer_line(leg.description)
    except (UnusableDescriptionError, MediaRefusedError) as error:
        leg.refuse(str(error))
        return False
    leg.on_offer(media.line_offer)
    return True
