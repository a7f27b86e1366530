"""Calls that come in and are refused or fail, and what else comes in for calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.ended import End, Ended
from signalbox.sip.errors import SipError
from signalbox.sip.message import Request, response
from signalbox.sip.offeranswer import OutOfTurnError
from support.sip_answering import answered, answering
from support.sip_calls import ANSWER, OFFER, Calls, described, settle
from support.sip_world import of_invite, request

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall


async def test_a_call_is_refused_with_what_the_handler_says(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.reject(302, "Elsewhere", [("Contact", "<sip:other@192.0.2.8>")])
        assert call.ended == Ended(End.REFUSED, True, 302)

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    moved = world.last_response(302)
    assert (moved.reason, moved.headers.get("Contact")) == ("Elsewhere", "<sip:other@192.0.2.8>")


async def test_a_handler_that_leaves_a_ringing_call_refuses_it(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    assert world.sent == ["180", "480"]
    assert world.call.ended == Ended(End.REFUSED, True, 480)


async def test_a_handler_that_leaves_a_standing_call_hangs_up(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        await call.answer(ANSWER)

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.asked("ACK")
    assert world.sent == ["200", "BYE"]


@pytest.mark.parametrize(("answer_first", "sent"), [(False, ["500"]), (True, ["200", "BYE"])])
async def test_a_handler_that_fails_ends_its_call(world: Calls, answer_first: bool, sent: list[str]) -> None:
    async def handler(call: IncomingCall) -> None:
        if answer_first:
            await call.answer(ANSWER)
        raise RuntimeError("a fault of ours")

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    if answer_first:
        await world.asked("ACK")
    assert world.sent == sent


async def test_a_handler_that_is_stopped_ends_its_call(world: Calls) -> None:
    await answered(world)
    (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "sip call call"]
    task.cancel()
    await settle()
    assert world.sent == ["200", "BYE"]


async def test_early_media_is_announced_by_the_answer_to_come(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring(183, ANSWER)
        with pytest.raises(OutOfTurnError):
            await call.answer(described(6000))
        await answering(call)

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    assert content.description(world.last_response(183)) == ANSWER
    await world.asked("ACK")
    await world.asked("BYE")


async def test_an_offer_left_to_us_goes_into_200_and_its_answer_comes_with_ack(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(body=b"")
    assert world.call.offer is None
    assert world.call.remote is None
    await world.asked("ACK", body=OFFER.encode())
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    await world.asked("BYE")


@pytest.mark.parametrize("body", [b"", b"v=1\r\n"])
async def test_an_ack_without_the_answer_that_is_due_ends_the_call(world: Calls, body: bytes) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(body=b"")
    await world.asked("ACK", body=body)
    assert world.sent == ["200", "BYE"]
    assert world.call.ended == Ended(End.BROKEN, False)


async def test_what_is_not_said_in_order_is_refused_to_the_handler(world: Calls) -> None:
    await answered(world)
    with pytest.raises(SipError, match="answered already"):
        world.call.ring()
    with pytest.raises(SipError, match="answered already"):
        world.call.reject(486)
    with pytest.raises(SipError, match="answered already"):
        await world.call.answer(ANSWER)
    await world.asked("BYE")


@pytest.mark.parametrize("status", [100, 200])
async def test_only_provisional_codes_ring(world: Calls, status: int) -> None:
    await world.invited()
    with pytest.raises(ValueError, match=f"101 to 199, not {status}"):
        world.call.ring(status)
    world.call.hang_up()


@pytest.mark.parametrize("status", [200, 700])
async def test_only_failures_refuse(world: Calls, status: int) -> None:
    await world.invited()
    with pytest.raises(ValueError, match=f"300 to 699, not {status}"):
        world.call.reject(status)
    world.call.hang_up()


async def test_a_caller_that_cannot_be_told_it_rings_is_lost(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    world.carrier.broken.add("udp")
    await world.invited()
    await world.after(0.1)
    assert world.call.ended == Ended(End.UNSENT, False)


async def test_a_caller_by_tcp_is_told_to_come_back_by_tcp(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(protocol="tcp")
    assert world.last_response(200).headers.get("Contact") == "<sip:192.0.2.1:5060;transport=tcp>"
    await world.asked("BYE")


@pytest.mark.parametrize(
    ("headers", "body", "contact", "status", "told"),
    [
        ([], OFFER.encode(), False, 400, ("", "")),
        ([("Content-Type", "text/plain")], b"hello", True, 415, ("Accept", "application/sdp")),
        ([("Content-Encoding", "gzip")], b"hello", True, 415, ("Accept-Encoding", "identity")),
        ([], b"v=1\r\n", True, 400, ("", "")),
        ([("Session-Expires", "80"), ("Supported", "timer")], OFFER.encode(), True, 422, ("Min-SE", "90")),
    ],
)
async def test_an_invite_that_cannot_be_a_call_is_refused(
    world: Calls, headers: list[tuple[str, str]], body: bytes, contact: bool, status: int, told: tuple[str, str]
) -> None:
    await world.invited(headers, body=body, contact=contact)
    assert world.sent == [str(status)]
    assert world.taken == []
    if told[0]:
        assert world.last_response(status).headers.get(told[0]) == told[1]


async def test_an_invite_that_was_forked_and_comes_twice_is_one_call(world: Calls) -> None:
    await world.invited()
    await world.invited(branch="z9hG4bKother")
    assert world.sent == ["482"]
    assert len(world.taken) == 1
    world.call.hang_up()


async def test_a_change_of_the_session_is_not_taken(world: Calls) -> None:
    await answered(world)
    await world.asked("INVITE", body=described(4100, 2).encode())
    assert world.sent[-1] == "488"
    assert world.call.remote == OFFER
    await world.asked("BYE")


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("INFO", 405), ("NOTIFY", 481), ("STRANGE", 501)])
async def test_other_requests_in_a_call(world: Calls, method: str, status: int) -> None:
    await answered(world)
    await world.asked(method)
    assert world.sent[-1] == str(status)
    await world.asked("BYE")
    assert world.call.ended is not None


async def test_a_request_out_of_order_is_not_served(world: Calls) -> None:
    await answered(world)
    await world.asked("BYE", cseq=1)
    assert world.sent[-1] == "500"
    assert world.call.ended is None
    world.call.hang_up()


@pytest.mark.parametrize("method", ["BYE", "INVITE", "OPTIONS"])
async def test_a_request_of_an_unknown_dialog_is_told_so(world: Calls, method: str) -> None:
    world.arrive(request(method, branch="z9hG4bK1", to_tag="unknown"))
    assert world.sent == ["481"]
    world.arrive(of_invite(request(method, branch="z9hG4bK1"), "ACK", to_tag="unknown"))


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 200), ("BYE", 481), ("UPDATE", 481), ("REGISTER", 405), ("MESSAGE", 405), ("STRANGE", 501)],
)
async def test_requests_outside_of_calls(world: Calls, method: str, status: int) -> None:
    world.arrive(request(method, branch="z9hG4bK1"))
    assert world.sent == [str(status)]
    answer = world.last_response(status)
    assert answer.to.tag
    assert ("Allow" in answer.headers) == (status != 481)
    if method == "OPTIONS":
        assert answer.headers.get("Accept") == "application/sdp"


async def test_draining_refuses_new_calls_and_keeps_those_that_stand(world: Calls) -> None:
    await answered(world)
    world.ua.drain(7)
    world.arrive(request("OPTIONS", branch="z9hG4bK1"))
    await world.invited(branch="z9hG4bK2", call_id="other")
    assert world.sent[-2:] == ["503", "503"]
    assert world.last_response(503).headers.get("Retry-After") == "7"
    world.call.hang_up()
    bye = world.last("BYE")
    assert isinstance(bye, Request)
    world.arrive(response(bye, 200))
