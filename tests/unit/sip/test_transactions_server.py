"""The server machine of all methods but INVITE, and what the layer does with requests that come in."""

from __future__ import annotations

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Request, response
from signalbox.sip.source import Source
from signalbox.sip.transactions.base import State
from structlog.testing import capture_logs
from support.sip_world import HERE, THERE, World, request


def options(branch: str = "z9hG4bKone", **more: object) -> Request:
    return request("OPTIONS", branch=branch, **more)  # type: ignore[arg-type]


def test_a_request_is_told_once_and_its_repetitions_are_absorbed_until_it_is_answered() -> None:
    world = World()
    first = options()
    world.arrive(first)
    world.arrive(first)
    assert world.events == ["OPTIONS"]
    assert world.sent == []
    assert world.layer.stats.repeated == 1


def test_a_provisional_response_is_sent_again_for_each_repetition() -> None:
    world = World()
    first = options()
    world.arrive(first)
    tx = world.user.requests[0]
    assert tx.respond(response(first, 100))
    world.arrive(first)
    assert world.sent == ["100", "100"]
    assert tx.state is State.PROCEEDING


def test_a_final_response_is_sent_again_for_each_repetition_until_the_caller_must_have_given_up() -> None:
    world = World()
    first = options()
    world.arrive(first)
    tx = world.user.requests[0]
    world.clock.advance(1)
    assert tx.respond(response(first, 200, tag=tx.tag))
    world.clock.advance(31.9)
    world.arrive(first)
    assert world.times("200") == [1, 32.9]
    assert world.carrier.sent[0].message == world.carrier.sent[1].message
    assert world.layer.stats.retransmitted == 1
    world.clock.run_out()
    assert world.clock.now == 33
    world.assert_over()
    world.arrive(first)
    assert world.events == ["OPTIONS", "OPTIONS"]


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE"])
@pytest.mark.parametrize("status", [200, 404])
def test_after_the_final_response_the_request_is_not_kept(method: str, status: int) -> None:
    world = World()
    via = "SIP/2.0/UDP 192.0.2.2:5080;branch=z9hG4bKone, SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKlower"
    whole = request(method, via=via, headers=[("Contact", "<sip:192.0.2.2>")], body=b"much")
    world.arrive(whole)
    tx = world.user.requests[0]
    assert tx.request is world.user.asked[tx]
    tag = tx.tag
    assert tx.respond(response(whole, status, tag=tag))
    assert (tx.request, tx.tag) == (None, tag)
    tx.retransmit()
    assert [(one.message, one.remote) for one in world.carrier.sent] == [
        (response(whole, status, tag=tag), ("192.0.2.2", 5080))
    ] * 2


def test_by_tcp_a_final_response_ends_it_at_once() -> None:
    world = World()
    world.arrive(options(protocol="TCP"), "tcp")
    tx = world.user.requests[0]
    assert tx.respond(response(world.user.asked[tx], 200, tag=tx.tag))
    world.assert_over()


def test_after_a_final_response_there_is_no_other() -> None:
    world = World()
    world.arrive(options())
    tx = world.user.requests[0]
    assert tx.respond(response(world.user.asked[tx], 200))
    assert not tx.respond(response(world.user.asked[tx], 404))
    assert not tx.respond(response(world.user.asked[tx], 100))
    assert world.sent == ["200"]
    world.clock.run_out()
    assert not tx.respond(response(world.user.asked[tx], 200))


def test_a_request_that_nobody_answers_in_time_is_forgotten() -> None:
    world = World()
    world.arrive(options())
    world.clock.run_out()
    assert world.clock.now == 32
    assert world.layer.stats.timeouts == 1
    assert world.sent == []
    world.assert_over()
    tx = world.user.requests[0]
    assert not tx.respond(response(world.user.asked[tx], 200))


def test_a_response_that_cannot_be_sent_ends_it_and_is_told() -> None:
    world = World()
    world.carrier.broken.add("udp")
    world.arrive(options())
    tx = world.user.requests[0]
    told: list[str] = []
    tx.on_failure = lambda error: told.append(str(error))
    tx.respond(response(world.user.asked[tx], 200))
    tx.retransmit()
    world.clock.advance(0)
    assert told == ["the road is closed"]
    world.assert_over()


