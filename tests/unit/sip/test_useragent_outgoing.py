"""Calls that go out: answered, refused, forked, challenged, given up, hung up by either side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.digest import DigestClient
from signalbox.sip.ended import CallOverError, End, Ended
from signalbox.sip.headers import NameAddr
from signalbox.sip.message import Request, response
from signalbox.sip.outgoing import Invitation, OutgoingCall
from support.sip_calls import ANSWER, OFFER, Calls, settle
from support.sip_world import THERE, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHALLENGE = ("WWW-Authenticate", 'Digest realm="trunk", nonce="n1", qop="auth"')
PEER = ("192.0.2.3", 5080)


@pytest.fixture
async def world() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.assert_nothing_left()


def dial(world: Calls, digest: DigestClient | None = None, headers: tuple[tuple[str, str], ...] = ()) -> OutgoingCall:
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    invitation = Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE, headers, digest=digest)
    return world.ua.call(invitation, OFFER)


async def standing(world: Calls, digest: DigestClient | None = None) -> OutgoingCall:
    """A call that was answered."""
    call = dial(world, digest)
    await world.replied(200, body=ANSWER.encode())
    await call.answered()
    return call


def remote_of(world: Calls, what: str) -> list[tuple[str, int]]:
    return [one.remote for one in world.carrier.sent if one.what == what]


async def test_a_call_is_answered_and_hung_up(world: Calls) -> None:
    call = dial(world, headers=(("Route", "<sip:192.0.2.2;lr>"),))
    told: list[int] = []
    call.on_progress = lambda response: told.append(response.status)
    invite = world.last("INVITE")
    assert content.description(invite) == OFFER
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert invite.headers.get("Route") == "<sip:192.0.2.2;lr>"
    for status in (100, 180, 183):
        await world.replied(status, tag="" if status == 100 else "there")
    assert told == [180, 183]
    waiting = asyncio.create_task(call.answered())
    await settle()
    assert not waiting.done()
    await world.replied(200, body=ANSWER.encode())
    await waiting
    assert (call.local, call.remote) == (OFFER, ANSWER)
    assert call.final is not None
    assert call.final.status == 200
    assert remote_of(world, "ACK") == [PEER]
    ack = world.last("ACK")
    assert isinstance(ack, Request)
    assert (ack.uri, ack.cseq.number) == ("sip:callee@192.0.2.3:5080", 1)
    call.hang_up([("Reason", "Q.850;cause=16")])
    assert call.ended == Ended(End.HUNG_UP, True)
    assert remote_of(world, "BYE") == [PEER]
    assert world.last("BYE").headers.get("Reason") == "Q.850;cause=16"
    world.answered(200, method="BYE")
    assert world.ua.sessions == {}


async def test_a_response_tells_that_an_invite_has_arrived(world: Calls) -> None:
    call = dial(world)
    assert not call.arrived
    await world.replied(100, tag="")
    assert call.arrived
    await world.replied(486)
    assert call.arrived


async def test_an_invite_goes_as_far_as_it_is_told_to(world: Calls) -> None:
    dial(world)
    assert world.last("INVITE").headers.get("Max-Forwards") == "70"
    there = NameAddr.parse("<sip:agent@example.com>")
    for_another = Invitation("sip:agent@192.0.2.2", there, there, "udp", THERE, max_forwards=7)
    call = world.ua.call(for_another, OFFER)
    assert world.last("INVITE").headers.all("Max-Forwards") == ["7"]
    await world.replied(486)
    assert call.ended is not None


async def test_the_other_party_hangs_up(world: Calls) -> None:
    call = await standing(world)
    await world.callee_asks("BYE")
    assert call.ended == Ended(End.HUNG_UP, False)
    assert world.sent == ["INVITE", "ACK", "200"]
    call.hang_up()
    assert world.sent == ["INVITE", "ACK", "200"]


async def test_requests_follow_the_route_of_the_answer(world: Calls) -> None:
    call = dial(world)
    await world.replied(200, body=ANSWER.encode(), headers=[("Record-Route", "<sip:192.0.2.7:5070;lr>")])
    call.hang_up()
    assert remote_of(world, "ACK") == remote_of(world, "BYE") == [("192.0.2.7", 5070)]


async def test_a_2xx_that_comes_again_is_acknowledged_again(world: Calls) -> None:
    call = await standing(world)
    acks = [one.message for one in world.carrier.sent if one.what == "ACK"]
    await world.replied(200, body=ANSWER.encode())
    # Even long after, when the transaction of the INVITE is over.
    await world.after(33)
    await world.replied(200, body=ANSWER.encode())
    assert [one.message for one in world.carrier.sent if one.what == "ACK"] == acks * 3
    assert call.ended is None
    call.hang_up()


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
async def test_a_refused_call_is_over(world: Calls, status: int) -> None:
    call = dial(world)
    await world.replied(180)
    await world.replied(status, headers=[("Reason", "Q.850;cause=17")])
    with pytest.raises(CallOverError) as caught:
        await call.answered()
    assert caught.value.ended == call.ended == Ended(End.REFUSED, False, status, "Q.850;cause=17")
    assert call.final is not None
    assert call.final.status == status
    assert world.sent == ["INVITE", "ACK"]


async def test_a_call_that_nobody_responds_to_is_as_if_refused_with_408(world: Calls) -> None:
    call = dial(world)
    await world.after(32.1)
    assert call.ended == Ended(End.REFUSED, False, 408)


async def test_a_call_that_cannot_be_sent_is_over(world: Calls) -> None:
    world.carrier.broken.add("udp")
    call = dial(world)
    await world.after(0.1)
    assert call.ended == Ended(End.UNSENT, False, 503)


async def test_a_call_is_given_up_while_it_rings(world: Calls) -> None:
    call = dial(world)
    await world.replied(180)
    call.hang_up([("Reason", "SIP;cause=487")])
    assert call.ended == Ended(End.CANCELLED, True)
    assert world.last("CANCEL").headers.get("Reason") == "SIP;cause=487"
    told: list[int] = []
    call.on_progress = lambda response: told.append(response.status)
    await world.replied(183)
    world.answered(200, method="CANCEL")
    await world.replied(487)
    assert told == []
    assert call.ended == Ended(End.CANCELLED, True)
    assert world.sent == ["INVITE", "CANCEL", "ACK"]


async def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_ended(world: Calls) -> None:
    call = dial(world)
    await world.replied(180)
    call.hang_up()
    await world.replied(200, body=ANSWER.encode())
    assert world.sent == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert call.ended == Ended(End.CANCELLED, True)


async def test_a_call_given_up_before_anything_came_is_cancelled_once_something_does(world: Calls) -> None:
    call = dial(world)
    call.hang_up()
    assert world.sent == ["INVITE"]
    await world.replied(180)
    await world.replied(487)
    assert world.sent == ["INVITE", "CANCEL", "ACK"]


async def test_of_a_fork_the_first_answer_counts_and_later_ones_are_ended(world: Calls) -> None:
    call = dial(world)
    for tag in ("one", "two", "three"):
        await world.replied(180, tag=tag)
    assert len(world.ua.sessions) == 3
    await world.replied(200, tag="two", body=ANSWER.encode(), contact="<sip:two@192.0.2.22>")
    assert len(world.ua.sessions) == 1
    await call.answered()
    await world.replied(200, tag="one", body=ANSWER.encode(), contact="<sip:one@192.0.2.21>")
    assert world.sent == ["INVITE", "ACK", "ACK", "BYE"]
    assert remote_of(world, "ACK") == [("192.0.2.22", 5060), ("192.0.2.21", 5060)]
    assert remote_of(world, "BYE") == [("192.0.2.21", 5060)]
    await world.replied(200, tag="one", body=ANSWER.encode(), contact="<sip:one@192.0.2.21>")
    assert world.sent[4:] == ["ACK"]
    assert call.ended is None
    await world.callee_asks("BYE", tag="two")
    assert call.ended == Ended(End.HUNG_UP, False)


async def test_an_early_dialog_that_says_bye_does_not_end_the_call(world: Calls) -> None:
    call = dial(world)
    await world.replied(180, tag="one")
    await world.callee_asks("BYE", tag="one")
    assert call.ended is None
    await world.replied(200, tag="two", body=ANSWER.encode())
    await call.answered()
    call.hang_up()


@pytest.mark.parametrize("body", [b"", b"v=1\r\n"])
async def test_a_2xx_without_an_answer_to_our_offer_ends_the_call(world: Calls, body: bytes) -> None:
    call = dial(world)
    await world.replied(200, body=body)
    assert world.sent == ["INVITE", "ACK", "BYE"]
    assert call.ended == Ended(End.BROKEN, False)


async def test_a_2xx_that_names_no_place_to_acknowledge_it_ends_the_call(world: Calls) -> None:
    call = dial(world)
    await world.replied(180, contact="<tel:+8610>")
    await world.replied(200, body=ANSWER.encode(), contact="<tel:+8610>")
    assert world.sent == ["INVITE"]
    assert call.ended == Ended(End.BROKEN, False)


@pytest.mark.parametrize(
    ("status", "challenge", "told_in"),
    [
        (401, CHALLENGE, "Authorization"),
        (407, ("Proxy-Authenticate", 'Digest realm="proxy", nonce="n2"'), "Proxy-Authorization"),
    ],
)
async def test_a_challenge_is_answered(world: Calls, status: int, challenge: tuple[str, str], told_in: str) -> None:
    call = dial(world, DigestClient("user", "secret"))
    first = world.last("INVITE")
    assert told_in not in first.headers
    await world.replied(180)
    await world.replied(status, headers=[challenge])
    second = world.last("INVITE")
    assert 'username="user"' in (second.headers.get(told_in) or "")
    assert (second.call_id, second.from_, second.cseq.number) == (first.call_id, first.from_, 2)
    assert second.via.branch != first.via.branch
    assert len(second.vias) == 1
    await world.replied(200, body=ANSWER.encode())
    await call.answered()
    ack = world.last("ACK")
    assert ack.cseq.number == 2
    assert ack.headers.get(told_in) == second.headers.get(told_in)
    call.hang_up()
    bye = world.last("BYE")
    assert bye.cseq.number == 3
    assert 'username="user"' in (bye.headers.get(told_in) or "")
    world.answered(200, method="BYE")


async def test_refused_credentials_end_the_call(world: Calls) -> None:
    call = dial(world, DigestClient("user", "wrong"))
    await world.replied(401, headers=[CHALLENGE])
    await world.replied(401, headers=[CHALLENGE])
    assert world.sent.count("INVITE") == 2
    assert call.ended == Ended(End.REFUSED, False, 401)


async def test_a_challenge_without_credentials_ends_the_call(world: Calls) -> None:
    call = dial(world)
    await world.replied(401, headers=[CHALLENGE])
    assert world.sent == ["INVITE", "ACK"]
    assert call.ended == Ended(End.REFUSED, False, 401)


async def test_a_challenge_after_we_gave_up_is_not_answered(world: Calls) -> None:
    call = dial(world, DigestClient("user", "secret"))
    await world.replied(180)
    call.hang_up()
    await world.replied(401, headers=[CHALLENGE])
    assert world.sent == ["INVITE", "CANCEL", "ACK"]


async def test_a_challenged_bye_is_sent_again_with_credentials(world: Calls) -> None:
    call = await standing(world, DigestClient("user", "secret"))
    call.hang_up()
    bye = world.last("BYE")
    assert isinstance(bye, Request)
    world.arrive(response(bye, 401, headers=[CHALLENGE]))
    again = world.last("BYE")
    assert again.cseq.number == bye.cseq.number + 1
    assert 'username="user"' in (again.headers.get("Authorization") or "")
    world.answered(401, method="BYE")
    assert world.sent.count("BYE") == 2
    assert world.ua.sessions == {}


async def test_a_2xx_of_a_call_forgotten_long_ago_is_acknowledged_and_ended(world: Calls) -> None:
    contact = ("Contact", "<sip:callee@192.0.2.3:5080>")
    forgotten = request("INVITE", via="SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx", call_id="forgotten")
    for _ in range(2):
        world.arrive(response(forgotten, 200, tag="there", headers=[contact]))
    assert world.sent == ["ACK", "BYE", "ACK"]
    assert remote_of(world, "BYE") == [PEER]
    world.answered(200, method="BYE")
    assert world.ua.sessions == {}


@pytest.mark.parametrize("contact", [(), (("Contact", "<tel:+8610>"),)])
async def test_a_2xx_of_a_forgotten_call_without_a_place_to_acknowledge_it_is_dropped(
    world: Calls, contact: tuple[tuple[str, str], ...]
) -> None:
    forgotten = request("INVITE", via="SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx")
    world.arrive(response(forgotten, 200, tag="there", headers=contact))
    assert world.sent == []
    assert world.layer.stats.dropped_stray_response == 1
