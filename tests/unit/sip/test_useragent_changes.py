"""What the other party changes in a call that stands: re-INVITE and UPDATE, hold, refreshes, glare."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.ended import End, Ended
from signalbox.sip.negotiation import NotAcceptableError
from support.sip_calls import ANSWER, OFFER, Calls, described, settle
from support.sip_world import of_invite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.sdp import SessionDescription

HOLD = described(4000, 2, "sendonly")
HELD = described(5000, 1, "recvonly")
HELD_NEXT = described(5000, 2, "recvonly")
"""What is sent when HELD is the answer: the next version of what was sent before."""


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()


async def stands(world: Calls, answer: SessionDescription | Exception | None = HELD) -> list[SessionDescription]:
    """A call that answers offers so: what it was offered."""
    offered: list[SessionDescription] = []

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        offered.append(offer)
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    async def handler(call: IncomingCall) -> None:
        call.on_offer = on_offer if answer is not None else None
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.asked("ACK")
    return offered


class Slow:
    """Answers an offer when it is told to."""

    def __init__(self, world: Calls) -> None:
        self.answer: asyncio.Future[SessionDescription] = asyncio.get_running_loop().create_future()
        world.call.on_offer = self.on_offer

    async def on_offer(self, offer: SessionDescription) -> SessionDescription:
        return await self.answer


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_the_caller_holds_us(world: Calls, method: str) -> None:
    offered = await stands(world)
    asked = await world.asked(method, body=HOLD.encode(), headers=[("Contact", "<sip:moved@192.0.2.77>")])
    assert offered == [HOLD]
    ok = world.last_response(200)
    assert ok.cseq == asked.cseq
    assert content.description(ok) == HELD_NEXT
    assert ok.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    if method == "INVITE":
        await world.asked("ACK", cseq=asked.cseq.number)
    assert (world.call.local, world.call.remote) == (HELD_NEXT, HOLD)
    await world.after(60)
    assert world.sent == ["200", "200"]
    world.call.hang_up()
    assert world.carrier.sent[-1].remote == ("192.0.2.77", 5060)


async def test_a_call_that_answers_no_offers_stays_what_it_is(world: Calls) -> None:
    await stands(world, None)
    await world.asked("UPDATE", body=HOLD.encode())
    assert world.sent[-1] == "488"
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    world.call.hang_up()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize(("error", "status"), [(NotAcceptableError(305), "488"), (RuntimeError("a fault"), "500")])
async def test_an_offer_that_does_not_suit_is_refused(world: Calls, method: str, error: Exception, status: str) -> None:
    offered = await stands(world, error)
    for count in (1, 2):
        asked = await world.asked(method, body=HOLD.encode())
        assert len(offered) == count
        assert world.sent.count(status) == count
        if method == "INVITE":
            world.arrive(of_invite(asked, "ACK"))
    if status == "488":
        warning = world.last_response(488).headers.get("Warning")
        assert warning == '305 signalbox "Incompatible media format"'
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    world.call.hang_up()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_a_refresh_changes_nothing_and_asks_nobody(world: Calls, method: str) -> None:
    offered = await stands(world)
    asked = await world.asked(method, body=OFFER.encode())
    ok = world.last_response(200)
    assert ok.cseq == asked.cseq
    assert content.description(ok) == ANSWER
    await world.asked("ACK", cseq=asked.cseq.number)
    assert offered == []
    world.call.hang_up()


async def test_an_update_without_a_description_is_answered_without_one(world: Calls) -> None:
    await stands(world)
    await world.asked("UPDATE")
    ok = world.last_response(200)
    assert (ok.cseq.method, ok.body) == ("UPDATE", b"")
    world.call.hang_up()


async def test_a_re_invite_without_an_offer_gets_ours_and_answers_it_in_ack(world: Calls) -> None:
    await stands(world)
    asked = await world.asked("INVITE")
    assert content.description(world.last_response(200)) == ANSWER
    await world.asked("ACK", cseq=asked.cseq.number, body=described(4100, 2).encode())
    assert (world.call.local, world.call.remote) == (ANSWER, described(4100, 2))
    world.call.hang_up()


async def test_a_re_invite_whose_ack_lacks_the_answer_ends_the_call(world: Calls) -> None:
    await stands(world)
    asked = await world.asked("INVITE")
    await world.asked("ACK", cseq=asked.cseq.number)
    assert world.sent[-1] == "BYE"
    assert world.call.ended == Ended(End.BROKEN, False)


async def test_a_re_invite_that_is_never_acknowledged_ends_the_call(world: Calls) -> None:
    await stands(world)
    await world.asked("INVITE", body=HOLD.encode())
    await world.after(32.1)
    assert world.sent[-1] == "BYE"
    assert world.call.ended == Ended(End.UNACKNOWLEDGED, False)


async def test_a_re_invite_before_the_last_ack_must_wait(world: Calls) -> None:
    await stands(world)
    first = await world.asked("INVITE", body=HOLD.encode())
    second = await world.asked("INVITE", body=OFFER.encode())
    assert world.sent[-1] == "491"
    world.arrive(of_invite(second, "ACK"))
    await world.asked("ACK", cseq=first.cseq.number)
    third = await world.asked("INVITE", body=described(4000, 3).encode())
    assert world.sent[-1] == "200"
    await world.asked("ACK", cseq=third.cseq.number)
    world.call.hang_up()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_a_second_offer_before_the_first_is_answered_must_wait(world: Calls, method: str) -> None:
    await stands(world)
    slow = Slow(world)
    first = await world.asked("INVITE", body=HOLD.encode())
    second = await world.asked(method, body=OFFER.encode())
    refusal = world.last_response(500)
    assert refusal.cseq == second.cseq
    assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
    if method == "INVITE":
        world.arrive(of_invite(second, "ACK"))
    slow.answer.set_result(HELD)
    await settle()
    assert world.last_response(200).cseq == first.cseq
    await world.asked("ACK", cseq=first.cseq.number)
    world.call.hang_up()


async def test_a_re_invite_that_is_cancelled_changes_nothing(world: Calls) -> None:
    await stands(world)
    slow = Slow(world)
    asked = await world.asked("INVITE", body=HOLD.encode())
    world.arrive(of_invite(asked, "CANCEL"))
    assert world.sent[-2:] == ["200", "487"]
    world.arrive(of_invite(asked, "ACK"))
    slow.answer.set_result(HELD)
    await settle()
    assert world.sent[-1] == "487"
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    world.call.hang_up()


@pytest.mark.parametrize("who", ["they", "we"])
async def test_hanging_up_ends_a_change_that_waits(world: Calls, who: str) -> None:
    await stands(world)
    slow = Slow(world)
    asked = await world.asked("INVITE", body=HOLD.encode())
    if who == "they":
        await world.asked("BYE")
        assert world.sent[-2:] == ["200", "487"]
    else:
        world.call.hang_up()
        assert world.sent[-2:] == ["487", "BYE"]
        await world.asked("UPDATE", body=HOLD.encode())
        assert world.sent[-1] == "481"
    world.arrive(of_invite(asked, "ACK"))
    slow.answer.set_result(HELD)
    await settle()
    assert world.call.ended == Ended(End.HUNG_UP, who == "we")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([("Content-Type", "text/plain")], b"hello", "415"),
        ([], b"v=1\r\n", "400"),
        ([("Contact", "<tel:+8610>")], HOLD.encode(), "400"),
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_a_change_that_makes_no_sense_is_refused(
    world: Calls, method: str, headers: list[tuple[str, str]], body: bytes, status: str
) -> None:
    await stands(world)
    asked = await world.asked(method, headers=headers, body=body)
    assert world.sent[-1] == status
    if method == "INVITE":
        world.arrive(of_invite(asked, "ACK"))
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    await world.asked("UPDATE", body=HOLD.encode())
    assert world.sent[-1] == "200"
    world.call.hang_up()


async def test_an_offer_before_the_first_is_answered_must_wait(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.asked("UPDATE", body=HOLD.encode())
    assert world.sent[-1] == "500"
    await world.asked("UPDATE")
    assert world.sent[-1] == "200"
    world.call.hang_up()