def test_the_tag_is_the_dialogs_or_one_of_our_own() -> None:
    world = World()
    world.arrive(options("z9hG4bKone", to_tag="dialog"))
    world.arrive(options("z9hG4bKtwo"))
    world.arrive(options("z9hG4bKthree"))
    in_dialog, one, other = world.user.requests
    assert in_dialog.tag == "dialog"
    assert one.tag == one.tag
    assert one.tag != other.tag
    assert len(one.tag) == 16


@pytest.mark.parametrize(
    "other",
    [
        options("z9hG4bKtwo", call_id="same"),
        options("z9hG4bKone", call_id="same", sent_by="192.0.2.2:5070"),
        options("z9hG4bKone", call_id="same", sent_by="192.0.2.3:5060"),
        request("BYE", branch="z9hG4bKone", call_id="same"),
    ],
    ids=["branch", "port", "host", "method"],
)
def test_another_branch_sent_by_or_method_is_another_transaction(other: Request) -> None:
    world = World()
    world.arrive(options(call_id="same"))
    world.arrive(other)
    assert len(world.user.requests) == 2


def test_a_branch_that_a_stateless_proxy_gives_to_all_calls_does_not_make_them_one_transaction() -> None:
    world = World()
    for one in (("a", 2), ("b", 2), ("a", 3), ("a", 2)):
        world.arrive(request("BYE", branch="z9hG4bKcydzigwkX", call_id=one[0], cseq=one[1]))
    assert [(tx.request.call_id, tx.request.cseq.number) for tx in world.user.requests] == [
        ("a", 2),
        ("b", 2),
        ("a", 3),
    ]


OLD_VIA = "SIP/2.0/UDP 192.0.2.2:5060"


@pytest.mark.parametrize("via", [OLD_VIA, f"{OLD_VIA};branch=1", f"{OLD_VIA};branch=Z9HG4BK1"])
def test_without_the_cookie_requests_are_matched_by_what_rfc_2543_has(via: str) -> None:
    world = World()
    world.arrive(request("OPTIONS", via=via, call_id="old"))
    world.arrive(request("OPTIONS", via=via, call_id="old"))
    assert len(world.user.requests) == 1
    for other in (
        request("OPTIONS", via=via, call_id="old", cseq=2),
        request("OPTIONS", via=via, call_id="other"),
        request("OPTIONS", via=via, call_id="old", to_tag="dialog"),
        request("OPTIONS", via=via.replace("5060", "5062"), call_id="old"),
        request("BYE", via=via, call_id="old"),
    ):
        world.arrive(other)
    assert len(world.user.requests) == 6


def test_the_response_carries_where_the_request_came_from() -> None:
    world = World()
    via = "SIP/2.0/UDP phone.example.com:5099;branch=z9hG4bKnat;rport, SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKlower"
    world.arrive(request("OPTIONS", via=via), remote=("192.0.2.77", 40001))
    tx = world.user.requests[0]
    tx.respond(response(world.user.asked[tx], 200))
    sent = world.carrier.sent[0]
    assert sent.remote == ("192.0.2.77", 40001)
    assert (sent.message.via.received, sent.message.via.rport) == ("192.0.2.77", 40001)
    assert sent.message.vias[1].branch == "z9hG4bKlower"


def test_a_user_that_fails_answers_500() -> None:
    world = World()

    def fail(tx: object, request: object) -> None:
        raise ZeroDivisionError

    world.user.answer = fail
    with capture_logs() as logs:
        world.arrive(options(call_id="unlucky"))
    assert world.sent == ["500"]
    assert [(log["event"], log["call_id"], log["method"]) for log in logs] == [
        ("sip_request_failed", "unlucky", "OPTIONS")
    ]


