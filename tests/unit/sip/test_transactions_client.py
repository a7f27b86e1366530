"""The client machine of all methods but INVITE, and what the layer does with requests that go out."""

from __future__ import annotations

import pytest
from signalbox.sip.message import response
from signalbox.sip.transactions.base import State
from support.sip_world import THERE, World, request

EVERY_SEND_S = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_a_request_is_sent_again_by_udp_until_time_is_out() -> None:
    world = World()
    world.send(request("OPTIONS"))
    world.clock.advance(31.99)
    assert world.times("OPTIONS") == EVERY_SEND_S
    assert world.events == []
    world.clock.advance(0.01)
    assert world.events == ["timeout"]
    assert world.layer.stats.timeouts == 1
    assert world.layer.stats.retransmitted == 10
    world.assert_over()


def test_by_tcp_it_is_sent_once() -> None:
    world = World()
    world.send(request("OPTIONS"), "tcp")
    world.clock.run_out()
    assert world.times("OPTIONS") == [0]
    assert world.events == ["timeout"]
    assert world.clock.now == 32
    world.assert_over()


def test_after_a_provisional_response_it_is_sent_again_every_four_seconds() -> None:
    world = World()
    world.send(request("BYE"))
    world.clock.advance(0.6)
    world.answered(100)
    world.clock.run_out()
    assert world.times("BYE") == [0, 0.5, 1.5, *(5.5 + 4 * n for n in range(7))]
    assert world.events == ["100", "timeout"]
    assert world.clock.now == 32
    world.assert_over()


def test_a_final_response_is_told_once_and_its_repetitions_are_absorbed() -> None:
    world = World()
    world.send(request("BYE"))
    world.answered(200)
    world.answered(200)
    world.clock.advance(4.9)
    world.answered(200)
    assert world.events == ["200"]
    assert world.layer.stats.repeated == 2
    world.clock.run_out()
    assert world.clock.now == 5
    assert world.times("BYE") == [0]
    world.assert_over()


def test_a_provisional_response_after_the_final_one_is_absorbed() -> None:
    world = World()
    world.send(request("BYE"))
    world.answered(404)
    world.answered(100)
    assert world.events == ["404"]
    assert world.layer.stats.repeated == 1


def test_by_tcp_a_final_response_ends_it_at_once() -> None:
    world = World()
    world.send(request("BYE"), "tcp")
    world.answered(200, "tcp")
    world.assert_over()
    world.answered(200, "tcp")
    assert world.events == ["200"]
    assert world.layer.stats.dropped_stray_response == 1


def test_what_cannot_be_sent_is_told() -> None:
    world = World()
    world.carrier.broken.add("udp")
    world.send(request("OPTIONS"))
    assert world.events == []
    world.clock.run_out()
    assert world.events == ["failure: the road is closed"]
    assert world.clock.now == 0
    world.assert_over()


def test_a_retransmission_that_cannot_be_sent_ends_it() -> None:
    world = World()
    world.send(request("OPTIONS"))
    world.carrier.broken.add("udp")
    world.clock.run_out()
    assert world.events == ["failure: the road is closed"]
    assert world.clock.now == 0.5
    world.assert_over()


def test_each_request_has_a_via_with_a_branch_of_its_own() -> None:
    world = World()
    again = request("OPTIONS")
    world.send(again)
    world.send(again)
    world.send(again, "tcp")
    vias = [one.message.vias for one in world.carrier.sent]
    assert [len(one) for one in vias] == [1, 1, 1]
    assert {one[0].branch[:7] for one in vias} == {"z9hG4bK"}
    assert len({one[0].branch for one in vias}) == 3
    assert [one[0].transport for one in vias] == ["UDP", "UDP", "TCP"]
    assert {one[0].sent_by for one in vias} == {"192.0.2.1:5060"}
    assert all("rport" in one[0].params for one in vias)


