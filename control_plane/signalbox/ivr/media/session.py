"""The media of one call at one node: the caller, and by and by the lines it is connected to.

::

    OFFERING ──caller_answer──► ALONE ──offer_line──► RINGING ──answer_line──► APART ◄──connect / separate──► TOGETHER
                                  ▲                      │                       │                                │
                                  └──────────────────────┴────────drop_line──────┴────────────────────────────────┘

In each of them, files are played to a party that is there, but for TOGETHER, where both hear each other; both can press
keys. CLOSED and LOST are final. The caller's port never changes: it need not be told of lines that come and go.

Made by :mod:`signalbox.ivr.media.anchoring`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from typing import TYPE_CHECKING

from signalbox.ivr.media import parties
from signalbox.ivr.media.engine import CALLER, FIRST_ATTEMPTS, LINE
from signalbox.ivr.media.errors import MediaLostError, MediaRefusedError, MediaStateError
from signalbox.ivr.media.keys import Key, Keys
from signalbox.ivr.media.playback import End, Playback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalbox.bencode import Encodable
    from signalbox.ivr.media.engine import Engine
    from signalbox.ivr.media.node import Node

FOREVER = 1_000_000_000
"""Repetitions of what is played until it is stopped."""


class Party(enum.Enum):
    """Who hears something, or presses a key; the value is its tag at the node."""

    CALLER = CALLER
    LINE = LINE


class State(enum.Enum):
    """See above."""

    OFFERING = "offering"
    ALONE = "alone"
    RINGING = "ringing"
    APART = "apart"
    TOGETHER = "together"
    CLOSED = "closed"
    LOST = "lost"


_WITH_LINE = (State.RINGING, State.APART, State.TOGETHER)
_WITH_CALLER = (State.ALONE, *_WITH_LINE)


class MediaSession:
    """One call. Commands come one after the other, whoever asks for them.

    All raise MediaLostError once the node, or what it knew of the call, is gone, MediaStateError at the wrong time, and
    MediaRefusedError if the node says no.
    """

    def __init__(self, engine: Engine, *, caller: parties.Described | None) -> None:
        self.state = State.OFFERING if caller is None else State.ALONE
        self.keys = {party: Keys() for party in Party}
        self.recording = False
        self.on_lost: Callable[[MediaLostError], None] | None = None
        """Called once if the media are lost; not when the session is closed."""
        self._engine = engine
        self._caller = caller
        self._address: parties.Address | None = None
        self._ours = parties.Ours()
        self._line: parties.Described | None = None
        self._line_said = ""
        self._told_line = parties.Ours()
        self._players: dict[Party, Playback] = {}
        self._unsure: set[Party] = set()
        """Parties to whom something may be played that nobody knows of: who asked for it went away meanwhile."""
        self._busy = asyncio.Lock()

    @property
    def call_id(self) -> str:
        """As the node knows it."""
        return self._engine.call_id

    @property
    def node(self) -> Node:
        """Where it is."""
        return self._engine.node

    @property
    def caller(self) -> parties.Described:
        """What is settled with the caller."""
        if self._caller is None:
            raise MediaStateError("what needs the caller's description", self.state.value)
        return self._caller

    def key(self, tag: str, key: Key) -> None:
        """The node heard a key; of a tag that is neither party's it is nobody's."""
        for party in Party:
            if party.value == tag:
                self.keys[party].pressed(key)

    # The caller

    async def anchor(self) -> str:
        """The answer for the caller, whose offer the node has. For :mod:`~signalbox.ivr.media.anchoring`."""
        async with self._command("anchor", State.ALONE):
            nobody = parties.nobody_for(self.caller)
            written = await self._engine.answer(nobody, sender=CALLER, to=LINE, attempts=FIRST_ATTEMPTS)
            await self._hear_tones(self.caller)
            return self._ours.answer(self._same(written), self.caller)

    async def offer(self) -> str:
        """An offer for a caller that made none. For :mod:`~signalbox.ivr.media.anchoring`."""
        async with self._command("offer", State.OFFERING):
            sdp = parties.nobody(parties.OFFERED)
            written = await self._engine.offer(sdp, sender=LINE, to=CALLER, transcode=[], attempts=FIRST_ATTEMPTS)
            return self._ours.offer(self._same(written), parties.OFFERED)

    async def caller_answer(self, sdp: bytes | str) -> None:
        """What the caller answered to :meth:`offer`. Raises UnusableDescriptionError."""
        async with self._command("caller_answer", State.OFFERING):
            caller = parties.read(sdp)
            await self._engine.answer(parties.told_of(caller), sender=LINE, to=CALLER)
            await self._hear_tones(caller)
            self._caller, self.state = caller, State.ALONE

    async def caller_offer(self, sdp: bytes | str) -> str:
        """The answer to a re-INVITE or UPDATE of the caller: hold, another address, another codec.

        Lines need not be told. What is played to a caller who holds goes on unheard. Raises UnusableDescriptionError,
        after which everything is as it was (488, RFC 3261 section 14.2).
        """
        async with self._command("caller_offer", *_WITH_CALLER):
            caller = parties.read(sdp, self._caller)
            await self._offer(caller)
            address = await self._answer(self._line_said or parties.nobody_for(caller))
            await self._hear_tones(caller)
            self._caller = caller
            return self._ours.answer(address, caller)

    # Lines

    async def offer_line(self) -> str:
        """The offer for a line. It is the one to be called next if another one was called before and did not answer.

        From here on the parties do not hear each other until :meth:`connect`.
        """
        async with self._command("offer_line", State.ALONE, State.RINGING):
            if self.state is State.ALONE:
                await self._hold_apart()
            self.keys[Party.LINE].forget()
            self._line, self._line_said, self._told_line = None, "", parties.Ours()
            try:
                written = await self._offer(self.caller)
            except MediaRefusedError:
                if self.state is State.ALONE:
                    # Tones in the sound are only found in what is not blocked.
                    await self._let_hear()
                raise
            self.state = State.RINGING
            return self._told_line.offer_of(written)

    async def answer_line(self, sdp: str) -> None:
        """A line answered, early or finally; of several, the last one is the line. Raises UnusableDescriptionError."""
        async with self._command("answer_line", *_WITH_LINE):
            line = parties.read(sdp)
            await self._answer(sdp)
            self._line, self._line_said = line, sdp
            if self.state is State.RINGING:
                self.state = State.APART

    async def line_offer(self, sdp: bytes | str) -> str:
        """The answer to a re-INVITE or UPDATE of the line; the caller is not told. Raises UnusableDescriptionError."""
        async with self._command("line_offer", State.APART, State.TOGETHER):
            line = parties.read(sdp, self._line)
            told, transcode = parties.told_of(line), parties.transcoded(line, self.caller)
            await self._engine.offer(told, sender=LINE, to=CALLER, transcode=transcode)
            written = await self._engine.answer(parties.told_of(self.caller), sender=LINE, to=CALLER)
            self._line, self._line_said = line, told
            return self._told_line.answer(parties.address_of(written), line)

    async def connect(self) -> None:
        """Let caller and line hear each other. What is played to them ends."""
        async with self._command("connect", State.APART):
            await self._stop_all()
            await self._let_hear()
            self.state = State.TOGETHER

    async def separate(self) -> None:
        """Let them no longer hear each other."""
        async with self._command("separate", State.TOGETHER):
            await self._hold_apart()
            self.state = State.APART

    async def drop_line(self) -> None:
        """The line is gone, or not wanted any more: the caller is alone with us again. What is played to it goes on."""
        async with self._command("drop_line", *_WITH_LINE):
            await self._stop(Party.LINE, End.STOPPED)
            if self.state is State.TOGETHER:
                await self._hold_apart()
            await self._offer(self.caller)
            await self._answer(parties.nobody_for(self.caller))
            # Nobody is there to hear, and tones in the sound are only found in what is not blocked.
            await self._let_hear()
            self._line, self._line_said, self.state = None, "", State.ALONE

    # Sound

    async def play(self, path: str, *, repeat: int | None = 1, to: Party = Party.CALLER) -> Playback:
        """Play a file on the node's disk. ``repeat``: how often; None: until it is stopped.

        What was being played to that party ends. MediaRefusedError: there is no such file, or none that can be played.
        """
        allowed = (State.ALONE, State.RINGING, State.APART) if to is Party.CALLER else (State.APART,)
        async with self._command(f"play to the {to.value}", *allowed):
            # Whatever comes of it: rtpengine ends the one before first.
            self._over(to, End.REPLACED)
            try:
                seconds = await self._engine.play(to.value, path, FOREVER if repeat is None else repeat)
            except asyncio.CancelledError:
                self._unsure.add(to)
                raise
            self._unsure.discard(to)
            playback = Playback(None if repeat is None else seconds * repeat, self._stopped)
            self._players[to] = playback
            self.node.players += 1
            playback.when_over(self._player_over)
            return playback

    async def mute(self, party: Party) -> None:
        """The other party hears neither sound nor keys of this one; keys come to us as ever."""
        async with self._command("mute", *_WITH_CALLER):
            await self._engine.ask("silence media", {"from-tag": party.value})
            await self._engine.ask("block DTMF", {"from-tag": party.value})

    async def unmute(self, party: Party) -> None:
        """As before :meth:`mute`."""
        async with self._command("unmute", *_WITH_CALLER):
            await self._engine.ask("unblock DTMF", {"from-tag": party.value})
            await self._engine.ask("unsilence media", {"from-tag": party.value})

    # Recording

    async def start_recording(self, facts: str) -> None:
        """Capture what the parties say from now on. ``facts``: :func:`signalbox.ivr.media.facts.text`.

        A node without a place for captures accepts it and captures nothing: anchor the call at one that records.
        """
        async with self._command("start_recording", *_WITH_CALLER):
            await self._engine.ask("start recording", {"metadata": facts})
            self.recording = True

    async def stop_recording(self) -> None:
        """Capture no more; nothing if nothing is captured."""
        async with self._command("stop_recording", *_WITH_CALLER):
            if self.recording:
                await self._engine.ask("stop recording")
                self.recording = False

    # The end

    def lose(self, error: MediaLostError) -> None:
        """The media are lost: whoever waits for something is told."""
        if self.state in (State.CLOSED, State.LOST):
            return
        self.state, self._engine.over = State.LOST, error
        self.node.left(self)
        for party in Party:
            self._over(party, error)
            self.keys[party].fail(error)
        if self.on_lost is not None:
            self.on_lost(error)

    async def close(self) -> None:
        """Free what the node holds for the call; never fails. Whoever waits for something gets MediaLostError."""
        if self.state is State.CLOSED:
            return
        lost, self.state = self.state is State.LOST, State.CLOSED
        self.node.left(self)
        self._engine.over = over = self._engine.over or MediaLostError("the session is closed")
        for party in Party:
            self._over(party, End.STOPPED)
            self.keys[party].fail(over)
        # A command under way would make the call anew.
        freed = self.node.free_soon(self.call_id, after=self._busy)
        if not lost:
            await asyncio.shield(freed)

    # Within

    @contextlib.asynccontextmanager
    async def _command(self, name: str, *allowed: State) -> AsyncIterator[None]:
        """One at a time, in the right state."""
        async with self._busy:
            if self._engine.over is not None:
                raise self._engine.over
            if self.state not in allowed:
                raise MediaStateError(name, self.state.value)
            try:
                yield
            except MediaLostError as error:
                self.lose(error)
                raise

    async def _hold_apart(self) -> None:
        await self._engine.ask("block media")
        # Events pass what blocks media.
        await self._engine.ask("block DTMF")

    async def _let_hear(self) -> None:
        await self._engine.ask("unblock DTMF")
        await self._engine.ask("unblock media")

    async def _hear_tones(self, caller: parties.Described) -> None:
        """A caller that has no telephone-event presses keys as tones in its sound."""
        if caller.events is None:
            arguments: dict[str, Encodable] = {"from-tag": CALLER, "delay-buffer": 0, "flags": ["detect DTMF"]}
            await self._engine.ask("unblock DTMF", arguments)

    async def _offer(self, caller: parties.Described) -> str:
        return await self._engine.offer(
            parties.told_of(caller), sender=CALLER, to=LINE, transcode=parties.transcoded(caller, self._line)
        )

    async def _answer(self, sdp: str) -> parties.Address:
        """Where the caller is to send."""
        return self._same(await self._engine.answer(sdp, sender=CALLER, to=LINE))

    def _same(self, written: str) -> parties.Address:
        """The caller's port, which does not change: or else this is another call, of a node that has lost ours."""
        address = parties.address_of(written)
        if self._address is None:
            # From here on the node has it.
            self.node.joined(self)
        elif self._address != address:
            raise MediaLostError(f"media node {self.node.id} has lost the call, and begun another")
        self._address = address
        return address

    async def _stopped(self, playback: Playback) -> None:
        """Somebody wants to hear no more of it."""
        for party, playing in list(self._players.items()):
            if playing is playback:
                async with self._command("stop", *_WITH_CALLER):
                    await self._stop(party, End.STOPPED)

    async def _stop_all(self) -> None:
        for party in Party:
            await self._stop(party, End.STOPPED)

    async def _stop(self, party: Party, how: End) -> None:
        playing = self._players.get(party)
        if party in self._unsure:
            # Refused if nothing was ever played.
            with contextlib.suppress(MediaRefusedError):
                await self._engine.ask("stop media", {"from-tag": party.value})
            self._unsure.discard(party)
        elif playing is not None and not playing.over:
            await self._engine.ask("stop media", {"from-tag": party.value})
        self._over(party, how)

    def _over(self, party: Party, how: End | MediaLostError) -> None:
        playing = self._players.pop(party, None)
        if playing is not None:
            playing.ended(how)

    def _player_over(self) -> None:
        self.node.players -= 1
