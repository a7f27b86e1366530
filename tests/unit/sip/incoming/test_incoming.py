"""Calls that come in: rung, answered, given up, hung up by either side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.sip import content
from signalbox.sip.ended import CallOverError, End, Ended
from support.sip_answering import answered, answering
from support.sip_calls import ANSWER, OFFER, Calls, settle
from support.sip_world import of_invite

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall


async def test_a_call_is_rung_answered_and_hung_up_by_the_caller(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring(headers=[("Alert-Info", "<urn:alert:source:external>")])
        await call.answer(ANSWER, [("Server", "test")])
        world.events.append("stands")
        world.events.append(str(await call.over()))

    world.handler = handler  # type: ignore[method-assign]
    await world.invited([("Record-Route", "<sip:192.0.2.7;lr>")])
    assert world.sent == ["180", "200"]
    assert world.events == []
    ok = world.last_response(200)
    assert ok.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert ok.headers.get("Allow") == "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, OPTIONS"
    assert ok.headers.get("Record-Route") == "<sip:192.0.2.7;lr>"
    assert ok.headers.get("Server") == "test"
    assert content.description(ok) == ANSWER
    assert world.last_response(180).to.tag == ok.to.tag
    await world.asked("ACK")
    assert world.events == ["stands"]
    assert (world.call.remote, world.call.local) == (OFFER, ANSWER)
    await world.asked("BYE", headers=[("Reason", "Q.850;cause=16")])
    assert world.call.ended == Ended(End.HUNG_UP, False, reason="Q.850;cause=16")
    assert world.events[1:] == [str(world.call.ended)]
    assert world.sent == ["180", "200", "200"]


async def test_hanging_up_sends_bye_by_the_route_of_the_call(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited([("Record-Route", "<sip:192.0.2.7:5070;lr>")])
    await world.asked("ACK")
    world.call.hang_up([("Reason", "Q.850;cause=31")])
    assert world.call.ended == Ended(End.HUNG_UP, True)
    assert len(world.ua.sessions) == 1
    bye = world.carrier.sent[-1]
    assert (bye.what, bye.remote) == ("BYE", ("192.0.2.7", 5070))
    assert bye.message.headers.get("Reason") == "Q.850;cause=31"
    world.call.hang_up()
    assert world.sent.count("BYE") == 1
    world.answered(100)
    assert len(world.ua.sessions) == 1
    world.answered(200)
    assert world.ua.sessions == {}


async def test_a_bye_that_nobody_answers_ends_the_dialog_all_the_same(world: Calls) -> None:
    await answered(world)
    world.call.hang_up()
    world.clock.advance(32.1)
    assert world.ua.sessions == {}


async def test_a_bye_that_cannot_be_sent_ends_the_dialog_all_the_same(world: Calls) -> None:
    await answered(world)
    world.carrier.broken.add("udp")
    world.call.hang_up()
    world.clock.advance(0.1)
    assert world.ua.sessions == {}


async def test_both_hang_up_at_once(world: Calls) -> None:
    await answered(world)
    world.call.hang_up()
    await world.asked("BYE")
    assert world.sent[-2:] == ["BYE", "200"]
    assert world.call.ended == Ended(End.HUNG_UP, True)


async def test_the_2xx_is_sent_again_until_its_ack_comes_also_by_tcp(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(protocol="tcp")
    await world.after(8)
    assert world.times("200") == [0, 0.5, 1.5, 3.5, 7.5]
    await world.asked("ACK", cseq=7)
    await world.after(5)
    assert world.times("200")[5:] == [11.5]
    await world.asked("ACK")
    await world.asked("ACK")
    await world.after(60)
    assert len(world.times("200")) == 6
    assert world.call.ended is None
    world.call.hang_up()


async def test_a_2xx_that_is_never_acknowledged_ends_in_bye(world: Calls) -> None:
    failed: list[CallOverError] = []

    async def handler(call: IncomingCall) -> None:
        with pytest.raises(CallOverError) as caught:
            await call.answer(ANSWER)
        failed.append(caught.value)

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.after(31.9)
    assert "BYE" not in world.sent
    await world.after(0.2)
    assert world.sent[-1] == "BYE"
    assert failed[0].ended == Ended(End.UNACKNOWLEDGED, False)


async def test_who_hangs_up_before_the_ack_has_the_bye_sent_after_it(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited()
    world.call.hang_up()
    await settle()
    assert world.sent == ["200"]
    await world.asked("ACK")
    assert world.sent == ["200", "BYE"]
    await world.asked("ACK")
    assert world.sent == ["200", "BYE"]


async def test_who_hangs_up_and_gets_no_ack_has_the_bye_sent_in_the_end(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited()
    world.call.hang_up()
    await world.after(32.1)
    assert world.sent[-1] == "BYE"
    assert world.call.ended == Ended(End.HUNG_UP, True)


async def test_a_bye_instead_of_the_ack_ends_the_call(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited()
    await world.asked("BYE")
    await world.after(60)
    assert world.sent == ["200", "200"]
    assert world.call.ended == Ended(End.HUNG_UP, False)
    await world.asked("ACK")


async def test_the_caller_gives_up(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        await call.over()
        with pytest.raises(CallOverError, match="the call is over: cancelled"):
            call.ring()
        with pytest.raises(CallOverError):
            await call.answer(ANSWER)
        with pytest.raises(CallOverError):
            call.reject(486)
        world.events.append("told")

    world.handler = handler  # type: ignore[method-assign]
    invite = await world.invited()
    cancel = of_invite(invite, "CANCEL")
    cancel.headers.add("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
    world.arrive(cancel)
    await settle()
    assert world.sent == ["180", "200", "487"]
    assert world.last_response(487).to.tag == world.last_response(180).to.tag
    assert world.call.ended == Ended(End.CANCELLED, False, 487, 'SIP;cause=200;text="Call completed elsewhere"')
    assert world.events == ["told"]


async def test_a_cancel_after_the_answer_changes_nothing(world: Calls) -> None:
    world.handler = answering  # type: ignore[method-assign]
    invite = await world.invited()
    world.arrive(of_invite(invite, "CANCEL"))
    await world.asked("ACK")
    assert world.sent == ["200", "200"]
    assert world.call.ended is None
    world.call.hang_up()


async def test_a_bye_before_the_answer_ends_the_invite_too(world: Calls) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring()
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited()
    await world.asked("BYE")
    assert world.sent == ["180", "200", "487"]
    assert world.call.ended == Ended(End.HUNG_UP, False)
