"""Messages: header fields by any of their names, values parsed once, responses made of requests, and what is sent."""

from __future__ import annotations

import dataclasses

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import NameAddr, Via
from signalbox.sip.message import Headers, Request, Response, response
from signalbox.sip.names import COMPACT, canonical
from signalbox.sip.uri import Uri

FIELDS = [
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2"),
    ("Via", "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3"),
    ("Record-Route", "<sip:192.0.2.1;lr>"),
    ("Record-Route", "<sip:192.0.2.2;lr>"),
    ("Route", "<sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>"),
    ("Max-Forwards", "70"),
    ("From", "A <sip:a@x.example>;tag=f"),
    ("To", "<sip:4001234567@x.example>"),
    ("Call-ID", "c=1$@x"),
    ("CSeq", "1 INVITE"),
    ("Contact", "<sip:a@192.0.2.3>, <sip:a@192.0.2.4>"),
    ("Timestamp", "54"),
]


def invite(*changes: tuple[str, str | None], method: str = "INVITE") -> Request:
    request = Request(method, "sip:4001234567@192.0.2.9", Headers(FIELDS), b"body")
    for name, value in changes:
        if value is None:
            request.headers.remove(name)
        else:
            request.headers.set(name, value)
    return request


def test_a_name_is_the_same_in_any_capitals_and_in_compact_form():
    headers = Headers([("v", "1"), ("VIA", "2"), ("call-id", "3"), ("x-own-THING", "4"), ("cSeQ", "5")])
    assert headers.all("Via") == ["1", "2"]
    assert (headers.get("i"), headers.get("X-Own-Thing"), headers.get("CSEQ")) == ("3", "4", "5")
    assert "V" in headers
    assert "To" not in headers
    assert headers.get("To") is None
    assert list(headers) == [("Via", "1"), ("Via", "2"), ("Call-ID", "3"), ("X-Own-Thing", "4"), ("CSeq", "5")]


def test_every_compact_form_is_known():
    assert {letter: canonical(letter) for letter in COMPACT} == COMPACT
    assert {letter: canonical(letter.upper()) for letter in COMPACT} == COMPACT


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "名"])
def test_a_name_that_is_no_token_is_refused(name: str):
    with pytest.raises(MessageError, match="has a header field whose name is no token"):
        Headers([(name, "1")])


def test_a_long_name_is_known_again():
    name = "X-" + "a" * 100
    assert Headers([(name, "1")]).get(name.upper()) == "1"


def test_fields_are_set_added_put_before_and_removed():
    headers = Headers([("To", "t"), ("Route", "1")])
    headers.add("route", "2")
    headers.prepend("Route", "0")
    assert headers.all("Route") == ["0", "1", "2"]
    headers.set("ROUTE", "3")
    assert headers.all("Route") == ["3"]
    headers.prepend("Via", "v")
    assert [name for name, _ in headers] == ["Via", "To", "Route"]
    headers.remove("Route")
    headers.remove("Route")
    assert list(headers.names()) == ["Via", "To"]


def test_values_are_split_at_commas_and_fields_are_not():
    headers = Headers([("Allow", "INVITE, ACK"), ("Allow", "BYE"), ("Supported", "")])
    assert headers.values("Allow") == ["INVITE", "ACK", "BYE"]
    assert headers.all("Allow") == ["INVITE, ACK", "BYE"]
    assert headers.values("Supported") == []
    with pytest.raises(MessageError) as error:
        Headers([("Allow", "a,")]).values("allow")
    assert (error.value.field, error.value.why) == ("Allow", "has an empty value")


@pytest.mark.parametrize("change", ["set", "add", "prepend"])
def test_a_value_with_a_line_break_is_refused(change: str):
    headers = Headers([("To", "t")])
    with pytest.raises(MessageError) as error:
        getattr(headers, change)("Subject", "a\r\nVia: forged")
    assert (error.value.field, error.value.why) == ("Subject", "has a line break")
    assert list(headers) == [("To", "t")]


def test_a_copy_is_another_one():
    headers = Headers(FIELDS)
    other = headers.copy()
    assert other == headers
    other.add("Via", "x")
    assert other != headers
    assert len(headers.all("Via")) == 2
    assert repr(Headers([("To", "t")])) == "Headers([('To', 't')])"


