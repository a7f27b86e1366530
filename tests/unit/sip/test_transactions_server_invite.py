"""The server machine of INVITE, its ACK, and its CANCEL."""

from __future__ import annotations

import pytest
from signalbox.sip.message import Request, response
from signalbox.sip.transactions.base import State
from signalbox.sip.transactions.server_invite import InviteServerTransaction
from support.sip_world import World, of_invite, request

BRANCH = "z9hG4bKinvite"
OLD_VIA = "SIP/2.0/UDP 192.0.2.2:5060;branch=1"


def invited(world: World, protocol: str = "udp", **more: object) -> InviteServerTransaction:
    how = {"branch": BRANCH, "protocol": protocol.upper(), **more}
    world.arrive(request("INVITE", **how), protocol)  # type: ignore[arg-type]
    tx = world.user.requests[-1]
    assert isinstance(tx, InviteServerTransaction)
    return tx


def answer(world: World, tx: InviteServerTransaction, status: int) -> bool:
    return tx.respond(response(world.user.asked[tx], status, tag=tx.tag))


def test_who_does_not_answer_within_200_ms_has_the_caller_told_to_be_patient() -> None:
    world = World()
    tx = invited(world, headers=[("Timestamp", "54")])
    world.clock.advance(0.19)
    assert world.sent == []
    world.clock.advance(0.02)
    assert world.times("100") == [0.2]
    trying = world.carrier.sent[0].message
    assert trying.to.tag == ""
    assert trying.headers.get("Timestamp") == "54"
    world.arrive(world.user.asked[tx])
    assert world.sent == ["100", "100"]
    world.clock.advance(3600)
    assert world.sent == ["100", "100"]
    assert tx.state is State.PROCEEDING


def test_who_answers_at_once_makes_no_100() -> None:
    world = World()
    tx = invited(world)
    world.arrive(world.user.asked[tx])
    assert world.sent == []
    assert answer(world, tx, 180)
    world.clock.advance(10)
    world.arrive(world.user.asked[tx])
    assert world.sent == ["180", "180"]
    assert world.events == ["INVITE"]


def test_a_failure_is_sent_again_until_it_is_acknowledged_and_the_ack_is_absorbed() -> None:
    world = World()
    tx = invited(world)
    assert answer(world, tx, 486)
    world.clock.advance(4)
    assert world.times("486") == [0, 0.5, 1.5, 3.5]
    world.arrive(world.user.asked[tx])
    assert world.times("486") == [0, 0.5, 1.5, 3.5, 4]
    ack = of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag)
    world.arrive(ack)
    assert tx.state is State.CONFIRMED
    world.clock.advance(4.9)
    world.arrive(ack)
    world.arrive(world.user.asked[tx])
    assert world.times("486") == [0, 0.5, 1.5, 3.5, 4]
    assert world.events == ["INVITE"]
    assert world.layer.stats.repeated == 3
    world.clock.run_out()
    assert world.clock.now == 9
    world.assert_over()


def test_a_failure_that_nobody_acknowledges_is_given_up_and_told() -> None:
    world = World()
    tx = invited(world)
    told: list[float] = []
    tx.on_timeout = lambda: told.append(world.clock.now)
    answer(world, tx, 486)
    world.clock.run_out()
    assert world.times("486") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert told == [32]
    assert world.layer.stats.timeouts == 1
    world.assert_over()


def test_by_tcp_a_failure_is_sent_once_and_the_ack_ends_it() -> None:
    world = World()
    tx = invited(world, "tcp")
    answer(world, tx, 486)
    world.clock.advance(31)
    assert world.sent == ["486"]
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag), "tcp")
    assert world.events == ["INVITE"]
    world.assert_over()


def test_by_tcp_a_missing_ack_is_given_up_too() -> None:
    world = World()
    tx = invited(world, "tcp")
    answer(world, tx, 486)
    world.clock.run_out()
    assert world.clock.now == 32
    assert world.sent == ["486"]
    world.assert_over()


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_2xx_is_the_users_to_send_again_and_the_invite_is_absorbed_meanwhile(protocol: str) -> None:
    world = World()
    tx = invited(world, protocol)
    assert answer(world, tx, 200)
    world.arrive(world.user.asked[tx], protocol)
    assert world.sent == ["200"]
    tx.retransmit()
    assert answer(world, tx, 200)
    assert not answer(world, tx, 486)
    assert not answer(world, tx, 180)
    assert world.sent == ["200", "200", "200"]
    assert world.events == ["INVITE"]
    world.clock.run_out()
    assert world.clock.now == 32
    world.assert_over()
    assert not answer(world, tx, 200)


def test_the_ack_of_a_2xx_is_the_users_with_a_branch_of_its_own_or_the_invites() -> None:
    world = World()
    tx = invited(world)
    answer(world, tx, 200)
    world.arrive(request("ACK", branch="z9hG4bKack", to_tag=tx.tag))
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag))
    assert world.events == ["INVITE", "ACK", "ACK"]
    world.clock.run_out()
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag))
    assert world.events == ["INVITE", "ACK", "ACK", "ACK"]
    assert world.sent == ["200"]


