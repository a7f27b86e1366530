"""Calls between the user agent and sippy, a stack that others wrote: answered, changed, given up, ended both ways."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox.sip.digest import DigestClient
from signalbox.sip.ended import CallOverError, End, Ended
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation, OutgoingCall
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent
from support.ports import free_port
from support.sip_calls import ANSWER, OFFER, described
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.sdp import SessionDescription

HOST = "127.0.0.1"
PATIENCE_S = 30.0
SCRIPT = Path(__file__).parents[2] / "support" / "sippy_agent.py"


class Pair:
    """Our user agent, and sippy in its process. ``taken``: the calls that came to us."""

    def __init__(self, process: asyncio.subprocess.Process, sippy: int) -> None:
        self.transports = Transports()
        self.ua = UserAgent(Transactions(self.transports), self._take)
        self.taken: list[IncomingCall] = []
        self.ours = 0
        self._process = process
        self._sippy = sippy

    async def _take(self, call: IncomingCall) -> None:
        self.taken.append(call)
        call.ring()
        await call.over()

    def tell(self, command: str) -> None:
        """Have sippy do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def heard(self, event: str) -> None:
        """Wait until sippy tells of an event."""
        assert self._process.stdout is not None
        told: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                while event not in told:
                    line = await self._process.stdout.readline()
                    assert line, f"sippy has ended; it told {told}"
                    told.append(line.decode().strip())
        except TimeoutError:
            raise AssertionError(f"no {event}; sippy told {told}") from None

    def call(self, digest: DigestClient | None = None) -> OutgoingCall:
        """Call sippy."""
        caller, callee = NameAddr.parse(f"<sip:signalbox@{HOST}>"), NameAddr.parse(f"<sip:sippy@{HOST}:{self._sippy}>")
        return self.ua.call(
            Invitation(str(callee.uri), caller, callee, "udp", (HOST, self._sippy), digest=digest), OFFER
        )

    async def called(self) -> IncomingCall:
        """The call that sippy makes."""
        self.tell(f"call {self.ours}")
        await until(lambda: bool(self.taken), PATIENCE_S)
        await self.heard("ring")
        return self.taken[-1]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """In the end nothing of our calls may be left."""
    port = free_port()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), str(port), stdin=pipe, stdout=pipe)
    made = Pair(process, port)
    try:
        made.ours = (await made.transports.listen_udp(HOST, 0))[1]
        await made.heard("ready")
        yield made
        await until(lambda: not made.ua.calls and not made.ua.sessions and not made.ua.running, PATIENCE_S)
    finally:
        await made.ua.close(0)
        await made.transports.close()
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stands(pair: Pair) -> OutgoingCall:
    """A call of ours that sippy has answered."""
    call = pair.call()
    await pair.heard("try")
    pair.tell("ring")
    pair.tell("answer")
    await asyncio.wait_for(call.answered(), PATIENCE_S)
    return call


async def stood(pair: Pair) -> IncomingCall:
    """A call of sippy's that we have answered."""
    call = await pair.called()
    await asyncio.wait_for(call.answer(ANSWER), PATIENCE_S)
    await pair.heard("connect")
    return call


async def over(call: OutgoingCall | IncomingCall) -> Ended:
    return await asyncio.wait_for(call.over(), PATIENCE_S)


@pytest.mark.parametrize("by_us", [True, False])
async def test_a_call_of_ours_is_ended_by_either(pair: Pair, by_us: bool) -> None:
    call = await stands(pair)
    assert call.remote is not None
    assert call.remote.media[0].port == 6000
    if by_us:
        call.hang_up()
        await pair.heard("disconnect")
    else:
        pair.tell("hang up")
    assert await over(call) == Ended(End.HUNG_UP, by_us)


@pytest.mark.parametrize("by_us", [True, False])
async def test_a_call_of_sippy_is_ended_by_either(pair: Pair, by_us: bool) -> None:
    call = await stood(pair)
    if by_us:
        call.hang_up()
        await pair.heard("disconnect")
    else:
        pair.tell("hang up")
    assert await over(call) == Ended(End.HUNG_UP, by_us)


async def test_a_call_of_ours_is_given_up(pair: Pair) -> None:
    call = pair.call()
    await pair.heard("try")
    pair.tell("ring")
    await until(lambda: bool(pair.ua.sessions), PATIENCE_S)
    call.hang_up()
    await pair.heard("disconnect")
    assert call.ended == Ended(End.CANCELLED, True)
    # Until sippy has refused it, a dialog of the call lives.
    await until(lambda: not pair.ua.sessions, PATIENCE_S)


async def test_a_call_of_sippy_is_given_up(pair: Pair) -> None:
    call = await pair.called()
    pair.tell("hang up")
    assert await over(call) == Ended(End.CANCELLED, False, 487)


async def test_each_refuses_the_other(pair: Pair) -> None:
    call = pair.call()
    await pair.heard("try")
    pair.tell("refuse")
    assert await over(call) == Ended(End.REFUSED, False, 486)
    came = await pair.called()
    came.reject(603)
    await pair.heard("fail 603")


async def test_we_change_a_call(pair: Pair) -> None:
    call = await stands(pair)
    answer = await asyncio.wait_for(call.change(described(4000, 1, "sendonly")), PATIENCE_S)
    assert answer.direction(answer.media[0]) == "recvonly"
    call.hang_up()


async def test_sippy_changes_a_call(pair: Pair) -> None:
    offers: list[SessionDescription] = []

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        offers.append(offer)
        return described(5000, 2, "recvonly")

    call = await stood(pair)
    call.on_offer = on_offer
    pair.tell("hold")
    await pair.heard("connect")
    assert [offer.direction(offer.media[0]) for offer in offers] == ["sendonly"]
    call.hang_up()


async def test_sippy_asks_for_credentials(pair: Pair) -> None:
    pair.tell("challenge trunk secret")
    await pair.heard("challenge")
    stranger = pair.call()
    assert await over(stranger) == Ended(End.REFUSED, False, 401)
    liar = pair.call(DigestClient("trunk", "guess"))
    with pytest.raises(CallOverError):
        await asyncio.wait_for(liar.answered(), PATIENCE_S)
    known = pair.call(DigestClient("trunk", "secret"))
    await pair.heard("try")
    pair.tell("answer")
    await asyncio.wait_for(known.answered(), PATIENCE_S)
    known.hang_up()
    await pair.heard("disconnect")