def test_while_there_is_nobody_to_answer_requests_get_503() -> None:
    world = World()
    world.layer.user = None
    world.arrive(options())
    world.arrive(request("ACK", branch="z9hG4bKack"))
    assert world.sent == ["503"]
    assert world.carrier.sent[0].message.headers.get("Retry-After") == "1"
    world.arrive(response(request("INVITE", branch="z9hG4bKold", sent_by="192.0.2.1:5060"), 200, tag="x"))
    assert world.sent == ["503"]


def test_draining_refuses_new_calls_and_nothing_else() -> None:
    world = World()
    begun = request("INVITE", branch="z9hG4bKbegun")
    world.arrive(begun)
    world.layer.drain(retry_after_s=7)
    new = request("INVITE", branch="z9hG4bKnew")
    world.arrive(new)
    world.arrive(request("INVITE", branch="z9hG4bKagain", to_tag="dialog", cseq=2))
    world.arrive(options())
    assert world.events == ["INVITE", "INVITE", "OPTIONS"]
    assert world.sent == ["503"]
    refusal = world.carrier.sent[0].message
    assert refusal.headers.get("Retry-After") == "7"
    assert refusal.via.branch == "z9hG4bKnew"
    assert world.layer.stats.drained == 1
    tx = world.user.requests[0]
    assert tx.respond(response(begun, 200, tag=tx.tag))
    world.arrive(begun)
    assert world.sent == ["503", "200"]


def bad(field: str, head: Request | None) -> MessageError:
    error = MessageError(field, "is wrong", headers=[("Warning", '399 signalbox "wrong"')])
    error.request_head = head
    return error


def test_a_malformed_request_is_answered_with_its_field_and_always_the_same_tag() -> None:
    world = World()
    head = options(call_id="malformed")
    for _ in range(2):
        world.layer.on_bad(bad("Contact", head), Source("udp", THERE, HERE, None))  # type: ignore[arg-type]
    world.layer.on_bad(bad("Contact", options(call_id="other")), Source("udp", THERE, HERE, None))  # type: ignore[arg-type]
    first, again, other = (one.message for one in world.carrier.sent)
    assert (first.status, first.reason) == (400, "Contact is wrong")  # type: ignore[union-attr]
    assert first.headers.get("Warning") == '399 signalbox "wrong"'
    assert first.to.tag == again.to.tag
    assert first.to.tag != other.to.tag
    assert world.layer.stats.refused == 3
    world.assert_over()


@pytest.mark.parametrize("head", [None, request("ACK", branch="z9hG4bKack")], ids=["no request", "ACK"])
def test_what_is_malformed_and_cannot_be_answered_is_counted(head: Request | None) -> None:
    world = World()
    world.layer.on_bad(bad("Via", head), Source("udp", THERE, HERE, None))  # type: ignore[arg-type]
    assert world.sent == []
    assert world.layer.stats.dropped_bad == 1


def test_while_too_many_transactions_live_what_begins_something_gets_503_and_is_not_kept() -> None:
    world = World()
    world.layer.most = 2
    world.arrive(options("z9hG4bKone", call_id="one"))
    world.arrive(options("z9hG4bKtwo"))
    for _ in range(2):
        world.arrive(request("INVITE", branch="z9hG4bKthree", call_id="three"))
    assert (world.sent, world.events, len(world.layer)) == (["503", "503"], ["OPTIONS", "OPTIONS"], 2)
    first, again = (one.message for one in world.carrier.sent)
    assert first == again
    assert first.headers.get("Retry-After") == "8"
    assert world.layer.stats.overloaded == 2
    # Calls that live go on, and what is known already is answered.
    world.arrive(request("BYE", branch="z9hG4bKbye", to_tag="here"))
    world.arrive(request("CANCEL", branch="z9hG4bKthree", call_id="three"))
    world.arrive(options("z9hG4bKone", call_id="one"))
    assert world.events == ["OPTIONS", "OPTIONS", "BYE"]
    assert world.sent[2:] == ["481"]
    world.clock.run_out()
    world.arrive(options("z9hG4bKfour"))
    assert world.events[-1] == "OPTIONS"