def test_an_ack_before_any_final_response_is_dropped() -> None:
    world = World()
    tx = invited(world)
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag="there"))
    assert world.events == ["INVITE"]
    assert world.layer.stats.dropped_early_ack == 1
    assert tx.state is State.PROCEEDING


def test_after_a_failure_there_is_no_other_answer() -> None:
    world = World()
    tx = invited(world)
    answer(world, tx, 486)
    assert not answer(world, tx, 200)
    assert not answer(world, tx, 180)
    assert not answer(world, tx, 487)
    assert world.sent == ["486"]


def test_a_cancel_is_answered_and_told_and_the_user_ends_the_invite() -> None:
    world = World()
    tx = invited(world)
    answer(world, tx, 180)
    told: list[Request] = []
    tx.on_cancel = told.append
    cancel = of_invite(world.user.asked[tx], "CANCEL")
    cancel.headers.add("Reason", "SIP;cause=200")
    world.arrive(cancel)
    world.arrive(cancel)
    assert world.sent == ["180", "200", "200"]
    assert [one.headers.get("Reason") for one in told] == ["SIP;cause=200"]
    assert {one.message.to.tag for one in world.carrier.sent} == {tx.tag}
    assert world.carrier.sent[1].message.cseq.method == "CANCEL"
    assert answer(world, tx, 487)
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag))
    world.clock.run_out()
    assert world.events == ["INVITE"]
    world.assert_over()


def test_without_a_user_that_wants_to_know_a_cancelled_invite_is_answered_487() -> None:
    world = World()
    tx = invited(world)
    world.arrive(of_invite(world.user.asked[tx], "CANCEL"))
    assert world.sent == ["200", "487"]
    assert {one.message.to.tag for one in world.carrier.sent} == {tx.tag}
    assert tx.state is State.COMPLETED


@pytest.mark.parametrize("status", [200, 486])
def test_a_cancel_that_crosses_the_final_response_changes_nothing(status: int) -> None:
    world = World()
    tx = invited(world)
    told: list[Request] = []
    tx.on_cancel = told.append
    answer(world, tx, status)
    world.arrive(of_invite(world.user.asked[tx], "CANCEL"))
    assert world.sent == [str(status), "200"]
    assert told == []


def test_a_cancel_of_nothing_we_know_gets_481() -> None:
    world = World()
    cancel = request("CANCEL", branch="z9hG4bKunknown")
    world.arrive(cancel)
    world.arrive(cancel)
    assert world.sent == ["481", "481"]
    assert world.events == []
    world.clock.run_out()
    world.assert_over()


def test_a_cancel_of_what_is_no_invite_gets_481_and_changes_nothing() -> None:
    world = World()
    world.arrive(request("OPTIONS", branch=BRANCH, call_id="one"))
    world.arrive(request("CANCEL", branch=BRANCH, call_id="one"))
    assert world.sent == ["481"]


def test_an_answer_that_cannot_be_sent_ends_the_invite_unless_it_is_a_2xx() -> None:
    world = World()
    world.carrier.broken.add("udp")
    for branch, status, over in (("z9hG4bKa", 486, True), ("z9hG4bKb", 180, True), ("z9hG4bKc", 200, False)):
        tx = invited(world, branch=branch)
        told: list[str] = []
        tx.on_failure = lambda error, told=told: told.append(str(error))
        answer(world, tx, status)
        world.clock.advance(0)
        assert told == ["the road is closed"]
        assert (tx.state is State.TERMINATED) is over
    assert world.user.requests[2].state is State.ACCEPTED
    world.clock.run_out()
    world.assert_over()


def test_by_rfc_2543_the_ack_is_known_by_the_tag_of_the_response() -> None:
    world = World()
    tx = invited(world, branch=None, via=OLD_VIA)
    world.arrive(world.user.asked[tx])
    assert world.events == ["INVITE"]
    answer(world, tx, 486)
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag="another"))
    assert world.events == ["INVITE", "ACK"]
    assert tx.state is State.COMPLETED
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag))
    assert tx.state is State.CONFIRMED
    assert world.events == ["INVITE", "ACK"]
    world.clock.run_out()
    world.arrive(of_invite(world.user.asked[tx], "ACK", to_tag=tx.tag))
    assert world.events == ["INVITE", "ACK", "ACK"]
    world.assert_over()


def test_by_rfc_2543_a_cancel_finds_its_invite() -> None:
    world = World()
    tx = invited(world, branch=None, via=OLD_VIA)
    world.arrive(of_invite(world.user.asked[tx], "CANCEL"))
    assert world.sent == ["200", "487"]


def test_a_100_does_not_go_out_after_the_end() -> None:
    world = World()
    tx = invited(world)
    world.layer.close()
    world.clock.advance(1)
    assert world.sent == []
    assert tx.state is State.TERMINATED
