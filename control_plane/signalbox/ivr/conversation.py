"""A caller and a line that has taken the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from signalbox.ivr.media.session import Party, State
from signalbox.ivr.recorded import converses
from signalbox.ivr.together import all_of, first_of

if TYPE_CHECKING:
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.keysequences import KeySequences
    from signalbox.ivr.legs import Leg
    from signalbox.ivr.media.keys import Keys
    from signalbox.ivr.recorded import Recording
    from signalbox.ivr.ringing import RingBack
    from signalbox.ivr.sounds import Sound

T = TypeVar("T")

NORMAL_CLEARING = (("Reason", "Q.850;cause=16"),)
"""RFC 3326, ITU-T Q.850."""


class Conversation:
    """It ends with :meth:`end`, or when the line hangs up; the caller's end is the runner's to see."""

    def __init__(self, call: VoiceCall, leg: Leg, *, records: bool) -> None:
        """``leg`` has answered, and its answer is in the call's media, or will be. ``records``: from :meth:`connect` on
        what they say is recorded."""
        assert call.media is not None
        self.leg = leg
        self.media = call.media
        self.records = records
        self._recording: Recording | None = None
        self._call = call

    async def begin(self, whisper: Sound, announcement: Sound, ring_back: RingBack) -> bool:
        """The line has the call: everybody is told. False: it left before they heard each other.

        ``whisper`` is for the line, ``announcement`` for the caller meanwhile; ring-back goes on without one.
        """
        call, media, leg = self._call, self.media, self.leg
        call.line = leg.line
        call.ports.routing.answered(call.facts.call_id, leg.line)
        if media.state is State.TOGETHER and (whisper or announcement):
            await media.separate()

        async def tell_caller() -> None:
            await call.answer()
            if announcement:
                await ring_back.give_up()
                await call.say(announcement)
            elif whisper:
                ring_back.rings()

        async def told() -> bool:
            await all_of(call.say(whisper, to=Party.LINE), tell_caller())
            return True

        if not await first_of(told(), self._left()):
            return False
        await ring_back.give_up()
        await self.connect()
        return True

    async def connect(self) -> None:
        """They hear each other, and their keys are for each other: what was pressed before is none of them."""
        if self.records:
            self._recording = await converses(self._call, self.leg.line)
        if self.media.state is State.APART:
            await self.media.connect()
        for party in Party:
            self.media.keys[party].forget()

    async def until(self, caller: KeySequences[T], line: KeySequences[T]) -> T | None:
        """What one of them means by its keys; None: the line has left. Raises MediaLostError."""

        async def gone() -> T | None:
            await self.leg.left()
            return None

        async def keyed(party: Party, sequences: KeySequences[T]) -> T | None:
            return await pressed(self.media.keys[party], sequences)

        return await first_of(gone(), keyed(Party.LINE, line), keyed(Party.CALLER, caller))

    async def pause(self, *, paused: bool) -> None:
        """Of the recording, if there is one."""
        if self._recording is not None and self._recording.paused is not paused:
            await (self._recording.pause() if paused else self._recording.go_on())

    @property
    def paused(self) -> bool:
        """The recording is."""
        return self._recording is not None and self._recording.paused

    async def separate(self) -> None:
        """They hear each other no more, and both are still there."""
        await self.media.separate()
        await self._end_recording()

    async def let_go(self) -> None:
        """Without the line; the caller is with us again."""
        await self.end()
        await self._end_recording()
        if self.media.state is not State.ALONE:
            await self.media.drop_line()

    async def end(self) -> None:
        """Hang up the line."""
        self.leg.hang_up(NORMAL_CLEARING)

    async def _end_recording(self) -> None:
        """What follows is not the conversation."""
        recording, self._recording = self._recording, None
        if recording is not None:
            await recording.end()

    async def _left(self) -> bool:
        await self.leg.left()
        return False


async def pressed(keys: Keys, sequences: KeySequences[T]) -> T:
    """Wait for a sequence. Keys that are part of none are nobody's. Raises MediaLostError."""
    clock = asyncio.get_running_loop().time
    while True:
        key = await keys.next()
        assert key is not None
        meaning = sequences.press(key.digit, clock())
        if meaning is not None:
            return meaning
