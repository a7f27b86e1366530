"""The two telephones of a test call: one that calls, and the line that is rung."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.commands.testsound import FRAME_S, Sound
from signalbox.errors import ConfigurationError
from signalbox.sip.ended import CallOverError, End
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalbox.sip.ended import Ended
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.outgoing import OutgoingCall
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.source import Address
    from signalbox.sip.useragent import Handler

ANSWER_S = 10.0
SOUND_S = 10.0
"""Time for the sound that is wanted to come."""
END_S = 5.0

_POLL_S = 0.01
_NOT_YET = (403, 404, 408)
"""What a call is told before its proxy knows the trunk, or its routing replica the number."""


class CallFailedError(Exception):
    """The call did not go as it should. ``early``: perhaps because the rules have not come to the proxy yet.
    ``silent``: nothing came back at all."""

    def __init__(self, what: str, *, early: bool = False, silent: bool = False) -> None:
        super().__init__(what)
        self.early = early
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Went:
    """How a call went: times from its INVITE, seconds."""

    answered_s: float
    heard_s: float
    """Until all sound that was wanted was heard on both sides."""
    media: Address
    """Where the media node took the caller's sound."""


def own_address(proxy: Address) -> str:
    """The address of this machine by which a proxy is reached. Raises ConfigurationError if there is no way."""
    family = socket.AF_INET6 if ":" in proxy[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(proxy)
        except OSError as error:
            raise ConfigurationError(f"{address.join(*proxy)}: {error}") from error
        return str(probe.getsockname()[0])


class Telephones:
    """Caller and line at one IP address."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self.line: Address = ("", 0)
        self._caller: UserAgent
        self._sound: Sound | None = None
        self._rung: IncomingCall | None = None
        self._expected = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator[Telephones]:
        """On the six ports from an even ``port`` on: two for SIP, two pairs for sound. 0: any that are free.

        Raises ConfigurationError if one is taken.
        """
        self = cls(host, port)
        async with contextlib.AsyncExitStack() as closing:
            self._caller, _ = await closing.enter_async_context(_agent(host, port, self._refuse))
            _, self.line = await closing.enter_async_context(_agent(host, port and port + 1, self._take))
            yield self

    async def place(self, number: str, calling: str, proxy: Address, talk_s: float) -> Went:
        """Call a number, whose line is ours, by way of a proxy; talk for so long, and hang up.

        Raises CallFailedError, and ConfigurationError if a port is taken.
        """
        port = self._port
        async with (
            Sound.open(self.host, port and port + 2) as ours,
            Sound.open(self.host, port and port + 4) as theirs,
        ):
            call = self._caller.call(self._invitation(number, calling, proxy), ours.description())
            self._expect(call.call_id, theirs)
            try:
                return await self._talk(call, ours, theirs, talk_s)
            finally:
                self._sound = None
                call.hang_up()
                if self._rung is not None:
                    self._rung.hang_up()

    def _expect(self, call_id: str, sound: Sound) -> None:
        """This call, and no other, will ring the line."""
        self._expected, self._sound, self._rung = call_id, sound, None

    def _invitation(self, number: str, calling: str, proxy: Address) -> Invitation:
        at = address.bracketed(proxy[0])
        return Invitation(
            f"sip:{number}@{at}:{proxy[1]}",
            NameAddr.parse(f"<sip:{calling}@{address.bracketed(self.host)}>"),
            NameAddr.parse(f"<sip:{number}@{at}>"),
            "udp",
            proxy,
        )

    async def _talk(self, call: OutgoingCall, ours: Sound, theirs: Sound, talk_s: float) -> Went:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(ANSWER_S):
                await call.answered()
        except TimeoutError:
            silent = "no answer" if call.arrived else "no reply at all: is this machine's address known as a trunk's?"
            unheard = not call.arrived
            raise CallFailedError(f"{silent} within {ANSWER_S:.0f} s", early=unheard, silent=unheard) from None
        except CallOverError as error:
            raise CallFailedError(_refused(error.ended), early=error.ended.status in _NOT_YET) from error
        answered_s = loop.time() - begun
        media = _place(call.remote)
        if media is None:
            raise CallFailedError("the answer names no place for sound: no media node could be had")
        if self._rung is None:
            raise CallFailedError("it was answered, but not by our line: another rule has this number")
        if media == theirs.local:
            raise CallFailedError("the sound does not go through a media node")
        ours.talk_to(media)
        wanted = max(1, round(talk_s / FRAME_S))
        await _until(call, SOUND_S + talk_s, lambda: _unheard(ours, theirs, wanted))
        heard_s = loop.time() - begun
        call.hang_up()
        await self._ended()
        return Went(answered_s, heard_s, media)

    async def _ended(self) -> None:
        """The line must hear of the end, and the proxy must have answered the caller's BYE."""
        assert self._rung is not None
        try:
            async with asyncio.timeout(END_S):
                await self._rung.over()
                await _forgotten(self._caller)
        except TimeoutError:
            whose = "the line did not hear of" if self._rung.ended is None else "the proxy did not answer"
            raise CallFailedError(f"{whose} the caller's BYE within {END_S:.0f} s") from None

    async def _take(self, call: IncomingCall) -> None:
        """The line is rung: by this call, or by one that was given up and comes late."""
        sound = self._sound
        if sound is None or self._rung is not None or call.request.call_id != self._expected:
            call.reject(486)
            return
        target = _place(call.offer)
        if target is None:
            call.reject(488)
            return
        self._rung = call
        call.ring()
        await call.answer(sound.description())
        if call.ended is None:
            sound.talk_to(target)
        await call.over()

    async def _refuse(self, call: IncomingCall) -> None:
        """Nobody calls the caller."""
        call.reject(404)


@contextlib.asynccontextmanager
async def _agent(host: str, port: int, on_invite: Handler) -> AsyncIterator[tuple[UserAgent, Address]]:
    transports = Transports()
    agent = UserAgent(Transactions(transports), on_invite)
    try:
        local = await transports.listen_udp(host, port)
        yield agent, local
    finally:
        await agent.close()
        await transports.close()


async def _forgotten(agent: UserAgent) -> None:
    """Wait until an agent has no dialogs."""
    while True:
        if not agent.sessions:
            return
        await asyncio.sleep(_POLL_S)


async def _until(call: OutgoingCall, seconds: float, unheard: Callable[[], str]) -> None:
    """Wait until everything was heard. Raises CallFailedError with what was not."""
    deadline = asyncio.get_running_loop().time() + seconds
    while missing := unheard():
        if call.ended is not None:
            raise CallFailedError(f"{missing}, and the call ended ({_told(call.ended)})")
        if asyncio.get_running_loop().time() > deadline:
            raise CallFailedError(f"{missing} within {seconds:.0f} s")
        await asyncio.sleep(_POLL_S)


def _unheard(ours: Sound, theirs: Sound, wanted: int) -> str:
    """Which direction has not brought so many packets yet; "" if both have."""
    for listener, speaker, who in ((theirs, ours, "the line"), (ours, theirs, "the caller")):
        heard = listener.heard_of(speaker)
        if heard < wanted:
            return f"{who} heard {heard} of {wanted} packets of the other party"
    return ""


def _place(description: SessionDescription | None) -> Address | None:
    return description.address(description.media[0]) if description and description.media else None


def _refused(ended: Ended) -> str:
    return f"refused with {ended.status}" if ended.why is End.REFUSED else _told(ended)


def _told(ended: Ended) -> str:
    return f"{ended.why.value} {ended.status or ''} {ended.reason}".strip()
