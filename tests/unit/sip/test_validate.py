"""Which messages are refused, with which code, and what is accepted though it is unusual."""

from __future__ import annotations

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.validate import check

FIELDS = [
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
    ("From", "<sip:a@x.example>;tag=f"),
    ("To", "<sip:b@x.example>"),
    ("Call-ID", "c"),
    ("CSeq", "1 INVITE"),
]
ADDRESS = "must be a URI, or a name and a URI in <>, and parameters"
SECONDS = "must be a number of seconds"
DATE = "must be a date of RFC 1123 in GMT"
MEDIA_TYPE = "must be a type, a slash, a subtype and parameters"


def invite(*more: tuple[str, str | None], uri: str = "sip:b@192.0.2.9", body: bytes = b"", method: str = "INVITE"):
    request = Request(method, uri, Headers(FIELDS), body)
    request.headers.set("CSeq", f"1 {method}")
    return changed(request, more)


def answer(status: int, *more: tuple[str, str | None]) -> Response:
    return changed(Response(status, "", Headers(FIELDS)), more)


def changed(message, more):
    for name, value in more:
        if value is None:
            message.headers.remove(name)
        elif value.startswith("+"):
            message.headers.add(name, value[1:])
        else:
            message.headers.set(name, value)
    return message


def refused(message: Request | Response, **given) -> MessageError:
    with pytest.raises(MessageError) as error:
        check(message, **given)
    return error.value


@pytest.mark.parametrize("field", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_what_every_message_has_must_be_there(field: str):
    for message in (invite((field, None)), answer(200, (field, None))):
        error = refused(message)
        assert (error.code, error.field, error.why) == (400, field, "is missing")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,", "has an empty value"),
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, nonsense", "must be SIP/2.0/transport host:port;parameters"),
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK", "has a branch that names no transaction"),
        ("From", "Bell, Alexander <sip:a.g.bell@example.com>;tag=43", ADDRESS),
        ("From", '<sip:a@x.example>;tag="f"', "has a tag that is no token"),
        ("From", "<sip:a@x.example>;tag", "has a tag that is no token"),
        ("From", "+<sip:a@y.example>;tag=f", "is there more than once"),
        ("To", '"Mr. J. User <sip:j.user@example.com>', ADDRESS),
        ("To", "< sip:t.watson@example.org >", ADDRESS),
        ("To", "<sip:b@x.example>;tag=a@b", ADDRESS),
        ("To", "<sip:b@x.example>;tag=[::1]", "has a tag that is no token"),
        ("To", "+<sip:a@y.example>", "is there more than once"),
        ("Call-ID", "a b", "must be one word"),
        ("Call-ID", "+d", "is there more than once"),
        ("CSeq", "one INVITE", "must be a number and a method"),
        ("CSeq", "36893488147419103232 INVITE", "is over 2147483647"),
        ("CSeq", "1 BYE", "has another method than the request"),
        ("CSeq", "1 invite", "has another method than the request"),
        ("CSeq", "+2 INVITE", "is there more than once"),
        ("Max-Forwards", "many", "must be a whole number"),
        ("Max-Forwards", "-1", "must be a whole number"),
        ("Max-Forwards", "256", "is over 255"),
        ("Contact", "sip:user@example.com?Route=%3Csip:sip.example.com%3E", ADDRESS),
        ("Contact", '"Joe" <sip:joe@example.org>;;;;', ADDRESS),
        ("Contact", "", ADDRESS),
        ("Contact", "*", "must be an address"),
        ("Record-Route", "<sip:192.0.2.9;lr>, ", "has an empty value"),
        ("Date", "Fri, 01 Jan 2010 16:00:00 EST", DATE),
        ("Date", "Fri, 1 Jan 2010 16:00:00 GMT", DATE),
        ("Expires", "soon", SECONDS),
        ("Expires", "4294967296", "is over 4294967295"),
        ("Expires", "3600;x", SECONDS),
        ("Retry-After", "949302838503028349304023988", "is over 4294967295"),
        ("Retry-After", "5 (maintenance", SECONDS),
        ("Session-Expires", "1800;refresher=", SECONDS),
        ("Session-Expires", "1800 seconds", SECONDS),
        ("Session-Expires", "+90", "is there more than once"),
        ("Min-SE", "-90", SECONDS),
        ("RAck", "1 INVITE", "must be two numbers and a method"),
        ("Refer-To", "a b", ADDRESS),
        ("Content-Type", "sdp", MEDIA_TYPE),
        ("Content-Type", "application/sdp;", MEDIA_TYPE),
        ("Content-Type", "+text/plain", "is there more than once"),
        ("Require", "100rel,,timer", "must be option tags"),
        ("Require", "a b", "must be option tags"),
        ("Supported", "a;b", "must be option tags"),
    ],
)
def test_a_request_with_a_malformed_field_is_answered_400_with_its_name(field: str, value: str, reason: str):
    request = invite(("Session-Expires", "90"), ("Content-Type", "application/sdp"), (field, value))
    error = refused(request)
    assert (error.code, error.field, error.why, error.headers) == (400, field, reason, ())
    assert request.answerable