def test_a_message_tells_its_values():
    request = invite()
    assert request.via == Via("UDP", "192.0.2.1", None, {"branch": "z9hG4bK1"})
    assert [via.branch for via in request.vias] == ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]
    assert (request.from_.tag, request.to.tag, request.call_id) == ("f", "", "c=1$@x")
    assert (request.cseq.number, request.cseq.method, request.max_forwards) == (1, "INVITE", 70)
    assert request.contact == NameAddr("", Uri("sip", "a", "192.0.2.3"))
    assert [str(contact.uri) for contact in request.contacts] == ["sip:a@192.0.2.3", "sip:a@192.0.2.4"]
    assert [route.uri.host for route in request.routes] == ["192.0.2.9", "192.0.2.8"]
    assert [route.uri.host for route in request.record_routes] == ["192.0.2.1", "192.0.2.2"]
    assert request.target == Uri("sip", "4001234567", "192.0.2.9")


def test_a_value_is_parsed_once_and_again_when_its_field_changes():
    request = invite()
    assert request.to is request.to
    assert request.via is request.via
    assert request.target is request.target
    request.headers.set("To", "<sip:b@y.example>;tag=new")
    request.headers.prepend("Via", "SIP/2.0/TCP 192.0.2.7")
    request.headers.add("Contact", "<sip:b@192.0.2.5>")
    request.uri = "sip:other@192.0.2.9"
    assert (request.to.tag, request.via.transport, len(request.vias)) == ("new", "TCP", 4)
    assert (len(request.contacts), request.target.user) == (3, "other")
    request.headers.remove("Contact")
    assert request.contact is None


def test_what_may_be_missing_is_empty():
    request = invite(("Contact", None), ("Max-Forwards", None), ("Route", None), ("Record-Route", None))
    assert (request.contact, request.contacts, request.max_forwards) == (None, [], None)
    assert (request.routes, request.record_routes) == ([], [])
    assert invite(("Contact", "*")).contacts == []


@pytest.mark.parametrize(
    ("field", "value", "ask", "reason"),
    [
        ("Via", None, "via", "is missing"),
        ("Via", "SIP/2.0/UDP h,", "via", "has an empty value"),
        ("From", None, "from_", "is missing"),
        ("To", "<sip:a@b", "to", "must be a URI, or a name and a URI in <>, and parameters"),
        ("CSeq", None, "cseq", "is missing"),
        ("Call-ID", None, "call_id", "is missing"),
        ("Call-ID", "a b", "call_id", "must be one word"),
        ("Call-ID", "", "call_id", "must be one word"),
        ("Call-ID", "a,b", "call_id", "must be one word"),
        ("Call-ID", "a\tb", "call_id", "must be one word"),
        ("Call-ID", "号", "call_id", "must be one word"),
        ("Contact", "<sip:a@b>, x", "contact", "is not a URI"),
        ("Route", "<sip:a@b>;;", "routes", "must be a URI, or a name and a URI in <>, and parameters"),
        ("Max-Forwards", "many", "max_forwards", "must be a whole number"),
        ("Max-Forwards", "256", "max_forwards", "is over 255"),
    ],
)
def test_what_is_missing_or_malformed_is_told_when_it_is_asked_for(
    field: str, value: str | None, ask: str, reason: str
):
    request = invite((field, value))
    with pytest.raises(MessageError) as error:
        getattr(request, ask)
    assert (error.value.field, error.value.why) == (field, reason)
    assert error.value.phrase == f"{field} {reason}"


@pytest.mark.parametrize(("field", "ask"), [("From", "from_"), ("CSeq", "cseq"), ("Call-ID", "call_id")])
def test_what_may_be_there_once_is_refused_twice(field: str, ask: str):
    request = invite()
    request.headers.add(field, request.headers.get(field) or "")
    with pytest.raises(MessageError, match=f"^{field} is there more than once$"):
        getattr(request, ask)


def test_the_topmost_via_is_replaced_alone():
    request = invite()
    names = list(request.headers.names())
    request.replace_top_via(dataclasses.replace(request.via, params={**request.via.params, "received": "192.0.2.77"}))
    assert request.via.received == "192.0.2.77"
    assert request.headers.all("Via") == [
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.77, SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2",
        "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3",
    ]
    assert [via.branch for via in request.vias] == ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]
    assert list(request.headers.names()) == names


