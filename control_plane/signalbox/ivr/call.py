"""A caller's call at this worker, as the steps of its flow see it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from signalbox.api.media.v1 import media_pb2
from signalbox.ivr.media.anchoring import anchor, anchor_late
from signalbox.ivr.media.errors import MediaError, MediaRefusedError, NoMediaNodeError
from signalbox.ivr.media.session import Party
from signalbox.ivr.ports import AudioUnavailableError
from signalbox.ivr.sounds import Renderer
from signalbox.sip.negotiation import NotAcceptableError
from signalbox.sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.keysequences import KeySequences
    from signalbox.ivr.media.errors import MediaLostError
    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.media.playback import Playback
    from signalbox.ivr.media.session import MediaSession
    from signalbox.ivr.ports import Ports
    from signalbox.ivr.sounds import Sound
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.useragent import UserAgent

logger = structlog.get_logger(__name__)

INCOMPATIBLE = 305
"""Warning: none of the media formats is served (RFC 3261 section 20.43)."""


class Conversation(Protocol):
    """A line that still has the call when a step ends."""

    async def end(self) -> None:
        """Hang up the line. Never fails; once is enough."""

    async def let_go(self) -> None:
        """Hang up the line, and have the caller alone. Raises MediaLostError."""


@dataclass(slots=True)
class Music:
    """What a waiting caller hears from step to step, as long as they are of one node.

    Whoever plays something else to the caller ends it: ``playback.over``. ``dial``: the node whose lines ring to it;
    ``told``: when the caller was told the place, by ``time.monotonic``; ``leaving``: the keys with which the caller
    leaves, and what was pressed of them.
    """

    node: str
    dial: str
    playback: Playback | None
    told: float
    leaving: KeySequences[bool]


class VoiceCall:
    """One call. Made when routing has given its first step.

    ``edge``: id of the proxy that the call came by, empty if it does not say. ``language`` and ``prompts`` are those of
    the newest step. ``line``: id of the line that has or had the call last. ``talking``: a line that is connected when
    a step ends; it is ended with the call. ``music``: what goes on playing when a step ends. ``media``: None until
    something is to be heard.

    What is asked of a caller who is gone raises CallOverError, of lost media MediaLostError.
    """

    def __init__(
        self,
        sip: IncomingCall,
        facts: routing_pb2.FlowCall,
        ports: Ports,
        ua: UserAgent,
        nodes: MediaNodes,
        *,
        worker: str,
        edge: str = "",
    ) -> None:
        self.sip = sip
        self.facts = facts
        self.ports = ports
        self.ua = ua
        self.worker = worker
        self.edge = edge
        self.language = ""
        self.prompts: Mapping[str, routing_pb2.FlowPrompt] = {}
        self.line = ""
        self.talking: Conversation | None = None
        self.music: Music | None = None
        self.media: MediaSession | None = None
        self.lost: asyncio.Future[MediaLostError] = asyncio.get_running_loop().create_future()
        """Done when the media are lost."""
        self.nodes = nodes
        self.recordings = itertools.count(1)
        """Numbers of what is recorded of the call."""
        self.asides = itertools.count(2)
        """Numbers of media that a line has for itself, which the ids of these end with."""
        self._description: SessionDescription | None = None
        self.told_early = False
        """The caller hears us before the call is answered."""
        self._busy = asyncio.Lock()
        self._unheard: set[str] = set()
        sip.on_offer = self._offered

    @property
    def answered(self) -> bool:
        """The caller was told 200."""
        return self.sip.accepted

    async def anchored(self) -> MediaSession:
        """The media, which nobody is told of yet.

        Raises NoMediaNodeError, and UnusableDescriptionError for what the caller offers.
        """
        async with self._busy:
            return await self._anchored()

    async def early(self) -> MediaSession:
        """The media, which the caller hears before the call is answered (183).

        A caller who leaves the offer to us can hear nothing before, so that call is answered. As :meth:`anchored`.
        """
        async with self._busy:
            media = await self._anchored()
            if self.sip.offer is None:
                return await self._answered(media)
            if not self.answered and not self.told_early:
                self.told_early = True
                self.sip.ring(183, self._description)
            return media

    async def answer(self) -> MediaSession:
        """The media of the call, which is answered if it was not yet (200). As :meth:`anchored`."""
        async with self._busy:
            return await self._answered(await self._anchored())

    async def play(
        self, sound: Sound, *, repeat: int | None = 1, to: Party = Party.CALLER, at: MediaSession | None = None
    ) -> Playback | None:
        """Begin to play. ``repeat``: how often; None: until it is stopped. None is given if there is nothing to play.
        ``at``: other media than the call's, as of a line that consults.

        What has no audio, or cannot be had now, is left out; the log tells once in a call.
        """
        media = at or await self.anchored()
        law = media_pb2.LAW_MU if media.caller.law.name == "PCMU" else media_pb2.LAW_A
        rendered = Renderer(self.prompts, self.ports.parts, self.language, law).render(sound)
        for missing in rendered.missing:
            self._skip(missing)
        if not rendered.parts:
            return None
        why = ""
        # A file that the node refuses may be one that is not there any more: the sidecar sees to it once.
        for anew in (False, True):
            try:
                prepared = await self.ports.audio.prepare(media.node.id, rendered.parts, anew=anew)
                return await media.play(prepared.path, repeat=repeat, to=to)
            except AudioUnavailableError as error:
                why = str(error)
                break
            except MediaRefusedError as error:
                why = str(error)
        self._skip(why)
        return None

    async def say(self, sound: Sound, *, to: Party = Party.CALLER) -> None:
        """Play to its end."""
        playback = await self.play(sound, to=to)
        if playback is not None:
            await playback.done()

    async def close(self) -> None:
        """Free what the call holds beside SIP: a line that talks, and the media. Never fails."""
        talking, self.talking = self.talking, None
        if talking is not None:
            await talking.end()
        if self.media is not None:
            await self.media.close()

    # Within

    async def _anchored(self) -> MediaSession:
        if self.media is None:
            media, written = await self._anchor()
            media.on_lost = self._lost
            self.media, self._description = media, SessionDescription.parse(written)
        return self.media

    async def _anchor(self) -> tuple[MediaSession, str]:
        # Any flow may record at a later step: a dial, a message.
        failed: dict[str, str] = {}
        with contextlib.suppress(NoMediaNodeError):
            return await self._anchor_at(failed, records=True)
        with contextlib.suppress(NoMediaNodeError):
            return await self._anchor_at(failed)
        # When a machine stands still for half a second, no node there has answered its last pings, and all may be well.
        return await self._anchor_at(failed, doubtful=True)

    async def _anchor_at(
        self, failed: dict[str, str], *, records: bool = False, doubtful: bool = False
    ) -> tuple[MediaSession, str]:
        call_id = f"{self.worker}.{self.facts.call_id}"
        if self.sip.offer is None:
            return await anchor_late(self.nodes, call_id, records=records, doubtful=doubtful, failed=failed)
        offer = str(self.sip.offer)
        return await anchor(self.nodes, call_id, offer, records=records, doubtful=doubtful, failed=failed)

    async def _answered(self, media: MediaSession) -> MediaSession:
        if not self.answered:
            assert self._description is not None
            self.ports.routing.anchored(self.facts.call_id, media.node.number)
            await self.sip.answer(self._description)
            if self.sip.offer is None:
                await media.caller_answer(str(self.sip.remote))
        return media

    async def _offered(self, offer: SessionDescription) -> SessionDescription:
        """A re-INVITE or UPDATE of the caller: hold, another address, another codec.

        What the node refuses leaves the session as it was, too; lost media end the call anyway.
        """
        if self.media is None:
            raise NotAcceptableError(INCOMPATIBLE)
        try:
            return SessionDescription.parse(await self.media.caller_offer(str(offer)))
        except MediaError as error:
            raise NotAcceptableError(INCOMPATIBLE) from error

    def _lost(self, error: MediaLostError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    def _skip(self, why: str) -> None:
        if why not in self._unheard:
            self._unheard.add(why)
            logger.warning("sound_left_out", call_id=self.facts.call_id, tenant=self.facts.tenant, why=why)
