"""The time that calls have: session timers and who refreshes, UPDATE before the answer, Expires, and the end of all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.ended import End, Ended
from signalbox.sip.headers import NameAddr
from signalbox.sip.message import Request
from signalbox.sip.outgoing import Invitation, OutgoingCall
from signalbox.sip.sessiontimer import Policy
from support.sip_calls import ANSWER, OFFER, Calls, described, settle
from support.sip_world import THERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signalbox.sip.incoming import IncomingCall

SUPPORTED = ("Supported", "Timer")
UPDATES = ("Allow", "INVITE, ACK, BYE, UPDATE")
HOLD, HELD = described(4000, 2, "sendonly"), described(5000, 2, "recvonly")


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()


def expires(value: str) -> tuple[str, str]:
    return "Session-Expires", value


async def came(world: Calls, *headers: tuple[str, str]) -> IncomingCall:
    """A call that came and was answered."""

    async def handler(call: IncomingCall) -> None:
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited(headers)
    await world.asked("ACK")
    return world.call


def calls(world: Calls) -> OutgoingCall:
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    return world.ua.call(Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE), OFFER)


async def went(world: Calls, *headers: tuple[str, str]) -> OutgoingCall:
    """A call of ours that was answered."""
    call = calls(world)
    await world.replied(200, body=ANSWER.encode(), headers=headers)
    await call.answered()
    return call


def asked(world: Calls, method: str) -> Request:
    message = world.last(method)
    assert isinstance(message, Request)
    return message


async def updated(world: Calls, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
    """The other party responds to our UPDATE."""
    await world.replied(status, tag="", of=asked(world, "UPDATE"), headers=headers)


async def test_a_caller_who_asks_for_no_timer_has_none(world: Calls) -> None:
    await came(world, SUPPORTED)
    told = world.last_response(200)
    assert told.headers.get("Session-Expires") is None
    assert "timer" in told.headers.values("Supported")
    await world.after(100_000)
    assert world.sent == ["200"]
    await world.asked("BYE")


async def test_a_caller_who_refreshes_keeps_the_call_and_who_does_not_loses_it(world: Calls) -> None:
    call = await came(world, SUPPORTED, expires("180;refresher=uac"))
    told = world.last_response(200)
    assert (told.headers.get("Session-Expires"), told.headers.get("Require")) == ("180;refresher=uac", "timer")
    await world.after(140)
    await world.asked("UPDATE", headers=[SUPPORTED, expires("180;refresher=uac")])
    assert world.last_response(200).headers.get("Session-Expires") == "180;refresher=uac"
    await world.after(140)
    # One that leaves the timer out goes on with it.
    await world.asked("INVITE", body=OFFER.encode(), headers=[SUPPORTED])
    await world.asked("ACK", cseq=world.sequence)
    assert "refresher" in (world.last_response(200).headers.get("Session-Expires") or "")
    await world.asked("UPDATE", headers=[SUPPORTED, expires("180;refresher=uac")])
    assert call.ended is None
    await world.after(148.1)
    assert call.ended == Ended(End.EXPIRED, False)
    assert world.sent[-1] == "BYE"
    world.answered(200)


async def test_a_refresh_that_is_too_short_is_refused_and_changes_nothing(world: Calls) -> None:
    call = await came(world, SUPPORTED, expires("180;refresher=uac"))
    await world.asked("UPDATE", headers=[SUPPORTED, expires("20")])
    assert world.last_response(422).headers.get("Min-SE") == "90"
    await world.asked("UPDATE", body=HOLD.encode(), headers=[SUPPORTED, expires("20")])
    assert world.sent[-1] == "422"
    await world.after(149)
    assert call.ended == Ended(End.EXPIRED, False)
    world.answered(200)


async def test_we_refresh_by_update_where_it_is_served(world: Calls) -> None:
    call = await came(world, UPDATES, expires("180"))
    assert world.last_response(200).headers.get("Session-Expires") == "180;refresher=uas"
    for turn in range(1, 4):
        await world.after(90)
        assert world.sent.count("UPDATE") == turn
        sent = asked(world, "UPDATE")
        assert (sent.body, sent.headers.get("Session-Expires")) == (b"", "180;refresher=uac")
        await updated(world, 200, [expires("180;refresher=uac")])
    assert call.ended is None
    # The other party may take it over.
    await world.after(90)
    await updated(world, 200, [expires("300;refresher=uas")])
    await world.after(267)
    assert (world.sent.count("UPDATE"), call.ended) == (4, None)
    await world.after(2)
    assert call.ended == Ended(End.EXPIRED, False)
    world.answered(200)


async def test_we_refresh_by_invite_where_update_is_not_served(world: Calls) -> None:
    call = await went(world, expires("180;refresher=uac"), UPDATES)
    await world.after(90)
    await updated(world, 405)
    await world.after(10)
    assert content.description(asked(world, "INVITE")) == OFFER
    await world.replied(200, tag="", body=ANSWER.encode(), headers=[expires("180;refresher=uac")])
    await world.after(90)
    await world.replied(200, tag="", body=ANSWER.encode(), headers=[expires("nonsense")])
    # A timer that nobody understands is none.
    await world.after(10_000)
    assert call.ended is None
    assert world.sent == ["INVITE", "ACK", "UPDATE", "INVITE", "ACK", "INVITE", "ACK"]
    call.hang_up()
    world.answered(200)


async def test_a_refresh_that_is_refused_is_tried_again_until_time_is_out(world: Calls) -> None:
    call = await went(world, expires("180;refresher=uac"), UPDATES)
    await world.after(90)
    for _ in range(6):
        assert call.ended is None
        await updated(world, 500)
        await world.after(10)
    assert call.ended == Ended(End.EXPIRED, False)
    assert world.sent.count("UPDATE") == 6
    world.answered(200)


async def test_a_refresh_of_what_is_forgotten_ends_the_call(world: Calls) -> None:
    call = await went(world, expires("180;refresher=uac"), UPDATES)
    await world.after(90)
    await updated(world, 481)
    assert call.ended == Ended(End.GONE, False)
    world.answered(481)


async def test_a_change_refreshes_and_waits_for_a_refresh_under_way(world: Calls) -> None:
    call = await went(world, expires("180;refresher=uac"), UPDATES)
    await world.after(89)
    changing = asyncio.create_task(call.change(HOLD))
    await settle()
    assert asked(world, "INVITE").headers.get("Session-Expires") == "180;refresher=uac"
    await world.after(2)
    assert "UPDATE" not in world.sent
    await world.replied(200, tag="", body=HELD.encode(), headers=[expires("180;refresher=uac")])
    assert await changing == HELD
    await world.after(89)
    assert "UPDATE" not in world.sent
    await world.after(1.1)
    changing = asyncio.create_task(call.change(OFFER))
    await settle()
    assert world.sent[-1] == "UPDATE"
    await updated(world, 200, [expires("180;refresher=uac")])
    assert world.sent[-1] == "INVITE"
    await world.replied(200, tag="", body=ANSWER.encode(), headers=[expires("180;refresher=uac")])
    await changing
    call.hang_up()
    world.answered(200)


async def test_a_call_that_ends_during_a_refresh_is_over_for_a_change_that_waits_for_it(world: Calls) -> None:
    call = await went(world, expires("180;refresher=uac"), UPDATES)
    await world.after(90)
    changing = asyncio.create_task(call.change(HOLD))
    await settle()
    await world.callee_asks("BYE")
    with pytest.raises(Exception, match="the call is over: hung up"):
        await changing
    await updated(world, 481)


async def test_our_calls_ask_for_a_timer_and_for_a_longer_one_if_they_must(world: Calls) -> None:
    call = calls(world)
    assert asked(world, "INVITE").headers.get("Session-Expires") == "1800"
    await world.replied(422, headers=[("Min-SE", "3600")])
    again = asked(world, "INVITE")
    assert (again.headers.get("Session-Expires"), again.headers.get("Min-SE"), again.cseq.number) == ("3600", "3600", 2)
    await world.replied(200, body=ANSWER.encode(), headers=[expires("3600;refresher=uac"), UPDATES])
    await call.answered()
    await world.after(1800)
    assert asked(world, "UPDATE").headers.get("Min-SE") == "3600"
    await updated(world, 422, [("Min-SE", "7200")])
    assert asked(world, "UPDATE").headers.get("Session-Expires") == "7200;refresher=uac"
    await updated(world, 422, [("Min-SE", "7200")])
    # It says nothing new: as any other refusal.
    assert call.ended is None
    call.hang_up()
    world.answered(200)


@pytest.mark.parametrize("headers", [[], [("Min-SE", "90")]])
async def test_a_422_that_tells_nothing_new_refuses_the_call(world: Calls, headers: list[tuple[str, str]]) -> None:
    call = calls(world)
    await world.replied(422, headers=headers)
    assert call.ended == Ended(End.REFUSED, False, 422)


async def test_a_policy_can_have_a_timer_in_every_call(world: Calls) -> None:
    world.ua.policy = Policy(interval_s=600)
    await came(world)
    assert world.last_response(200).headers.get("Session-Expires") == "600;refresher=uas"
    await world.asked("BYE")


# UPDATE of ours before the answer.


async def test_a_call_that_is_not_answered_is_changed_by_update(world: Calls) -> None:
    await world.invited([("Require", "100rel"), UPDATES])
    call = world.call
    call.ring(183, ANSWER)
    number = world.last_response(183).headers.get("RSeq")
    await world.asked("PRACK", headers=[("RAck", f"{number} 1 INVITE")])
    changing = asyncio.create_task(call.change(HELD))
    await settle()
    sent = asked(world, "UPDATE")
    assert (content.description(sent), sent.headers.get("Contact")) == (HELD, "<sip:192.0.2.1:5060>")
    await world.replied(200, tag="", of=sent, body=HOLD.encode())
    assert await changing == HOLD
    assert (call.local, call.remote) == (HELD, HOLD)
    assert "ACK" not in world.sent
    call.hang_up()


async def test_a_line_that_rings_is_changed_by_update(world: Calls) -> None:
    call = calls(world)
    await world.replied(183, body=ANSWER.encode(), headers=[("Require", "100rel"), ("RSeq", "1"), UPDATES])
    world.answered(200, tag="there")
    changing = asyncio.create_task(call.change(HOLD))
    await settle()
    # At the same time the line offers, too: both try again.
    await world.replied(491, tag="", of=asked(world, "UPDATE"))
    await world.after(4)
    await world.replied(200, tag="", of=asked(world, "UPDATE"), body=HELD.encode())
    assert await changing == HELD
    assert len({one.message.cseq.number for one in world.carrier.sent if one.what == "UPDATE"}) == 2
    invite = asked(world, "INVITE")
    await world.replied(200, of=invite)
    await call.answered()
    assert (call.local, call.remote) == (HOLD, HELD)
    call.hang_up()
    world.answered(200)


# Time to answer.


async def test_an_invite_that_has_expired_is_answered_487(world: Calls) -> None:
    await world.invited([("Expires", "30")])
    world.call.ring()
    await world.after(29.9)
    assert world.sent == ["180"]
    await world.after(0.2)
    assert (world.sent, world.call.ended) == (["180", "487"], Ended(End.EXPIRED, False, 487))


async def test_an_answered_invite_does_not_expire(world: Calls) -> None:
    call = await came(world, ("Expires", "30"))
    await world.after(100)
    assert call.ended is None
    await world.asked("BYE")


async def test_our_invite_is_given_up_when_it_expires(world: Calls) -> None:
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    invitation = Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE, expires_s=20)
    call = world.ua.call(invitation, OFFER)
    assert asked(world, "INVITE").headers.get("Expires") == "20"
    await world.replied(180)
    await world.after(20)
    assert (world.sent, call.ended) == (["INVITE", "CANCEL"], Ended(End.EXPIRED, True))
    await world.replied(487, of=asked(world, "INVITE"))
    answered = world.ua.call(invitation, OFFER)
    await world.replied(200, body=ANSWER.encode())
    await answered.answered()
    await world.after(100)
    assert answered.ended is None
    answered.hang_up()
    world.answered(200)


# The end of all.


async def test_a_user_agent_that_is_closed_ends_everything() -> None:
    world = Calls()
    stands = await went(world, expires("180;refresher=uac"))
    ringing = calls(world)
    await world.replied(180)
    await world.invited([("Expires", "60"), ("Require", "100rel")])
    world.call.ring()
    stubborn = world.ua.start(asyncio.sleep(600), "sip stubborn")
    await world.ua.close(0.2)
    assert stands.ended == Ended(End.HUNG_UP, True)
    assert ringing.ended == Ended(End.CANCELLED, True)
    assert world.call.ended == Ended(End.REFUSED, True, 503)
    assert [world.sent.count(one) for one in ("BYE", "CANCEL", "503")] == [1, 1, 1]
    assert (world.ua.calls, world.ua.sessions, world.ua.running) == (set(), {}, 0)
    world.assert_over()
    assert stubborn.cancelled()


async def test_closing_waits_no_longer_than_for_the_last_answer() -> None:
    world = Calls()
    await went(world)
    closing = asyncio.create_task(world.ua.close(60))
    await settle()
    world.answered(200)
    await asyncio.wait_for(closing, 30)
    world.assert_over()
    assert world.ua.sessions == {}