def test_a_message_is_sent_with_the_length_of_its_body():
    headers = Headers([("content-length", "99"), ("v", "SIP/2.0/UDP h"), ("subject", "中")])
    assert Request("INVITE", "sip:a@b", headers, b"12345").encode() == (
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nSubject: 中\r\nContent-Length: 5\r\n\r\n12345".encode()
    )
    assert Response(200, "OK", Headers()).encode() == b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_first_line_with_a_line_break_is_not_sent():
    with pytest.raises(MessageError, match="Request-URI has a line break"):
        Request("INVITE", "sip:a@b\r\nX: y", Headers()).encode()
    with pytest.raises(MessageError, match="Status-Line has a line break"):
        Response(400, "Bad\nRequest", Headers()).encode()


def test_messages_are_equal_if_they_are_sent_alike():
    assert invite() == invite()
    assert invite() != invite(("To", "<sip:b@y.example>"))
    assert invite() != invite(method="OPTIONS")
    assert invite() != "INVITE"
    assert Response(200, "OK", Headers()) == Response(200, "OK", Headers([("l", "0")]))
    assert Response(200, "OK", Headers()) != Response(200, "Fine", Headers())
    assert repr(Response(200, "OK", Headers())) == "Response(200, 'OK', Headers([]), b'')"
    assert repr(Request("A", "sip:b", Headers())) == "Request('A', 'sip:b', Headers([]), b'')"


def test_a_response_takes_from_its_request_what_it_must():
    request = invite()
    answer = response(request, 180, tag="t", headers=[("Contact", "<sip:w@192.0.2.9>")])
    assert (answer.status, answer.reason) == (180, "Ringing")
    assert list(answer.headers) == [
        ("Via", FIELDS[0][1]),
        ("Via", FIELDS[1][1]),
        ("From", "A <sip:a@x.example>;tag=f"),
        ("To", "<sip:4001234567@x.example>;tag=t"),
        ("Call-ID", "c=1$@x"),
        ("CSeq", "1 INVITE"),
        ("Record-Route", "<sip:192.0.2.1;lr>"),
        ("Record-Route", "<sip:192.0.2.2;lr>"),
        ("Contact", "<sip:w@192.0.2.9>"),
    ]
    answer.headers.add("Via", "x")
    assert len(request.headers.all("Via")) == 2


@pytest.mark.parametrize(
    ("method", "status", "taken"),
    [
        ("INVITE", 100, False),
        ("INVITE", 101, True),
        ("INVITE", 200, True),
        ("INVITE", 300, False),
        ("INVITE", 486, False),
        ("SUBSCRIBE", 200, True),
        ("REFER", 202, True),
        ("OPTIONS", 200, False),
        ("BYE", 200, False),
    ],
)
def test_only_what_makes_a_dialog_tells_its_route(method: str, status: int, taken: bool):
    assert ("Record-Route" in response(invite(method=method), status).headers) == taken


def test_a_tag_that_is_there_stays():
    request = invite(("To", "<sip:4001234567@x.example>;tag=old"))
    assert response(request, 200, tag="new").to.tag == "old"


def test_a_timestamp_goes_back_with_100_alone():
    assert response(invite(), 100).headers.get("Timestamp") == "54"
    assert "Timestamp" not in response(invite(), 180).headers


def test_a_response_may_have_its_own_reason_and_a_body_and_an_unknown_status():
    answer = response(invite(), 299, "Own reason", body=b"x")
    assert answer.encode().startswith(b"SIP/2.0 299 Own reason\r\n")
    assert answer.encode().endswith(b"Content-Length: 1\r\n\r\nx")
    assert response(invite(), 299).encode().startswith(b"SIP/2.0 299 \r\n")


def test_a_request_that_is_refused_for_a_field_is_answered_with_the_field_as_it_came():
    request = invite(("To", '"Mr. J. User <sip:j.user@example.com>'), ("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,"))
    request.headers.add("CSeq", "2 INVITE")
    assert request.answerable
    answer = response(request, 400, tag="t")
    assert answer.headers.get("To") == '"Mr. J. User <sip:j.user@example.com>;tag=t'
    assert answer.headers.all("Via") == ["SIP/2.0/UDP 192.0.2.15;;,;,,"]
    assert answer.headers.all("CSeq") == ["1 INVITE"]


@pytest.mark.parametrize("field", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_without_what_a_response_needs_a_request_cannot_be_answered(field: str):
    assert not invite((field, None)).answerable


def test_an_ack_is_not_answered():
    assert invite().answerable
    assert not invite(method="ACK").answerable
