"""Telephones: SIP of our own user agent, and sound that is recognised by its content, code by code.

::

    async with Telephone.open("127.0.0.2") as caller, Telephone.open("127.0.0.3") as desk:
        talk = await caller.call("4001234567", proxy)
        await talk.hears("the menu", menu)
        await talk.press("1")
        other = await desk.rung()
        await talk.connected(other)
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

from signalbox.g711 import RATE
from signalbox.sip.ended import CallOverError
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation, OutgoingCall
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent

from signalbox_local.g711 import SILENCE
from signalbox_local.heard import Voice
from signalbox_local.sipp import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalbox.sip.ended import Ended
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.source import Address

WAIT_S = 30.0
POLL_S = 0.02
RING_S = 1.0
"""How long it rings until somebody answers."""
_FAINT = (SILENCE, SILENCE ^ 0x80)
"""The two smallest codes."""


class TelephoneError(Exception):
    """A call did not go as it should: what was waited for, and did not happen."""


class Talk:
    """A call at a telephone.

    While nothing is said it sends a hiss, too faint for people and like no other, so that who is connected can be told.
    """

    def __init__(self, sip: IncomingCall | OutgoingCall, voice: Voice) -> None:
        self.voice = voice
        self.hiss = bytes(_FAINT[byte & 1] for byte in secrets.token_bytes(RATE))
        self._sip = sip
        sip.on_offer = self._on_offer

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self._sip.call_id if isinstance(self._sip, OutgoingCall) else self._sip.request.call_id

    async def say(self, sound: bytes) -> None:
        """Say codes of A-law once, whole packets of them. The call must be answered."""
        await self.voice.say(sound)
        self._hiss()

    async def press(self, key: str) -> None:
        """Press a key (RFC 4733)."""
        await self.voice.press(key)

    async def hears(self, what: str, sound: bytes) -> None:
        """Wait until all of a sound was heard. Raises TelephoneError, which names it."""
        await self.until(lambda: self.voice.share(sound) == 1.0, f"{what} was not heard")

    async def connected(self, other: Talk) -> None:
        """Wait until both hear each other. Raises TelephoneError."""
        await self.until(lambda: self.voice.hears_sound(other.hiss), "the other party was not heard")
        await other.until(lambda: other.voice.hears_sound(self.hiss), "the other party was not heard")

    async def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait for something, as long as the call lives. Raises TelephoneError with what did not happen."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while True:
            # What is heard at the very end counts.
            ended = self._sip.ended
            if condition():
                return
            if ended is not None:
                raise TelephoneError(f"{otherwise}: the call is over ({_told(ended)})")
            if loop.time() > deadline:
                raise TelephoneError(f"{otherwise} within {WAIT_S:.0f} s")
            await asyncio.sleep(POLL_S)

    def hang_up(self) -> None:
        """End the call."""
        self._sip.hang_up()

    async def over(self) -> Ended:
        """Wait until the call is over. Raises TelephoneError."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._sip.over()
        except TimeoutError as error:
            raise TelephoneError(f"the call was not over within {WAIT_S:.0f} s") from error

    def description(self) -> SessionDescription:
        """What it offers, or answers."""
        return SessionDescription.parse(self.voice.description())

    def talk_to(self, description: SessionDescription | None) -> None:
        """Send to where a description says. Raises TelephoneError if there is none, or no place in it."""
        self.voice.target = description.address(description.media[0]) if description and description.media else None
        if self.voice.target is None:
            raise TelephoneError("the other party did not say where it listens")
        self._hiss()

    async def _on_offer(self, offer: SessionDescription) -> SessionDescription:
        self.talk_to(offer)
        return self.description()

    def _hiss(self) -> None:
        assert self.voice.target is not None
        self.voice.talk_to(self.voice.target, self.hiss)


class Telephone:
    """A telephone that calls, and that answers whoever calls after :data:`RING_S`."""

    def __init__(self, transports: Transports, address: Address, media_host: str) -> None:
        self.address = address
        self.media_host = media_host
        self.talks: list[Talk] = []
        """Calls that came in and were answered."""
        self._closing = contextlib.AsyncExitStack()
        self.ua = UserAgent(Transactions(transports), self._take)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, host: str, media_host: str = "127.0.0.1") -> AsyncIterator[Telephone]:
        """On a free UDP port, with sound at ``media_host``. In the end its calls are hung up."""
        transports, port = Transports(), free_port(host)
        await transports.listen_udp(host, port)
        telephone = cls(transports, (host, port), media_host)
        try:
            yield telephone
        finally:
            await telephone.ua.close()
            await telephone._closing.aclose()
            await transports.close()

    async def call(self, number: str, proxy: Address, caller: str) -> Talk:
        """Call a number by way of a proxy; returns when it has been answered. Raises TelephoneError."""
        voice = await self._closing.enter_async_context(Voice.open(host=self.media_host))
        invitation = Invitation(
            f"sip:{number}@{proxy[0]}:{proxy[1]}",
            NameAddr.parse(f"<sip:{caller}@{self.address[0]}>"),
            NameAddr.parse(f"<sip:{number}@{proxy[0]}>"),
            "udp",
            proxy,
        )
        sip = self.ua.call(invitation, SessionDescription.parse(voice.description()))
        talk = Talk(sip, voice)
        try:
            async with asyncio.timeout(WAIT_S):
                await sip.answered()
        except TimeoutError as error:
            raise TelephoneError(f"{number} did not answer within {WAIT_S:.0f} s") from error
        except CallOverError as error:
            raise TelephoneError(f"{number} did not answer ({_told(error.ended)})") from error
        talk.talk_to(sip.remote)
        return talk

    async def rung(self) -> Talk:
        """Wait for a call that was answered here: the first. Raises TelephoneError."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while not self.talks:
            if asyncio.get_running_loop().time() > deadline:
                raise TelephoneError(f"the line was not called within {WAIT_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return self.talks[0]

    async def _take(self, call: IncomingCall) -> None:
        voice = await self._closing.enter_async_context(Voice.open(host=self.media_host))
        talk = Talk(call, voice)
        with contextlib.suppress(CallOverError):
            call.ring()
            await asyncio.sleep(RING_S)
            talk.talk_to(call.offer)
            await call.answer(talk.description())
            self.talks.append(talk)
        await call.over()


def _told(ended: Ended) -> str:
    return f"{ended.why.value} {ended.status or ''} {ended.reason}".strip()