def test_a_response_goes_to_the_transaction_of_its_branch_and_method() -> None:
    world = World()
    first = world.send(request("OPTIONS"))
    second = world.send(request("OPTIONS"))
    wrong = response(second.request, 200, tag="there")
    wrong.headers.set("CSeq", "1 BYE")
    world.arrive(wrong)
    assert world.events == []
    world.arrive(response(second.request, 200, tag="there"))
    assert world.events == ["200"]
    assert (first.state, second.state) == (State.TRYING, State.COMPLETED)


@pytest.mark.parametrize(("bytes_over", "protocol"), [(0, "udp"), (1, "tcp")])
def test_a_request_above_1300_bytes_goes_by_tcp(bytes_over: int, protocol: str) -> None:
    world = World()
    world.send(request("MESSAGE", call_id="size", body=b"x"))
    bare = len(world.carrier.sent[0].message.encode()) - 1
    padding = 1300 - bare + bytes_over
    # The length of Content-Length itself changes with the body.
    world.send(request("MESSAGE", call_id="size", body=b"x" * (padding - len(str(padding)) + 1)))
    sent = world.carrier.sent[1]
    assert (sent.protocol, sent.message.via.transport) == (protocol, protocol.upper())


def test_a_large_request_goes_by_udp_where_we_do_not_listen_to_tcp() -> None:
    world = World(protocols=["udp"])
    world.send(request("MESSAGE", body=b"x" * 1300))
    assert world.carrier.sent[0].protocol == "udp"


def test_a_large_request_goes_by_udp_after_all_if_the_peer_takes_no_connection() -> None:
    world = World()
    world.carrier.broken.add("tcp")
    world.send(request("MESSAGE", body=b"x" * 1300))
    world.clock.advance(0.5)
    assert [(one.protocol, one.message.via.transport) for one in world.carrier.sent] == [
        ("tcp", "TCP"), ("udp", "UDP"), ("udp", "UDP"),
    ]  # fmt: skip
    world.answered(200)
    assert world.events == ["200"]
    world.send(request("MESSAGE", body=b"x" * 1300))
    assert world.carrier.sent[-1].protocol == "udp"
    world.answered(200)
    world.clock.advance(300)
    world.carrier.broken.clear()
    world.send(request("MESSAGE", body=b"x" * 1300))
    assert world.carrier.sent[-1].protocol == "tcp"
    world.answered(200, "tcp")
    world.clock.run_out()
    world.assert_over()


def test_if_udp_fails_too_that_is_told() -> None:
    world = World()
    world.carrier.broken |= {"tcp", "udp"}
    world.send(request("MESSAGE", body=b"x" * 1300))
    world.clock.advance(1)
    assert world.events == ["failure: the road is closed"]
    assert len(world.layer) == 0
    world.layer.close()
    world.assert_over()


def test_the_ack_of_a_2xx_is_sent_without_a_transaction_and_again_as_it_was() -> None:
    world = World()
    again = world.layer.send_ack(request("ACK", to_tag="there"), "udp", THERE)
    again()
    first, second = world.carrier.sent
    assert first.message == second.message
    assert first.message.via.branch.startswith("z9hG4bK")
    assert world.layer.stats.retransmitted == 1
    world.assert_over()


def test_a_stray_2xx_of_an_invite_is_told_if_it_answers_us() -> None:
    world = World()
    ours = request("INVITE", branch="z9hG4bKlong-ago", sent_by="192.0.2.1:5060")
    foreign = request("INVITE", branch="z9hG4bKlong-ago", sent_by="192.0.2.9:5060")
    for invite in (ours, foreign):
        world.arrive(response(invite, 200, tag="there"))
        world.arrive(response(invite, 486, tag="there"))
    assert world.events == ["stray 200"]
    assert world.layer.stats.dropped_foreign_response == 1
    assert world.layer.stats.dropped_stray_response == 2


def test_closing_ends_all_without_a_word() -> None:
    world = World()
    world.send(request("OPTIONS"))
    world.send(request("INVITE"))
    world.arrive(request("INVITE", branch="z9hG4bKone"))
    world.arrive(request("OPTIONS", branch="z9hG4bKtwo"))
    assert len(world.layer) == 4
    world.layer.close()
    world.assert_over()
    assert world.events == ["INVITE", "OPTIONS"]
