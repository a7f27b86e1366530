"""The client machine of INVITE, and the CANCEL of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.sip.message import Request, Response, response
from signalbox.sip.transactions.base import State
from support.sip_world import THERE, World, request

if TYPE_CHECKING:
    from signalbox.sip.transactions.client_invite import InviteClientTransaction


def invite(world: World, protocol: str = "udp", **more: object) -> InviteClientTransaction:
    return world.layer.invite(request("INVITE", **more), protocol, THERE, world.user)  # type: ignore[arg-type]


def test_an_invite_is_sent_again_at_doubling_intervals_until_time_is_out() -> None:
    world = World()
    invite(world)
    world.clock.run_out()
    assert world.times("INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert world.events == ["timeout"]
    assert world.clock.now == 32
    world.assert_over()


def test_by_tcp_it_is_sent_once_and_times_out_too() -> None:
    world = World()
    invite(world, "tcp")
    world.clock.run_out()
    assert world.times("INVITE") == [0]
    assert (world.events, world.clock.now) == (["timeout"], 32)
    world.assert_over()


def test_once_there_is_a_provisional_response_it_waits_for_ever() -> None:
    world = World()
    tx = invite(world)
    world.clock.advance(0.6)
    world.answered(100)
    world.answered(180)
    world.clock.advance(3600)
    assert world.times("INVITE") == [0, 0.5]
    assert world.events == ["100", "180"]
    assert tx.state is State.PROCEEDING
    assert world.clock.pending == 0


@pytest.mark.parametrize("before", [[], [180]], ids=["at once", "after ringing"])
def test_a_failure_is_acknowledged_each_time_it_comes_and_told_once(before: list[int]) -> None:
    world = World()
    tx = invite(world, headers=[("Route", "<sip:192.0.2.2;lr>, <sip:192.0.2.3;lr>"), ("Contact", "<sip:192.0.2.1>")])
    for status in [*before, 486, 486]:
        world.answered(status)
    world.clock.advance(31.9)
    world.answered(486)
    world.answered(180)
    assert world.events == [*map(str, before), "486"]
    assert world.times("ACK") == [0, 0, 31.9]
    ack = world.carrier.sent[-1].message
    sent = tx.request
    assert isinstance(ack, Request)
    assert (ack.uri, ack.call_id, str(ack.cseq), ack.body) == (sent.uri, sent.call_id, "1 ACK", b"")
    assert ack.headers.all("Via") == sent.headers.all("Via")
    assert ack.headers.all("Route") == sent.headers.all("Route")
    assert ack.headers.get("From") == sent.headers.get("From")
    assert ack.to.tag == "there"
    assert "Contact" not in ack.headers
    assert tx.state is State.COMPLETED
    world.clock.run_out()
    assert world.clock.now == 32
    world.assert_over()


def test_by_tcp_a_failure_is_acknowledged_and_over() -> None:
    world = World()
    invite(world, "tcp")
    world.answered(503, "tcp")
    assert world.sent == ["INVITE", "ACK"]
    assert world.carrier.sent[1].protocol == "tcp"
    assert world.events == ["503"]
    world.assert_over()


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_every_2xx_is_the_users_to_acknowledge(protocol: str) -> None:
    world = World()
    tx = invite(world, protocol)
    world.answered(180, protocol)
    world.answered(200, protocol)
    world.answered(200, protocol)
    world.answered(200, protocol, tag="another-branch-of-a-fork")
    world.answered(180, protocol)
    world.answered(486, protocol)
    assert world.events == ["180", "200", "200", "200"]
    assert world.sent == ["INVITE"]
    assert tx.state is State.ACCEPTED
    world.clock.run_out()
    assert world.clock.now == 32
    world.assert_over()


def test_a_2xx_after_a_failure_is_told_as_stray_for_somebody_waits_for_its_ack() -> None:
    world = World()
    tx = invite(world)
    world.answered(180)
    world.answered(487)
    world.answered(200, tag="answered-as-it-was-cancelled")
    assert world.events == ["180", "487", "stray 200"]
    assert tx.state is State.COMPLETED


def test_an_invite_that_was_answered_has_arrived_whatever_becomes_of_its_connection() -> None:
    world = World()
    world.carrier.broken.add("tcp")
    tx = invite(world, "tcp")
    large = invite(world, body=b"x" * 1300)
    for one in (tx, large):
        world.arrive(response(one.request, 180, tag="there"), "tcp")
    world.clock.advance(3600)
    assert world.events == ["180", "180"]
    assert world.sent == ["INVITE", "INVITE"]
    assert (tx.state, large.state) == (State.PROCEEDING, State.PROCEEDING)


def test_what_cannot_be_sent_is_told() -> None:
    world = World()
    world.carrier.broken.add("tcp")
    invite(world, "tcp")
    world.clock.run_out()
    assert world.events == ["failure: the road is closed"]
    world.assert_over()


def test_that_an_ack_cannot_be_sent_changes_nothing() -> None:
    world = World()
    invite(world)
    world.carrier.broken.add("udp")
    world.answered(486)
    world.clock.run_out()
    assert world.events == ["486"]
    assert world.clock.now == 32
    world.assert_over()


def test_cancel_waits_for_a_provisional_response() -> None:
    world = World()
    tx = invite(world, headers=[("Route", "<sip:192.0.2.2;lr>")])
    tx.cancel([("Reason", 'SIP;cause=200;text="Call completed elsewhere"')])
    tx.cancel()
    world.clock.advance(0.4)
    assert world.sent == ["INVITE"]
    world.answered(180)
    world.answered(180, method="INVITE")
    assert world.sent == ["INVITE", "CANCEL"]
    cancel = world.carrier.sent[1].message
    assert isinstance(cancel, Request)
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    for name in ("Via", "Route", "From", "To", "Call-ID"):
        assert cancel.headers.all(name) == tx.request.headers.all(name)
    assert (cancel.uri, str(cancel.cseq)) == (tx.request.uri, "1 CANCEL")
    world.answered(200, method="CANCEL")
    world.answered(487, method="INVITE")
    assert world.events == ["180", "180", "487"]
    assert world.sent == ["INVITE", "CANCEL", "ACK"]
    world.clock.run_out()
    world.assert_over()


def test_cancel_after_a_provisional_response_goes_at_once_and_again_until_answered() -> None:
    world = World()
    tx = invite(world)
    world.answered(180)
    tx.cancel()
    tx.cancel()
    world.clock.advance(2)
    assert world.times("CANCEL") == [0, 0.5, 1.5]
    world.answered(200, method="CANCEL")
    world.answered(487, method="INVITE")
    world.clock.run_out()
    assert world.times("CANCEL") == [0, 0.5, 1.5]
    world.assert_over()


def test_a_cancelled_invite_that_is_never_answered_times_out() -> None:
    world = World()
    tx = invite(world)
    world.answered(180)
    world.clock.advance(100)
    tx.cancel()
    world.answered(200, method="CANCEL")
    world.clock.run_out()
    assert world.events == ["180", "timeout"]
    assert world.clock.now == 132
    world.assert_over()


def test_a_cancelled_invite_without_any_response_times_out_and_no_cancel_is_sent() -> None:
    world = World()
    invite(world).cancel()
    world.clock.run_out()
    assert "CANCEL" not in world.sent
    assert (world.events, world.clock.now) == (["timeout"], 32)
    world.assert_over()


@pytest.mark.parametrize("cancel_answer", [200, 481])
def test_a_2xx_may_cross_the_cancel(cancel_answer: int) -> None:
    world = World()
    tx = invite(world)
    world.answered(180)
    tx.cancel()
    world.answered(200, method="INVITE")
    world.answered(cancel_answer, method="CANCEL")
    assert world.events == ["180", "200"]
    world.clock.run_out()
    world.assert_over()


@pytest.mark.parametrize("status", [200, 486])
def test_cancel_after_a_final_response_does_nothing(status: int) -> None:
    world = World()
    tx = invite(world)
    world.answered(status)
    tx.cancel()
    world.answered(180)
    world.clock.run_out()
    tx.cancel()
    assert "CANCEL" not in world.sent
    world.assert_over()


def test_a_final_response_before_the_awaited_provisional_one_makes_the_cancel_needless() -> None:
    world = World()
    tx = invite(world)
    tx.cancel()
    world.answered(486)
    world.clock.run_out()
    assert world.sent == ["INVITE", "ACK"]
    world.assert_over()


def test_that_a_cancel_cannot_be_sent_leaves_the_invite_to_its_end() -> None:
    world = World()
    tx = invite(world)
    world.answered(180)
    world.carrier.broken.add("udp")
    tx.cancel()
    world.clock.run_out()
    assert world.events == ["180", "timeout"]
    world.assert_over()


def test_a_large_invite_that_fell_back_is_cancelled_and_acknowledged_by_udp() -> None:
    world = World()
    world.carrier.broken.add("tcp")
    tx = invite(world, body=b"x" * 1300)
    world.clock.advance(0)
    world.answered(180)
    tx.cancel()
    world.answered(487, method="INVITE")
    assert [(one.what, one.protocol, one.message.via.transport) for one in world.carrier.sent] == [
        ("INVITE", "tcp", "TCP"), ("INVITE", "udp", "UDP"), ("CANCEL", "udp", "UDP"), ("ACK", "udp", "UDP"),
    ]  # fmt: skip


def test_a_response_that_comes_when_all_is_over_is_dropped() -> None:
    world = World()
    tx = invite(world)
    sent: Response = response(tx.request, 486, tag="there")
    world.clock.run_out()
    world.arrive(sent)
    assert world.events == ["timeout"]
    assert world.layer.stats.dropped_stray_response == 1


def test_send_makes_an_invite_of_an_invite() -> None:
    world = World()
    world.send(request("INVITE"))
    world.clock.run_out()
    assert world.times("INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
