"""Dialogs: tags, sequence numbers, targets and routes, as server and as client."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip import validate
from signalbox.sip.dialog import Dialog, NoDialogError, incoming_key, response_key
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.headers import CSEQ_MAX
from signalbox.sip.message import Headers, Request, Response, response
from signalbox.sip.parser import parse

LOOSE = ("<sip:p2.example.net;lr>", "<sip:p1.example.net:5070;transport=tcp;lr>")
ALICE, BOB = ("Contact", "<sip:alice@192.0.2.4>"), ("Contact", "<sip:bob@192.0.2.5:5062;transport=tcp>")


def invite(*fields: tuple[str, str], cseq: int = 314, method: str = "INVITE", to_tag: str = "") -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKnashds8"),
        ("Max-Forwards", "70"),
        ("From", '"Alice, A." <sip:alice@example.com>;tag=88sja8x'),
        ("To", f"Bob <sip:bob@example.net>{to_tag and f';tag={to_tag}'}"),
        ("Call-ID", "987asjd97y7atg"),
        ("CSeq", f"{cseq} {method}"),
        *fields,
    ]
    return Request(method, "sip:bob@example.net", Headers(headers))


def routed(*routes: str) -> list[tuple[str, str]]:
    return [("Record-Route", route) for route in routes]


def answered(
    request: Request, status: int = 200, tag: str = "314159", contact: tuple[str, str] = BOB, *fields: tuple[str, str]
) -> Response:
    return response(request, status, tag=tag, headers=[contact, *fields])


def both(status: int = 200, routes: tuple[str, ...] = LOOSE) -> tuple[Dialog, Dialog]:
    """The dialog of the caller and of the callee."""
    request = invite(ALICE, *routed(*routes))
    reply = answered(request, status)
    return Dialog.as_client(request, reply), Dialog.as_server(request, reply)


def fields(request: Request) -> dict[str, list[str]]:
    return {name: request.headers.all(name) for name in request.headers.names()}


def test_both_ends_know_the_dialog_by_the_same_names() -> None:
    client, server = both()
    assert client.key == ("987asjd97y7atg", "88sja8x", "314159")
    assert server.key == ("987asjd97y7atg", "314159", "88sja8x")
    assert incoming_key(client.request("BYE")) == server.key
    assert incoming_key(server.request("BYE")) == client.key
    bye = client.request("BYE", [("Via", "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1")])
    assert response_key(response(bye, 200)) == client.key


def test_the_caller_takes_the_routes_in_reverse() -> None:
    client, server = both()
    assert client.routes == LOOSE[::-1]
    assert server.routes == LOOSE
    assert str(client.next_hop) == "sip:p1.example.net:5070;transport=tcp;lr"
    assert str(server.next_hop) == "sip:p2.example.net;lr"


def test_a_request_of_the_caller() -> None:
    client, _ = both()
    bye = client.request("BYE", [("Reason", "Q.850;cause=16")])
    assert (bye.method, bye.uri) == ("BYE", "sip:bob@192.0.2.5:5062;transport=tcp")
    assert fields(bye) == {
        "Max-Forwards": ["70"],
        "From": ['"Alice, A." <sip:alice@example.com>;tag=88sja8x'],
        "To": ["Bob <sip:bob@example.net>;tag=314159"],
        "Call-ID": ["987asjd97y7atg"],
        "CSeq": ["315 BYE"],
        "Route": list(LOOSE[::-1]),
        "Reason": ["Q.850;cause=16"],
    }


def test_a_request_of_the_callee() -> None:
    _, server = both()
    update = server.request("UPDATE", body=b"v=0", content_type="application/sdp")
    assert (update.method, update.uri, update.body) == ("UPDATE", "sip:alice@192.0.2.4", b"v=0")
    assert fields(update) == {
        "Max-Forwards": ["70"],
        "From": ["Bob <sip:bob@example.net>;tag=314159"],
        "To": ['"Alice, A." <sip:alice@example.com>;tag=88sja8x'],
        "Call-ID": ["987asjd97y7atg"],
        "CSeq": ["1 UPDATE"],
        "Route": list(LOOSE),
        "Contact": [BOB[1]],
        "Content-Type": ["application/sdp"],
    }


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "BYE", "INFO", "PRACK"])
def test_what_is_sent_is_valid(method: str) -> None:
    for dialog in both():
        more = [("RAck", "1 314 INVITE")] if method == "PRACK" else []
        request = dialog.request(method, more)
        request.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1")
        read = parse(request.encode())
        validate.check(read)
        assert isinstance(read, Request)
        assert read.uri == request.uri
        assert ("Contact" in read.headers) == (method in ("INVITE", "UPDATE"))


def test_without_routes_requests_go_to_the_target() -> None:
    client, server = both(routes=())
    assert client.next_hop.address == ("192.0.2.5", 5062)
    assert server.next_hop.address == ("192.0.2.4", 5060)
    assert "Route" not in client.request("BYE").headers


def test_a_strict_router_is_put_into_the_request_uri() -> None:
    client, _ = both(routes=("<sip:p2.example.net;lr>", "<sip:p1.example.net;method=INVITE;x=1?Subject=hi>"))
    bye = client.request("BYE")
    assert bye.uri == "sip:p1.example.net;x=1"
    assert bye.headers.all("Route") == [LOOSE[0], "<sip:bob@192.0.2.5:5062;transport=tcp>"]
    assert client.next_hop.host == "p1.example.net"
    assert bye.headers.all("Route") == client.request("INFO").headers.all("Route")


def test_a_strict_router_alone() -> None:
    client, _ = both(routes=("<sip:p1.example.net>",))
    bye = client.request("BYE")
    assert (bye.uri, bye.headers.all("Route")) == ("sip:p1.example.net", ["<sip:bob@192.0.2.5:5062;transport=tcp>"])


def test_routes_of_one_line_are_several() -> None:
    client, _ = both(routes=(", ".join(LOOSE),))
    assert client.routes == LOOSE[::-1]


def test_the_ack_has_the_number_of_its_invite() -> None:
    client, _ = both()
    client.request("INFO")
    ack = client.ack(314, [("Authorization", "Digest x")], b"v=0", "application/sdp")
    assert (ack.method, ack.uri, ack.body) == ("ACK", "sip:bob@192.0.2.5:5062;transport=tcp", b"v=0")
    assert ack.headers.get("CSeq") == "314 ACK"
    assert ack.headers.get("Content-Type") == "application/sdp"
    assert ack.headers.get("Authorization") == "Digest x"
    assert ack.headers.all("Route") == list(LOOSE[::-1])
    assert client.request("BYE").cseq.number == 316


def test_sequence_numbers_grow_by_one() -> None:
    client, server = both()
    assert [client.request("INFO").cseq.number for _ in range(3)] == [315, 316, 317]
    assert [server.request("INFO").cseq.number for _ in range(3)] == [1, 2, 3]


def test_sequence_numbers_have_an_end() -> None:
    client, _ = both()
    client.local_cseq = CSEQ_MAX
    with pytest.raises(SipError, match="has used all its sequence numbers"):
        client.request("BYE")


@given(st.lists(st.integers(0, 40), max_size=20))
@settings(deadline=None)
def test_requests_are_taken_in_their_order(numbers: list[int]) -> None:
    _, server = both()
    highest = 314
    for number in numbers:
        request = invite(cseq=300 + number, method="INFO", to_tag="314159")
        if 300 + number > highest:
            server.accept(request)
            highest = 300 + number
        else:
            with pytest.raises(MessageError, match=f"CSeq must be above {highest}") as raised:
                server.accept(request)
            assert raised.value.code == 500
        assert server.remote_cseq == highest


def test_the_first_request_of_a_callee_may_have_any_number() -> None:
    client, _ = both()
    client.accept(invite(cseq=0, method="INFO"))
    assert client.remote_cseq == 0


def test_an_ack_is_taken_whatever_came_since() -> None:
    _, server = both()
    server.accept(invite(cseq=320, method="INFO"))
    server.accept(invite(cseq=314, method="ACK"))
    assert server.remote_cseq == 320


def test_a_refresh_moves_the_target_and_nothing_else() -> None:
    _, server = both()
    server.refresh(invite(("Contact", "<sip:alice@198.51.100.9>"), cseq=315))
    assert server.request("BYE").uri == "sip:alice@198.51.100.9"
    assert server.routes == LOOSE
    server.refresh(invite(cseq=316))
    assert server.target.host == "198.51.100.9"


@pytest.mark.parametrize(
    ("contact", "told"),
    [("<tel:+8610>", "Contact must be a SIP URI"), ("<sip:", "Contact must be a URI"), ("*", None)],
)
def test_a_refresh_to_nowhere(contact: str, told: str | None) -> None:
    _, server = both()
    if told is None:
        server.refresh(invite(("Contact", contact)))
    else:
        with pytest.raises(MessageError, match=told):
            server.refresh(invite(("Contact", contact)))
    assert server.target.host == "192.0.2.4"


# Early dialogs and forks


@pytest.mark.parametrize("status", [101, 180, 199])
def test_a_1xx_makes_an_early_dialog(status: int) -> None:
    client, server = both(status)
    assert not client.is_confirmed
    assert not server.is_confirmed
    assert client.request("PRACK").uri == "sip:bob@192.0.2.5:5062;transport=tcp"
    server.confirm()
    assert server.is_confirmed


def test_a_2xx_makes_a_confirmed_one() -> None:
    assert [one.is_confirmed for one in both(200)] == [True, True]


def test_a_forked_invite_makes_a_dialog_for_each_tag() -> None:
    request = invite(ALICE)
    first = Dialog.as_client(request, answered(request, 180, "one"))
    second = Dialog.as_client(request, answered(request, 183, "two", ("Contact", "<sip:bob@198.51.100.6>")))
    assert first.key != second.key
    assert first.request("PRACK").uri != second.request("PRACK").uri
    assert first.request("BYE").cseq.number == 316
    assert second.request("BYE").cseq.number == 316
    assert second.request("BYE").to.tag == "two"


def test_the_2xx_tells_routes_and_target_again() -> None:
    request = invite(ALICE)
    early = Dialog.as_client(request, answered(request, 180))
    assert early.routes == ()
    moved = ("Contact", "<sip:bob@198.51.100.6>")
    early.confirm(answered(request, 200, "314159", moved, *routed(*LOOSE)))
    assert early.routes == LOOSE[::-1]
    assert early.target.host == "198.51.100.6"
    assert early.is_confirmed


def test_a_confirmed_dialog_keeps_its_routes() -> None:
    client, _ = both()
    client.confirm(answered(invite(ALICE), 200, "314159", ("Contact", "<sip:bob@198.51.100.6>")))
    assert client.routes == LOOSE[::-1]
    assert client.target.host == "192.0.2.5"


def test_a_2xx_that_is_malformed_changes_nothing() -> None:
    client, _ = both(180)
    reply = answered(invite(ALICE), 200, "314159", BOB, ("Record-Route", "<tel:+8610>"))
    with pytest.raises(MessageError, match="Record-Route must be a SIP URI"):
        client.confirm(reply)
    assert not client.is_confirmed
    assert client.routes == LOOSE[::-1]


def test_a_response_without_contact_leaves_the_request_uri() -> None:
    request = invite(ALICE)
    client = Dialog.as_client(request, response(request, 183, tag="x"))
    assert str(client.target) == "sip:bob@example.net"
    client.confirm(response(request, 200, tag="x"))
    assert str(client.target) == "sip:bob@example.net"


# What makes no dialog


@pytest.mark.parametrize(
    ("status", "tag", "told"),
    [
        (100, "x", "a 100 makes no dialog"),
        (300, "x", "a 300 makes no dialog"),
        (486, "x", "a 486 makes no dialog"),
        (180, "", "a 1xx without a To tag makes no dialog"),
    ],
)
def test_what_makes_no_dialog(status: int, tag: str, told: str) -> None:
    request = invite(ALICE)
    reply = answered(request, status, tag)
    for make in (Dialog.as_client, Dialog.as_server):
        with pytest.raises(NoDialogError, match=told):
            make(request, reply)


def test_a_2xx_without_tag_is_of_rfc_2543() -> None:
    request = invite(ALICE)
    assert Dialog.as_client(request, answered(request, 200, "")).key == ("987asjd97y7atg", "88sja8x", "")


@pytest.mark.parametrize(
    ("given_fields", "told"),
    [
        ([], "Contact is missing"),
        ([("Contact", "<tel:+8610>")], "Contact must be a SIP URI"),
        ([ALICE, ("Record-Route", "<tel:+8610>")], "Record-Route must be a SIP URI"),
        ([ALICE, ("Record-Route", "x")], "Record-Route is not a URI"),
    ],
)
def test_a_caller_that_nothing_can_be_sent_to(given_fields: list[tuple[str, str]], told: str) -> None:
    request = invite(*given_fields)
    with pytest.raises(MessageError, match=told) as raised:
        Dialog.as_server(request, answered(invite(), 200))
    assert raised.value.code == 400


def test_what_we_send_has_a_contact() -> None:
    request = invite(ALICE)
    with pytest.raises(ValueError, match="must have a Contact"):
        Dialog.as_server(request, response(request, 200, tag="x"))
    with pytest.raises(ValueError, match="must have a Contact"):
        Dialog.as_client(invite(), answered(request, 200))
