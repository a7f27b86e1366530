"""Telephones of tests: SIP of our own user agent, and sound that is recognised by its content.

::

    async with Phone.open(CALLER_HOST) as caller, Phone.open(LINE_HOST) as line:
        talk = await caller.call(number, proxy)
        await talk.answered()
        await talk.press("1")
        other = await line.rung()
        await talk.hear_each_other(other)
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.g711 import A_LAW, MU_LAW, RATE, Law
from signalbox.sip.ended import CallOverError
from signalbox.sip.headers import NameAddr
from signalbox.sip.incoming import IncomingCall
from signalbox.sip.outgoing import Invitation, OutgoingCall
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent
from signalbox_local.heard import Voice

from support.heard import noise
from support.ports import free_port
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.call import Call
    from signalbox.sip.ended import Ended
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address

WAIT_S = 30.0
CALLER = "02887654321"
KEY_PAUSE_S = 0.08
TONES_S = 0.3
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477, 1633)
PAYLOAD_TYPES = {MU_LAW: 0, A_LAW: 8}
_seeds = itertools.count(1_000)


class Talk:
    """A call at a telephone. ``says``: what it says once it is connected; ``progress``: statuses that came before."""

    def __init__(self, sip: Call, voice: Voice) -> None:
        self.sip = sip
        self.voice = voice
        self.says = noise(next(_seeds), 1.0, voice.law)
        self.progress: list[int] = []
        self.may_answer = asyncio.Event()
        """What :func:`rings` and :func:`talks_early` wait for."""
        sip.on_offer = self._moved

    # --- of who calls ------------------------------------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self.sip.call_id if isinstance(self.sip, OutgoingCall) else self.incoming.request.call_id

    async def answered(self) -> None:
        """Wait until the other side has answered, and talk. Raises CallOverError."""
        assert isinstance(self.sip, OutgoingCall)
        async with asyncio.timeout(WAIT_S):
            await self.sip.answered()
        self.talk()

    async def connected(self) -> None:
        """Wait until the other side has answered, and say nothing. Raises CallOverError."""
        assert isinstance(self.sip, OutgoingCall)
        async with asyncio.timeout(2 * WAIT_S):
            await self.sip.answered()
        self.voice.target = _sent_to(str(self.sip.remote))

    async def refused(self) -> int:
        """Wait until the call is over without an answer: the status."""
        with pytest.raises(CallOverError) as caught:
            await self.answered()
        return caught.value.ended.status

    def on_progress(self, response: Response) -> None:
        """A provisional response came."""
        self.progress.append(response.status)
        if response.body:
            self._talk_to(response.body.decode())

    # --- of who is called --------------------------------------------------------------------------------------

    @property
    def incoming(self) -> IncomingCall:
        """The call that came in."""
        assert isinstance(self.sip, IncomingCall)
        return self.sip

    async def answer(self) -> None:
        """Answer, and talk."""
        self._talk_to(str(self.incoming.offer))
        await self.incoming.answer(self._description())

    def talk_early(self) -> None:
        """Talk, with 183, before the answer."""
        self.incoming.ring(183, self._description())
        self._talk_to(str(self.incoming.offer))

    # --- of both -----------------------------------------------------------------------------------------------

    def talk(self) -> None:
        """Say what it says."""
        remote = self.sip.remote  # type: ignore[attr-defined]
        self._talk_to(str(remote))

    async def press(self, keys: str) -> None:
        """Keys (RFC 4733), 100 ms each."""
        for key in keys:
            await self.voice.press(key)
            await asyncio.sleep(KEY_PAUSE_S)

    async def press_as_tones(self, keys: str) -> None:
        """Keys as both of their tones (ITU-T Q.23), 0.3 s each, and silence after them."""
        for key in keys:
            row, column = divmod("123A456B789C*0#D".index(key), 4)
            times = np.arange(TONES_S * RATE) / RATE
            both = sum(6_000 * np.sin(2 * np.pi * one * times) for one in (ROWS_HZ[row], COLUMNS_HZ[column]))
            silence = np.zeros(round(KEY_PAUSE_S * RATE))
            sound = np.concatenate((np.asarray(both), silence)).astype(np.int16)
            await self.voice.say(self.voice.law.encode(sound))

    async def hears(self, *sounds: bytes, within_s: float = WAIT_S) -> None:
        """Wait until that is what is heard."""
        await until(lambda: self.voice.hears_sound(*sounds), within_s)

    async def has_heard(self, sound: bytes, times: int = 1) -> None:
        """Wait until all of a sound was heard, this often. What is lost on the way is heard all the same."""
        await until(lambda: self.voice.times_heard(sound) >= times and self.voice.share(sound) > 0.95, WAIT_S)

    async def hear_each_other(self, other: Talk) -> None:
        """Wait until both hear what the other says."""
        try:
            await until(lambda: self.voice.hears_sound(other.says) and other.voice.hears_sound(self.says), WAIT_S)
        except TimeoutError:
            raise AssertionError(f"one: {self._heard_of(other)}; other: {other._heard_of(self)}") from None

    def _heard_of(self, other: Talk) -> str:
        """For people: why it may not hear the other."""
        last = self.voice.packets[-50:]
        theirs = sum(one.payload in other.says * 2 for one in last)
        kinds = {(one.payload_type, one.ssrc, one.source) for one in last}
        ended = self.sip.ended
        return f"{theirs} of the last {len(last)} packets, {self.voice.silent_for():.1f} s ago, {kinds=}, {ended=}"

    async def over(self) -> Ended:
        """Wait until the call is over."""
        async with asyncio.timeout(WAIT_S):
            return await self.sip.over()

    def hang_up(self) -> None:
        """End the call, answered or not."""
        assert isinstance(self.sip, OutgoingCall | IncomingCall)
        self.sip.hang_up()

    async def hold(self, direction: str = "sendonly") -> str:
        """Change the session; the direction that is answered."""
        described = SessionDescription.parse(self.voice.description(direction=direction))
        answer = await self.sip.change(described)
        return str(answer.direction(answer.media[0]))

    def _description(self) -> SessionDescription:
        return SessionDescription.parse(self.voice.description())

    def _talk_to(self, description: str) -> None:
        self.voice.talk_to(_sent_to(description), self.says)

    async def _moved(self, offer: SessionDescription) -> SessionDescription:
        self._talk_to(str(offer))
        return self._description()


Behaviour = Callable[[Talk], Coroutine[object, object, None]]


async def answers(talk: Talk) -> None:
    """Rings, and answers at once."""
    talk.incoming.ring()
    await talk.answer()


async def rings(talk: Talk) -> None:
    """Rings, and answers when it may."""
    talk.incoming.ring()
    await talk.may_answer.wait()
    await talk.answer()


async def talks_early(talk: Talk) -> None:
    """Is heard before it answers, which it does when it may."""
    talk.talk_early()
    await talk.may_answer.wait()
    await talk.answer()


def refuses(status: int) -> Behaviour:
    """Is busy, or something else."""

    async def refuse(talk: Talk) -> None:
        talk.incoming.reject(status)

    return refuse


class Phone:
    """A telephone, with as many calls at once as come. ``behave``: what it does with those that come in."""

    def __init__(self, transports: Transports, address: Address) -> None:
        self.address = address
        self.behave: Behaviour = answers
        self.talks: list[Talk] = []
        """Calls that came in."""
        self.law: Law = A_LAW
        self.ua = UserAgent(Transactions(transports), self._take)
        self._closing = contextlib.AsyncExitStack()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, host: str, behave: Behaviour = answers, transports: Transports | None = None
    ) -> AsyncIterator[Phone]:
        """On a free port of UDP and TCP. In the end its calls are hung up, and nothing of them may be left."""
        transports, port = transports or Transports(), free_port(host)
        phone = cls(transports, (host, port))
        phone.behave = behave
        await transports.listen_udp(host, port)
        await transports.listen_tcp(host, port)
        try:
            yield phone
            for call in list(phone.ua.calls):
                assert isinstance(call, OutgoingCall | IncomingCall)
                call.hang_up()
            await until(lambda: not (phone.ua.calls or phone.ua.sessions or phone.ua.running), WAIT_S)
        finally:
            await phone._closing.aclose()
            phone.ua.transactions.close()
            await transports.close()

    async def call(
        self,
        number: str,
        proxy: Address,
        *,
        protocol: str = "udp",
        caller: str = CALLER,
        law: Law = A_LAW,
        events: bool = True,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Talk:
        """Call somebody by way of a proxy; returns at once. Without ``events`` its keys are tones alone."""
        voice = await self._voice(law)
        invitation = Invitation(
            f"sip:{number}@{proxy[0]}:{proxy[1]}",
            NameAddr.parse(f"<sip:{caller}@{self.address[0]}>"),
            NameAddr.parse(f"<sip:{number}@{proxy[0]}>"),
            protocol,
            proxy,
            headers,
        )
        sip = self.ua.call(invitation, SessionDescription.parse(voice.description(events=events)))
        talk = Talk(sip, voice)
        sip.on_progress = talk.on_progress
        return talk

    async def rung(self, count: int = 1) -> Talk:
        """Wait until so many calls have come in: the last of them."""
        await until(lambda: len(self.talks) >= count, WAIT_S)
        return self.talks[count - 1]

    async def _voice(self, law: Law) -> Voice:
        return await self._closing.enter_async_context(Voice.open(law, PAYLOAD_TYPES[law]))

    async def _take(self, call: IncomingCall) -> None:
        talk = Talk(call, await self._voice(self.law))
        self.talks.append(talk)
        behaving = asyncio.ensure_future(self.behave(talk))
        await call.over()
        behaving.cancel()
        with contextlib.suppress(CallOverError, asyncio.CancelledError):
            await behaving


def _sent_to(description: str) -> Address:
    """Where RTP goes, of a session description."""
    lines = description.splitlines()
    host = next(one.split()[-1] for one in lines if one.startswith("c="))
    return host, int(next(one.split()[1] for one in lines if one.startswith("m=audio")))
