"""Lines that are called by way of a proxy: see docs/design/ivr-worker.md."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

import structlog

from signalbox.ivr.media.errors import MediaError
from signalbox.sip import content
from signalbox.sip.dialog import MAX_FORWARDS
from signalbox.sip.ended import CallOverError, End
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import NameAddr
from signalbox.sip.negotiation import NotAcceptableError
from signalbox.sip.outgoing import Invitation
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.uri import Uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.ports import Proxy
    from signalbox.sip.ended import Ended
    from signalbox.sip.message import Request, Response
    from signalbox.sip.outgoing import OutgoingCall
    from signalbox.sip.source import Address

logger = structlog.get_logger(__name__)

PROXY_S = 2.0
"""A proxy says 100 at once: one that has said nothing after so long, three INVITEs later, is passed over."""
AGAIN_S = 1.0
"""Proxies that could not ask are tried once more after so long: what they say in Retry-After."""
LEG = "X-Signalbox-Leg"
CALL = "X-Signalbox-Call"
CALLER_FIELDS = ("P-Asserted-Identity", "Remote-Party-ID", "Privacy")
"""What the caller's INVITE says of the caller, and the lines' INVITEs say again (RFC 3325, RFC 3323)."""

ANSWERED_ELSEWHERE = (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)
"""For lines that rang together with the one that answered (RFC 3326)."""

_AWAY = 503
"""From a proxy that could not ask, or takes no calls: what lines say is never passed on as that."""
_BUSY = (486, 600)
_IN_VAIN = (408, 480)
_GIVEN_UP = 487


class Way(IntEnum):
    """How a line does not take a call; of several the greatest counts."""

    FAILED = 0
    NO_ANSWER = 1
    BUSY = 2


class _Help(Enum):
    """What came of a proxy: the line was asked, or not by this one, or not by it now."""

    ASKED = "asked"
    NONE = "none"
    LATER = "later"


class Leg:
    """A line that is being called, or has the call. ``changed`` is called after each change of what is told here.

    ``rings``: somebody is called there; ``early``: what it sends before it answers; ``answered``: it has the call, or
    had it; ``failed``: it has not, and that is how.
    """

    def __init__(
        self, call: VoiceCall, branch: routing_pb2.Branch, offer: SessionDescription, changed: Callable[[], object]
    ) -> None:
        self.line = branch.line
        self.rings = False
        self.early: SessionDescription | None = None
        self.answered = False
        self.failed: Way | None = None
        self._call = call
        self._branch = branch
        self._offer = offer
        self._changed = changed
        self._sip: OutgoingCall | None = None
        self._task = call.ua.start(self._run(), f"leg {branch.line} of {call.facts.call_id}")

    @property
    def sip(self) -> OutgoingCall:
        """Its call, once it has answered."""
        assert self._sip is not None
        return self._sip

    @property
    def description(self) -> str:
        """What it said of itself when it answered, or last."""
        return str(self.sip.remote)

    @property
    def over(self) -> bool:
        """It has not taken the call, or has it no more."""
        return self.failed is not None or (self._sip is not None and self.answered and self._sip.ended is not None)

    async def left(self) -> Ended:
        """Wait until it has the call no more."""
        return await self.sip.over()

    def hang_up(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """It is not wanted, or not any more: CANCEL or BYE. Nothing if it is over."""
        self._task.cancel()
        if self._sip is not None:
            self._sip.hang_up(headers)
        if not self.answered and self.failed is None:
            self.failed = Way.FAILED

    def refuse(self, why: str) -> None:
        """It has answered what nothing can be done with."""
        logger.warning("leg_refused", call_id=self._call.facts.call_id, line=self.line, why=why)
        self.hang_up((("Reason", 'SIP;cause=488;text="Not Acceptable Here"'),))
        self.failed = Way.FAILED

    async def change(self, description: str) -> str:
        """Describe our side anew: its answer. Raises OfferRefusedError, OutOfTurnError, CallOverError."""
        return str(await self.sip.change(parse(description)))

    def on_offer(self, answer: Callable[[str], Awaitable[str]]) -> None:
        """Who answers when the line changes its side: holds, moves. ``answer`` may raise MediaError: 488."""

        async def answered(offer: SessionDescription) -> SessionDescription:
            try:
                return parse(await answer(str(offer)))
            except MediaError as error:
                logger.info("leg_offer_refused", call_id=self._call.facts.call_id, line=self.line, error=str(error))
                raise NotAcceptableError(305) from error

        self.sip.on_offer = answered

    async def _run(self) -> None:
        """Call it, by way of one proxy after the other."""
        try:
            later = await self._asked(self._call.ports.proxies.ways(came_from(self._call.sip.request)))
            if later:
                await asyncio.sleep(AGAIN_S)
                later = await self._asked(later)
            if later is not None:
                self._ended(Way.FAILED)
        except Exception:
            logger.exception("leg_failed", call_id=self._call.facts.call_id, line=self.line)
            self.hang_up()
            self._changed()

    async def _asked(self, ways: Sequence[Proxy]) -> list[Proxy] | None:
        """None: one of them has asked the line; else those that may do so later."""
        later = []
        for proxy in ways:
            help = await self._by_way_of(proxy)
            if help is _Help.ASKED:
                return None
            if help is _Help.LATER:
                later.append(proxy)
        return later

    async def _by_way_of(self, proxy: Proxy) -> _Help:
        self._sip = sip = self._call.ua.call(self._invitation(proxy), self._offer)
        sip.on_progress = self._on_progress
        try:
            try:
                async with asyncio.timeout(PROXY_S):
                    await sip.answered()
            except TimeoutError:
                if not sip.arrived:
                    self._passed_over(proxy, "no answer")
                    # If it has it after all, it is told to let go: no line rings twice.
                    sip.hang_up()
                    return _Help.NONE
                await sip.answered()
        except CallOverError as error:
            return self._refused(proxy, error.ended)
        self.answered = True
        self._changed()
        return _Help.ASKED

    def _refused(self, proxy: Proxy, ended: Ended) -> _Help:
        away = ended.why is End.REFUSED and ended.status == _AWAY
        if (away or ended.why is End.UNSENT) and not self.rings:
            self._passed_over(proxy, f"{ended.why.value}, {ended.status}")
            return _Help.LATER if away else _Help.NONE
        self._ended(_way(ended, self.rings))
        return _Help.ASKED

    def _passed_over(self, proxy: Proxy, why: str) -> None:
        logger.warning("proxy_passed_over", call_id=self._call.facts.call_id, proxy=proxy.id, why=why)
        self._call.ports.proxies.failed(proxy)

    def _ended(self, way: Way) -> None:
        self.failed = way
        self._changed()

    def _on_progress(self, response: Response) -> None:
        self.rings = self.rings or 180 <= response.status < 190
        try:
            described = content.description(response)
        except MessageError:
            # Early media that cannot be understood are not heard; the answer counts.
            described = None
        self.early = described or self.early
        self._changed()

    def _invitation(self, proxy: Proxy) -> Invitation:
        caller = self._call.sip.request
        from_ = caller.from_
        fields = [(LEG, self._branch.leg), (CALL, self._call.facts.call_id)]
        fields += [(name, value) for name in CALLER_FIELDS for value in caller.headers.all(name)]
        return Invitation(
            uri=self._branch.uri,
            from_=replace(from_, params={name: value for name, value in from_.params.items() if name != "tag"}),
            to=NameAddr("", Uri.parse(self._branch.uri)),
            protocol=caller.via.transport.lower(),
            remote=proxy.remote,
            headers=tuple(fields),
            max_forwards=max(0, (MAX_FORWARDS if caller.max_forwards is None else caller.max_forwards) - 1),
        )


def came_from(request: Request) -> Address:
    """The proxy by which a request came, as it writes itself into Via: where it listens, whatever it sent from."""
    return request.via.address


def parse(description: str) -> SessionDescription:
    """A description that a media node has written."""
    return SessionDescription.parse(description)


def _way(ended: Ended, rings: bool) -> Way:
    """As proxies tell them apart (kamailio/README.md)."""
    if ended.status in _BUSY:
        return Way.BUSY
    if ended.status == _GIVEN_UP or (ended.status in _IN_VAIN and rings):
        return Way.NO_ANSWER
    return Way.FAILED