@pytest.mark.parametrize(
    ("uri", "code", "reason"),
    [
        ("<sip:user@example.com>", 400, "is not a URI"),
        ("sip:2001:db8::10", 400, "is not a sip URI"),
        ("sip:user@example.com?Route=%3Csip:example.com%3E", 400, "has header fields"),
        ("NewScheme:opaque", 416, "has the scheme newscheme, which is not spoken here"),
        ("s" * 70_000 + ":opaque", 416, "has the scheme ssssssssssssssssssss, which is not spoken here"),
        ("soap.beep://192.0.2.103:3002", 416, "has the scheme soap.beep, which is not spoken here"),
    ],
)
def test_a_request_to_what_is_no_address_here_is_refused(uri: str, code: int, reason: str):
    error = refused(invite(uri=uri))
    assert (error.code, error.field, error.why) == (code, "Request-URI", reason)


def test_what_is_required_and_not_supported_is_told():
    error = refused(invite(("Require", "100rel, nothingSupportsThis"), ("Require", "+norThis")))
    assert (error.code, error.field) == (420, "Require")
    assert error.headers == (("Unsupported", "nothingSupportsThis, norThis"),)
    check(invite(("Require", "100rel, timer")))
    check(invite(("Require", "100Rel, TIMER")))
    check(invite(("Require", "replaces")), supported={"replaces"})
    assert refused(invite(("Require", "timer")), supported=()).headers == (("Unsupported", "timer"),)


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_what_ack_and_cancel_require_is_not_asked(method: str):
    check(invite(("Require", "nothingSupportsThis"), method=method))


def test_what_a_proxy_is_to_support_is_the_proxys_business():
    check(invite(("Proxy-Require", "noProxiesSupportThis")))


def test_a_body_has_a_type():
    error = refused(invite(body=b"v=0"))
    assert (error.code, error.field, error.why) == (400, "Content-Type", "is missing")
    check(invite(("Content-Type", 'multipart/mixed; boundary="a b"'), body=b"v=0"))


@pytest.mark.parametrize(
    "more",
    [
        [("Via", "SIP/2.0/UDP iftgw.example.com"), ("From", "<sip:a@x.example>")],
        [("Via", "SIP/2.0/SCTP t2.example.com;branch=z9hG4bKa, SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKb")],
        [("Max-Forwards", "0")],
        [("Max-Forwards", "0068")],
        [("To", "isbn:2983792873"), ("From", "<http://www.example.com>;tag=3234233")],
        [("Contact", "<sip:a@192.0.2.1;unknownparam>;q=0.5, <sip:b@192.0.2.1>")],
        [("Date", "Sat, 13 Nov 2010 23:29:00 GMT"), ("Expires", "0"), ("Retry-After", r"18 (a \) b);duration=3")],
        [("Session-Expires", "1800 ; refresher=uac"), ("Min-SE", "90"), ("Supported", ""), ("RAck", "1 1 INVITE")],
        [("X-Anything", ";;,,;;,;"), ("Route", "<not for us")],
    ],
)
def test_what_is_unusual_and_right_is_accepted(more: list[tuple[str, str]]):
    check(invite(*more))


@pytest.mark.parametrize("uri", ["tel:4001234567", "sips:b@192.0.2.9", "sip:[2001:db8::10]:5070;lr"])
def test_a_request_may_be_to_a_telephone_number_or_to_a_secure_uri(uri: str):
    check(invite(uri=uri))


def test_only_a_registration_may_remove_all_contacts():
    check(invite(("Contact", "*"), method="REGISTER"))


def test_any_method_that_is_a_token_is_accepted():
    check(invite(method="!interesting-Method0123456789_*+`.%indeed'~"))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("Via", "+SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23", "has more than one value in a response"),
        ("Via", "nonsense", "must be SIP/2.0/transport host:port;parameters"),
        ("From", "nonsense", "is not a URI"),
        ("To", "<sip:b@x.example>;tag", "has a tag that is no token"),
        ("CSeq", "9292394834772304023312 OPTIONS", "is over 2147483647"),
        ("Contact", "<sip:b@x", ADDRESS),
        ("Record-Route", "<sip:b@x", ADDRESS),
        ("RSeq", "many", "must be a whole number"),
    ],
)
def test_a_response_that_cannot_be_matched_or_make_a_dialog_is_refused(field: str, value: str, reason: str):
    error = refused(answer(183, (field, value)))
    assert (error.field, error.why) == (field, reason)


def test_a_response_is_not_lost_for_what_nobody_needs():
    check(answer(200, ("Date", "today"), ("Supported", "a b"), ("Content-Type", "sdp")))
    check(answer(486, ("Contact", "nonsense"), ("Record-Route", "<"), ("RSeq", "many")))
    check(answer(100, ("Contact", "nonsense")))
