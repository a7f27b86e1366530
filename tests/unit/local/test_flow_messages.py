"""SIP and RTP of the load of ``make bench-ivr``: what our own parsers read in it, and what it reads in theirs."""

from __future__ import annotations

import struct

import pytest
from signalbox.sip.parser import parse
from signalbox.sip.sdp import SessionDescription
from signalbox_local import flow_messages as flow

SIP, MEDIA, PROXY = ("127.0.0.2", 5070), ("127.0.0.2", 6000), ("127.0.0.1", 5060)
CALLER = flow.Caller(SIP, MEDIA, PROXY, "4001234567", "run")
ANSWER = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bKi\r\n"
    b"Record-Route: <sip:127.0.0.1;lr;a=1>, <sip:127.0.0.4;lr;a=2>\r\nRecord-Route: <sip:127.0.0.5;lr;a=3>\r\n"
    b"From: <sip:13800000007@127.0.0.2:5070>;tag=crun-7\r\nTo: <sip:4001234567@127.0.0.1:5060>;tag=w\r\n"
    b"Call-ID: run-7\r\nCSeq: 1 INVITE\r\nContact: <sip:worker@127.64.0.101:5060>\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 0\r\n\r\n" + flow.description(("127.64.0.1", 10_000))
)


def test_an_invite_is_whole_and_names_its_call() -> None:
    invite = parse(CALLER.invite(7))
    assert (invite.method, invite.call_id, str(invite.uri)) == ("INVITE", "run-7", "sip:4001234567@127.0.0.1:5060")  # type: ignore[union-attr]
    assert invite.from_.uri.user == "13800000007"
    offer = SessionDescription.parse(invite.body)
    assert offer.address(offer.media[0]) == MEDIA
    assert [one.name for one in offer.media[0].codecs] == ["PCMA", "telephone-event"]
    assert flow.call_of(flow.read(CALLER.invite(7)).caller) == 7


@pytest.mark.parametrize("who", [b"", b"anonymous", b"02800000007", b"1380000000", b"138abcdefgh"])
def test_who_is_none_of_the_callers_has_no_call(who: bytes) -> None:
    assert flow.call_of(who) is None


def test_what_follows_the_answer_goes_the_way_that_it_says() -> None:
    answer = flow.read(ANSWER)
    assert (answer.status, answer.method, answer.cseq, answer.call_id) == (200, b"INVITE", 1, b"run-7")
    assert answer.media == ("127.64.0.1", 10_000)
    bye = parse(CALLER.within(7, b"BYE", 2, answer))
    assert (bye.method, str(bye.uri)) == ("BYE", "sip:worker@127.64.0.101:5060")  # type: ignore[union-attr]
    routes = [f"<sip:127.0.0.{host};lr;a={n}>" for host, n in ((5, 3), (4, 2), (1, 1))]
    assert bye.headers.all("Route") == routes
    assert "tag=w" in str(bye.headers.get("To"))
    ack = CALLER.within(7, b"ACK", 1, answer)
    assert b"\r\nCSeq: 1 ACK\r\n" in ack


def test_a_refusal_is_acknowledged_and_a_call_cancelled_in_the_transaction_of_the_invite() -> None:
    branches = {
        str(parse(one).headers.get("Via")).partition("branch=")[2]
        for one in (CALLER.invite(7), CALLER.cancel(7), CALLER.refused(7, b"<sip:4001234567@127.0.0.1>;tag=w"))
    }
    assert branches == {"z9hG4bKirun-7"}


def test_a_response_has_what_its_request_must_find_in_it() -> None:
    request = flow.read(CALLER.invite(7).replace(b"Max-Forwards", b"Record-Route: <sip:127.0.0.1;lr>\r\nMax-Forwards"))
    told = flow.response(request, 200, "OK", tag=b"l7", contact="sip:127.0.0.3:5080", body=flow.description(MEDIA))
    response = parse(told)
    for name in ("Via", "From", "Call-ID", "CSeq", "Record-Route"):
        assert response.headers.get(name) == parse(request.raw).headers.get(name)
    assert (response.status, str(response.headers.get("To"))) == (200, "<sip:4001234567@127.0.0.1:5060>;tag=l7")  # type: ignore[union-attr]
    assert response.body == flow.description(MEDIA)
    within = flow.read(told.replace(b"SIP/2.0 200 OK", b"BYE sip:127.0.0.3 SIP/2.0").replace(b" INVITE", b" BYE"))
    assert flow.response(within, 200, "OK", tag=b"other").count(b"tag=l7") == 1


@pytest.mark.parametrize("missing", [b"Call-ID", b"CSeq"])
def test_a_message_without_what_tells_its_call_is_unreadable(missing: bytes) -> None:
    with pytest.raises(flow.UnreadableError, match=missing.decode()):
        flow.read(ANSWER.replace(missing, b"X-Other"))


def test_an_answer_without_media_or_contact_is_unreadable() -> None:
    with pytest.raises(flow.UnreadableError, match="m=audio"):
        _ = flow.read(ANSWER.replace(b"m=audio", b"m=video")).media
    with pytest.raises(flow.UnreadableError, match="Contact"):
        _ = flow.read(ANSWER.replace(b"Contact", b"X-Other")).contact


def test_why_tells_the_first_line_and_the_reason() -> None:
    bye = b"BYE sip:a@b SIP/2.0\r\nReason: Q.850;cause=16\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\r\n"
    assert flow.read(bye).why == "BYE sip:a@b SIP/2.0 (Q.850;cause=16)"
    assert flow.read(ANSWER).why == "SIP/2.0 200 OK"


def test_sound_says_of_which_call_and_side_it_is() -> None:
    packet = flow.sound(7, "line", 3)
    assert len(packet) == 12 + flow.FRAME
    assert flow.is_sound(packet)
    assert flow.said(packet) == flow.name(7, "line")
    assert len({flow.name(n, side) for n in (7, 70) for side in ("line", "caller")}) == 4


def test_a_key_is_one_event_whose_end_is_told_three_times() -> None:
    packets = flow.key(7, "caller", "#", 20)
    heads = [struct.unpack_from("!BBHII", one) for one in packets]
    events = [struct.unpack_from("!BBH", one, 12) for one in packets]
    assert [kind for _, kind, *_ in heads] == [0x80 | flow.EVENTS] + [flow.EVENTS] * 7
    assert [sequence for _, _, sequence, *_ in heads] == list(range(20, 28))
    assert len({(timestamp, source) for *_, timestamp, source in heads}) == 1
    assert {code for code, *_ in events} == {11}
    assert [bool(flags & 0x80) for _, flags, _ in events] == [False] * 5 + [True] * 3
    assert [duration for *_, duration in events] == [160, 320, 480, 640, 800, 800, 800, 800]
    assert not any(map(flow.is_sound, packets))
