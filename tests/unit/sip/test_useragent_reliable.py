"""Provisional responses that must arrive: those of ours until their PRACK, and our PRACK of the other party's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.digest import DigestClient
from signalbox.sip.ended import CallOverError, End, Ended
from signalbox.sip.headers import NameAddr
from signalbox.sip.message import Request
from signalbox.sip.negotiation import NotAcceptableError
from signalbox.sip.offeranswer import OutOfTurnError
from signalbox.sip.outgoing import Invitation, OutgoingCall
from support.sip_calls import ANSWER, OFFER, Calls, described, settle
from support.sip_world import THERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.sdp import SessionDescription

REQUIRED = [("Require", "100Rel")]
"""In other capitals, for option tags have none."""
HOLD, HELD = described(4000, 2, "sendonly"), described(5000, 2, "recvonly")
CHALLENGE = ("WWW-Authenticate", 'Digest realm="trunk", nonce="n1", qop="auth"')


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()


# Calls that come in.


async def early(call: IncomingCall) -> None:
    call.ring(183, ANSWER)
    await call.over()


async def answering(call: IncomingCall) -> None:
    call.ring(183, ANSWER)
    await call.answer(ANSWER)
    await call.over()


def rack(world: Calls, status: int = 183, plus: int = 0) -> tuple[str, str]:
    """What the PRACK of the last response of a status tells."""
    number = int(world.last_response(status).headers.get("RSeq") or "0")
    return "RAck", f"{number + plus} 1 INVITE"


async def prack(world: Calls, status: int = 183, plus: int = 0, body: bytes = b"") -> None:
    await world.asked("PRACK", headers=[rack(world, status, plus)], body=body)


async def test_early_media_are_told_again_until_prack_has_come_and_not_in_the_answer(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    told = world.last_response(183)
    assert (told.headers.get("Require"), content.description(told)) == ("100rel", ANSWER)
    assert "PRACK" in (told.headers.get("Allow") or "")
    await world.after(3.6)
    assert world.times("183") == [0, 0.5, 1.5, 3.5]
    assert "200" not in world.sent
    await prack(world)
    assert world.sent[4:] == ["200", "200"]
    assert world.last_response(200).cseq.method == "INVITE"
    assert content.description(world.last_response(200)) is None
    await world.asked("ACK")
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    await world.asked("BYE")


async def test_each_response_waits_for_the_prack_of_the_one_before(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        call.ring(181)
        call.ring(183, ANSWER)
        call.ring(183, ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    assert world.sent == ["180"]
    first = int(world.last_response(180).headers.get("RSeq") or "0")
    for number, status in enumerate((180, 181, 183, 183)):
        assert [one for one in world.sent if one != "200"] == ["180", "181", "183", "183"][: number + 1]
        assert world.last_response(status).headers.get("RSeq") == str(first + number)
        await prack(world, status)
    # The description goes out once.
    assert content.description(world.last_response(183)) is None
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    world.call.hang_up()
    await world.after(1)
    assert world.sent.count("183") == 2


async def test_an_answer_does_not_wait_for_a_prack_without_description(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        call.ring(181)
        call.ring(183, ANSWER)
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    assert world.sent == ["180", "200"]
    assert content.description(world.last_response(200)) == ANSWER
    await world.after(0.4)
    # It comes late, and is taken.
    await prack(world, 180)
    assert world.last_response(200).cseq.method == "PRACK"
    world.arrive(world.from_caller("ACK"))
    await world.asked("BYE")


async def test_a_response_that_nobody_acknowledges_ends_the_call(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    await world.after(32.1)
    assert world.sent == ["183"] * 7 + ["504"]
    assert world.call.ended == Ended(End.UNACKNOWLEDGED, False, 504)


@pytest.mark.parametrize(("told", "status"), [(None, 400), ("5 1 UPDATE", 481), ("5 2 INVITE", 481)])
async def test_a_prack_of_something_else_is_refused(world: Calls, told: str | None, status: int) -> None:
    world.handler = early  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    await world.asked("PRACK", headers=[] if told is None else [("RAck", told)])
    assert world.sent == ["183", str(status)]
    await world.after(0.5)
    assert world.sent[-1] == "183"
    await prack(world)
    await prack(world)
    assert world.sent[-2:] == ["200", "481"]
    world.call.hang_up()


async def test_a_prack_of_an_unreliable_response_is_refused(world: Calls) -> None:
    world.handler = early  # type: ignore[method-assign]
    await world.invited([("Supported", "100rel")])
    assert world.last_response(183).headers.get("RSeq") is None
    await world.asked("PRACK", headers=[("RAck", "1 1 INVITE")])
    assert world.sent == ["183", "481"]
    world.call.hang_up()


async def test_our_offer_is_answered_by_prack(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        call.ring(183, ANSWER)
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited(REQUIRED, body=b"")
    # What has no offer is not sent.
    assert world.sent == ["183"]
    await prack(world)
    assert (world.sent[-1], world.call.remote) == ("400", None)
    await prack(world, body=OFFER.encode())
    assert (world.call.local, world.call.remote) == (ANSWER, OFFER)
    await world.asked("ACK")
    assert content.description(world.last_response(200)) is None
    await world.asked("BYE")


@pytest.mark.parametrize("answer", [None, HELD])
async def test_a_prack_may_offer_anew(world: Calls, answer: SessionDescription | None) -> None:
    async def on_offer(offer: SessionDescription) -> SessionDescription:
        assert offer == HOLD
        assert answer is not None
        return answer

    world.handler = early  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    world.call.on_offer = on_offer if answer else None
    await prack(world, body=HOLD.encode())
    if answer:
        assert content.description(world.last_response(200)) == HELD
        assert world.last_response(200).headers.get("Contact") is None
    else:
        assert world.sent[-1] == "488"
    assert world.call.remote == (HOLD if answer else OFFER)
    await world.after(10)
    assert world.sent.count("183") == 1
    world.call.hang_up()


async def test_what_is_told_must_stay_what_it_is(world: Calls) -> None:
    world.handler = early  # type: ignore[method-assign]
    await world.invited(REQUIRED)
    with pytest.raises(OutOfTurnError):
        world.call.ring(183, HELD)
    await prack(world)
    with pytest.raises(OutOfTurnError):
        await world.call.answer(HELD)
    world.call.hang_up()


async def test_whoever_waits_for_prack_to_answer_is_told_that_the_call_is_over(world: Calls) -> None:
    await world.invited(REQUIRED)
    world.call.ring(183, ANSWER)
    task = asyncio.create_task(world.call.answer(ANSWER))
    await settle()
    await world.asked("BYE")
    with pytest.raises(CallOverError):
        await task
    assert world.sent == ["183", "200", "487"]


async def test_a_response_that_cannot_be_sent_is_not_sent_again(world: Calls) -> None:
    world.handler = early  # type: ignore[method-assign]
    world.carrier.broken.add("udp")
    await world.invited(REQUIRED)
    await world.after(5)
    assert (world.sent, world.call.ended) == (["183"], Ended(End.UNSENT, False))


# Calls that go out.


def outgoing(
    world: Calls, offer: SessionDescription | None = OFFER, digest: DigestClient | None = None
) -> OutgoingCall:
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    return world.ua.call(Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE, digest=digest), offer)


async def told(world: Calls, rseq: str, body: bytes = b"", more: Sequence[tuple[str, str]] = ()) -> None:
    await world.replied(183, body=body, headers=[("Require", "100rel"), ("RSeq", rseq), *more])


def last_request(world: Calls, method: str) -> Request:
    message = world.last(method)
    assert isinstance(message, Request)
    return message


async def test_a_reliable_response_is_acknowledged_once_and_told_once(world: Calls) -> None:
    call = outgoing(world)
    heard: list[int] = []
    call.on_progress = lambda response: heard.append(response.status)
    assert last_request(world, "INVITE").headers.values("Supported")[0] == "100rel"
    for _ in range(2):
        await told(world, "7", ANSWER.encode())
    assert (world.sent, heard) == (["INVITE", "PRACK"], [183])
    sent = last_request(world, "PRACK")
    assert (sent.uri, sent.headers.get("RAck")) == ("sip:callee@192.0.2.3:5080", "7 1 INVITE")
    world.answered(200, tag="there")
    # The next but one is out of order.
    await told(world, "9")
    await told(world, "8")
    world.answered(200, tag="there")
    assert (world.sent.count("PRACK"), heard) == (2, [183, 183])
    await world.replied(200, of=last_request(world, "INVITE"))
    await call.answered()
    assert (call.local, call.remote) == (OFFER, ANSWER)
    call.hang_up()
    world.answered(200, tag="there")


@pytest.mark.parametrize("rseq", ["", "0", "many"])
async def test_a_reliable_response_without_its_number_is_not_heard(world: Calls, rseq: str) -> None:
    call = outgoing(world)
    call.on_progress = lambda response: pytest.fail("heard")
    if rseq == "many":
        await world.replied(183, headers=[("Require", "100rel"), ("RSeq", "1")], tag="")
    else:
        await world.replied(183, headers=[("Require", "100rel"), *([("RSeq", rseq)] if rseq else [])])
    assert world.sent == ["INVITE"]
    await world.replied(486)
    assert call.ended == Ended(End.REFUSED, False, 486)


async def test_a_prack_has_the_credentials_that_are_asked_for_and_the_next_invite_counts_on(world: Calls) -> None:
    call = outgoing(world, digest=DigestClient("user", "secret"))
    await told(world, "1")
    assert world.sent == ["INVITE", "PRACK"]
    await world.replied(401, of=last_request(world, "PRACK"), headers=[CHALLENGE])
    await world.replied(401, of=last_request(world, "INVITE"), headers=[CHALLENGE])
    assert last_request(world, "INVITE").cseq.number > last_request(world, "PRACK").cseq.number
    await world.replied(486)
    assert call.ended is not None


async def test_a_prack_that_comes_to_nothing_decides_nothing(world: Calls) -> None:
    call = outgoing(world)
    await told(world, "1", ANSWER.encode())
    await world.after(40)
    assert world.sent.count("PRACK") > 1
    assert call.ended is None
    world.carrier.broken.add("udp")
    await told(world, "2")
    await world.after(0.1)
    assert call.ended is None
    world.carrier.broken.clear()
    await world.replied(486, of=last_request(world, "INVITE"))
    assert call.ended == Ended(End.REFUSED, False, 486)


async def offered(world: Calls, status: int, answer: object) -> OutgoingCall:
    """A call without an offer of ours, which the other party makes: ``answer`` is ours, or what is raised."""

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        assert offer == OFFER
        if isinstance(answer, Exception):
            raise answer
        assert answer is ANSWER
        return ANSWER

    call = outgoing(world, None)
    assert not last_request(world, "INVITE").body
    call.on_offer = None if answer is None else on_offer
    if status == 183:
        await told(world, "1", OFFER.encode())
    else:
        await world.replied(status, body=OFFER.encode())
    return call


async def test_the_other_partys_offer_is_answered_by_ack(world: Calls) -> None:
    call = await offered(world, 200, ANSWER)
    await call.answered()
    assert content.description(world.last("ACK")) == ANSWER
    assert (call.local, call.remote) == (ANSWER, OFFER)
    call.hang_up()
    world.answered(200)


async def test_the_other_partys_offer_is_answered_by_prack(world: Calls) -> None:
    call = await offered(world, 183, ANSWER)
    assert content.description(world.last("PRACK")) == ANSWER
    world.answered(200, tag="there")
    await world.replied(200, of=last_request(world, "INVITE"))
    await call.answered()
    assert content.description(world.last("ACK")) is None
    assert (call.local, call.remote) == (ANSWER, OFFER)
    call.hang_up()
    world.answered(200)


@pytest.mark.parametrize(("answer", "status"), [(None, 488), (NotAcceptableError(305), 488), (ValueError("no"), 500)])
async def test_an_offer_that_is_not_taken_ends_the_call(world: Calls, answer: object, status: int) -> None:
    late = await offered(world, 200, answer)
    with pytest.raises(CallOverError):
        await late.answered()
    assert late.ended == Ended(End.REFUSED, True, status)
    assert world.sent == ["INVITE", "ACK", "BYE"]
    world.answered(200)
    soon = await offered(world, 183, answer)
    assert soon.ended == Ended(End.REFUSED, True, status)
    assert world.sent[3:] == ["INVITE", "CANCEL"]
    await world.replied(487, of=last_request(world, "INVITE"))


@pytest.mark.parametrize("by_us", [True, False])
async def test_a_call_that_ends_while_its_offer_is_answered_is_over(world: Calls, by_us: bool) -> None:
    call = outgoing(world, None)
    gate = asyncio.Event()

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        await gate.wait()
        return ANSWER

    call.on_offer = on_offer
    await world.replied(200, body=OFFER.encode())
    await world.replied(200, body=OFFER.encode())
    assert world.sent == ["INVITE"]
    if by_us:
        call.hang_up()
        assert world.sent == ["INVITE", "ACK", "BYE"]
        world.answered(200)
    else:
        await world.callee_asks("BYE")
    assert call.ended == Ended(End.HUNG_UP, by_us)
    before = list(world.sent)
    gate.set()
    await settle()
    assert world.sent == before
