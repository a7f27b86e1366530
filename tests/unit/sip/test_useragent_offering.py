"""What we change in a call that stands: a re-INVITE of ours, with glare, refusals, credentials, a call that ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.digest import DigestClient
from signalbox.sip.ended import CallOverError, End, Ended
from signalbox.sip.errors import SipError
from signalbox.sip.headers import NameAddr
from signalbox.sip.message import Request
from signalbox.sip.offeranswer import OutOfTurnError
from signalbox.sip.offering import OfferRefusedError
from signalbox.sip.outgoing import Invitation, OutgoingCall
from support.sip_calls import ANSWER, OFFER, Calls, described, settle
from support.sip_world import THERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.sdp import SessionDescription

HOLD = described(4000, 2, "sendonly")
HELD = described(5000, 2, "recvonly")
CHALLENGE = ("WWW-Authenticate", 'Digest realm="trunk", nonce="n1", qop="auth"')


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()


async def outgoing(world: Calls, digest: DigestClient | None = None) -> OutgoingCall:
    """A call of ours that was answered."""
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    call = world.ua.call(Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE, digest=digest), OFFER)
    await world.replied(200, body=ANSWER.encode())
    await call.answered()
    return call


async def incoming(world: Calls) -> IncomingCall:
    """A call that came and was answered."""

    async def handler(call: IncomingCall) -> None:
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.asked("ACK")
    return world.call


async def offering(call: OutgoingCall | IncomingCall) -> asyncio.Task[SessionDescription]:
    """An offer of hold that was sent."""
    task = asyncio.create_task(call.change(described(4000, 1, "sendonly")))
    await settle()
    return task


async def reply(world: Calls, status: int, **more: object) -> None:
    """The other party responds to the re-INVITE, whose To has a tag."""
    await world.replied(status, tag="", **more)  # type: ignore[arg-type]


async def test_we_hold_the_other_party(world: Calls) -> None:
    call = await outgoing(world)
    task = await offering(call)
    asked = world.last("INVITE")
    assert isinstance(asked, Request)
    assert (asked.uri, asked.cseq.number, asked.to.tag) == ("sip:callee@192.0.2.3:5080", 2, "there")
    assert content.description(asked) == HOLD
    await reply(world, 100)
    await reply(world, 200, body=HELD.encode(), contact="<sip:callee@192.0.2.33>")
    assert await task == HELD
    assert (call.local, call.remote) == (HOLD, HELD)
    assert world.last("ACK").cseq.number == 2
    await reply(world, 200, body=HELD.encode())
    assert world.sent == ["INVITE", "ACK", "INVITE", "ACK", "ACK"]
    call.hang_up()
    assert world.carrier.sent[-1].remote == ("192.0.2.33", 5060)


async def test_a_call_that_came_can_be_changed_too(world: Calls) -> None:
    call = await incoming(world)
    task = await offering(call)
    await reply(world, 200, body=HELD.encode())
    assert await task == HELD
    call.hang_up()


async def test_a_refused_change_leaves_the_session_as_it_was(world: Calls) -> None:
    call = await outgoing(world)
    for _ in range(2):
        task = await offering(call)
        await reply(world, 488)
        with pytest.raises(OfferRefusedError) as caught:
            await task
        assert caught.value.code == 488
        assert (call.local, call.remote) == (OFFER, ANSWER)
    call.hang_up()


@pytest.mark.parametrize(("ours", "first", "last"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
async def test_after_glare_the_offer_is_made_again(world: Calls, ours: bool, first: float, last: float) -> None:
    call = await outgoing(world) if ours else await incoming(world)
    task = await offering(call)
    before = world.sent.count("INVITE")
    began = world.clock.now
    await reply(world, 491)
    with pytest.raises(OutOfTurnError):
        await call.change(HOLD)
    await world.after(first - 0.01 if ours else 0)
    assert world.sent.count("INVITE") == before or not ours
    await world.after(began + last + 0.01 - world.clock.now)
    assert not task.done()
    again = world.last("INVITE")
    assert content.description(again) == (HOLD if ours else described(4000, 2, "sendonly"))
    assert world.sent.count("INVITE") > before
    await reply(world, 200, body=HELD.encode())
    assert await task == HELD
    call.hang_up()


async def test_both_offer_at_once_and_theirs_is_refused_with_491(world: Calls) -> None:
    call = await incoming(world)
    task = await offering(call)
    await world.asked("UPDATE", body=described(4100, 2).encode())
    assert world.sent[-1] == "491"
    await reply(world, 200, body=HELD.encode())
    assert await task == HELD
    call.hang_up()


async def test_a_change_of_theirs_that_waits_lets_ours_wait_longer(world: Calls) -> None:
    call = await incoming(world)
    answer: asyncio.Future[SessionDescription] = asyncio.get_running_loop().create_future()

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        return await answer

    call.on_offer = on_offer
    task = await offering(call)
    await reply(world, 491)
    theirs = await world.asked("INVITE", body=described(4100, 2).encode())
    await world.after(20)
    assert world.sent.count("INVITE") == 1
    answer.set_result(ANSWER)
    await settle()
    await world.asked("ACK", cseq=theirs.cseq.number)
    await world.after(2.1)
    assert world.sent.count("INVITE") >= 2
    await reply(world, 200, body=HELD.encode())
    assert await task == HELD
    call.hang_up()


@pytest.mark.parametrize("status", [408, 481])
async def test_a_call_that_the_other_party_knows_no_more_is_over(world: Calls, status: int) -> None:
    call = await outgoing(world)
    task = await offering(call)
    await reply(world, status)
    with pytest.raises(CallOverError):
        await task
    assert call.ended == Ended(End.GONE, False)
    assert world.sent[-1] == "BYE"


async def test_a_change_that_nobody_answers_ends_the_call(world: Calls) -> None:
    call = await outgoing(world)
    task = await offering(call)
    await world.after(32.1)
    with pytest.raises(CallOverError):
        await task
    assert call.ended == Ended(End.GONE, False)


async def test_a_change_that_cannot_be_sent_ends_the_call(world: Calls) -> None:
    call = await outgoing(world)
    world.carrier.broken.add("udp")
    task = await offering(call)
    await world.after(0.1)
    with pytest.raises(CallOverError):
        await task
    assert call.ended == Ended(End.UNSENT, False)


@pytest.mark.parametrize(("body", "contact"), [(b"", "<sip:callee@192.0.2.3>"), (HELD.encode(), "<tel:+8610>")])
async def test_a_2xx_that_makes_no_sense_ends_the_call(world: Calls, body: bytes, contact: str) -> None:
    call = await outgoing(world)
    task = await offering(call)
    await reply(world, 200, body=body, contact=contact)
    with pytest.raises(CallOverError):
        await task
    assert call.ended == Ended(End.BROKEN, False)
    assert world.sent[-2:] == ["ACK", "BYE"]


async def test_a_challenged_change_is_sent_again_with_credentials(world: Calls) -> None:
    call = await outgoing(world, DigestClient("user", "secret"))
    task = await offering(call)
    await reply(world, 401, headers=[CHALLENGE])
    again = world.last("INVITE")
    assert again.cseq.number == 3
    assert 'username="user"' in (again.headers.get("Authorization") or "")
    await reply(world, 200, body=HELD.encode())
    assert await task == HELD
    assert world.last("ACK").headers.get("Authorization") == again.headers.get("Authorization")
    call.hang_up()


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_challenged_change_without_credentials_is_refused(world: Calls, password: str) -> None:
    call = await outgoing(world, DigestClient("user", password) if password else None)
    task = await offering(call)
    await reply(world, 401, headers=[CHALLENGE])
    if password:
        await reply(world, 401, headers=[CHALLENGE])
    with pytest.raises(OfferRefusedError, match="401"):
        await task
    call.hang_up()


@pytest.mark.parametrize("who", ["they", "we"])
@pytest.mark.parametrize("glare", [False, True])
async def test_hanging_up_ends_the_change(world: Calls, who: str, glare: bool) -> None:
    call = await outgoing(world)
    task = await offering(call)
    if glare:
        await reply(world, 491)
    if who == "we":
        call.hang_up()
    else:
        await world.callee_asks("BYE")
    await settle()
    with pytest.raises(CallOverError):
        await task
    assert call.ended == Ended(End.HUNG_UP, who == "we")
    if glare:
        await world.after(10)
        assert world.sent.count("INVITE") == 2
    else:
        # Too late, but acknowledged.
        await reply(world, 200, body=HELD.encode())
        assert world.sent.count("ACK") == 2


async def test_only_a_call_that_stands_can_be_changed(world: Calls) -> None:
    await world.invited()
    with pytest.raises(SipError, match="not answered yet"):
        await world.call.change(HOLD)
    world.call.hang_up()
    with pytest.raises(CallOverError):
        await world.call.change(HOLD)
