"""URIs: what is one, what it says, and which two mean the same (RFC 3261 section 19.1)."""

from __future__ import annotations

import dataclasses

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.uri import Uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:alice@atlanta.com", Uri("sip", "alice", "atlanta.com")),
        ("sip:192.0.2.1", Uri("sip", None, "192.0.2.1")),
        ("sips:alice:secret@atlanta.com:5071", Uri("sips", "alice:secret", "atlanta.com", 5071)),
        ("SIP:4001234567@192.0.2.1:5080", Uri("sip", "4001234567", "192.0.2.1", 5080)),
        (
            "sip:+861012345678@gw.example.com;user=phone;lr;Transport=TCP",
            Uri("sip", "+861012345678", "gw.example.com", None, {"user": "phone", "lr": None, "transport": "TCP"}),
        ),
        ("sip:a@b.example;ftag=", Uri("sip", "a", "b.example", None, {"ftag": ""})),
        ("sip:user@[2001:db8::10]:5070;lr", Uri("sip", "user", "2001:db8::10", 5070, {"lr": None})),
        ("sip:user;par=u%40example.net@example.com", Uri("sip", "user;par=u%40example.net", "example.com")),
        ("sip:*31#13800138000@gw.example.com", Uri("sip", "*31#13800138000", "gw.example.com")),
        ("sip:%00@host5.example.com", Uri("sip", "%00", "host5.example.com")),
        ("sip:a@b.example?Subject=x%20y&To=c", Uri("sip", "a", "b.example", None, {}, "Subject=x%20y&To=c")),
        ("sip:worker_1.voice:5060", Uri("sip", None, "worker_1.voice", 5060)),
        ("tel:+86-10-1234(5678)", Uri("tel", "+86-10-1234(5678)", "")),
        ("tel:7042;phone-context=example.com", Uri("tel", "7042", "", None, {"phone-context": "example.com"})),
        ("isbn:2983792873", Uri("isbn", "2983792873", "")),
        ("soap.beep://192.0.2.103:3002", Uri("soap.beep", "//192.0.2.103:3002", "")),
    ],
)
def test_a_uri_says_what_is_written(text: str, uri: Uri):
    assert Uri.parse(text) == uri
    assert Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a URI"),
        ("alice", "is not a URI"),
        ("<sip:alice@atlanta.com>", "is not a URI"),
        ("1sip:alice@atlanta.com", "is not a URI"),
        ("http:a b", "is not a URI"),
        ("http:", "is not a URI"),
        ("sip:", "is not a sip URI"),
        ("sip:@atlanta.com", "is not a sip URI"),
        ("sip:al ice@atlanta.com", "is not a sip URI"),
        ('sip:al"ice@atlanta.com', "is not a sip URI"),
        ("sip:al%4@atlanta.com", "is not a sip URI"),
        ("sip:a@b@atlanta.com", "is not a sip URI"),
        ("sip:alice@atlanta.com;", "is not a sip URI"),
        ("sip:alice@atlanta.com;;lr", "is not a sip URI"),
        ("sip:alice@atlanta.com:x", "is not a sip URI"),
        ("sip:alice@atlanta.com?", "is not a sip URI"),
        ("sip:2001:db8::10", "is not a sip URI"),
        ("sip:张@atlanta.com", "is not a sip URI"),
        ("sip:alice@atlanta.com;lr;LR=1", "has a parameter twice"),
        ("sip:alice@atlanta.com:65536", "is over 65535"),
        ("sip:alice@atlanta.com:005060", "is not a sip URI"),
        ("sip:alice@atlanta.com:0", "has port 0"),
        ("sip:alice@.atlanta.com", "has a host that is no name"),
        ("sip:alice@-atlanta.com", "has a host that is no name"),
        ("sip:alice@atlanta..com", "has a host that is no name"),
        ("sip:alice@" + "a." * 128 + "com", "has a host that is no name"),
        ("sip:alice@192.0.2", "has a host that is no IP address"),
        ("sip:alice@192.0.2.256", "has a host that is no IP address"),
        ("sip:alice@[2001:db8::g]", "is not a sip URI"),
        ("sip:alice@[2001:db8::1::2]", "has a host that is no IP address"),
        ("sip:alice@[]", "is not a sip URI"),
        ("tel:", "is not a tel URI"),
        ("tel:++1", "is not a tel URI"),
        ("tel:12x", "is not a tel URI"),
    ],
)
def test_what_is_no_uri_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(MessageError) as error:
        Uri.parse(text, "Request-URI")
    assert (error.value.field, error.value.why, error.value.code) == ("Request-URI", reason, 400)


def test_three_colons_in_an_ipv6_address_are_read_as_two():
    assert Uri.parse("sip:user@[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"


@pytest.mark.parametrize(
    ("text", "address", "transport"),
    [
        ("sip:a@192.0.2.1", ("192.0.2.1", 5060), "udp"),
        ("sip:a@192.0.2.1:5080;transport=TCP", ("192.0.2.1", 5080), "tcp"),
        ("sip:[2001:db8::1];transport=udp", ("2001:db8::1", 5060), "udp"),
        ("sips:a@192.0.2.1", ("192.0.2.1", 5061), "tls"),
    ],
)
def test_a_uri_tells_where_to_send(text: str, address: tuple[str, int], transport: str):
    uri = Uri.parse(text)
    assert (uri.address, uri.transport) == (address, transport)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a%3ab@x.example", "sip:a%3Ab@x.example"),
        ("sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]"),
        ("tel:+86-10-12345678", "tel:+861012345678"),
        ("tel:7042;phone-context=Example.com", "tel:7042;phone-context=example.com"),
        ("isbn:1", "ISBN:1"),
    ],
)
def test_uris_that_mean_the_same(one: str, two: str):
    assert Uri.parse(one).equals(Uri.parse(two))
    assert Uri.parse(two).equals(Uri.parse(one))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;user=phone"),
        ("sip:bob@biloxi.com", "sip:biloxi.com"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:a%3Bb@x.example", "sip:a;b@x.example"),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"),
        ("tel:+861012345678", "tel:861012345678"),
        ("tel:7042;phone-context=a.example", "tel:7042"),
        ("isbn:1", "isbn:2"),
    ],
)
def test_uris_that_do_not_mean_the_same(one: str, two: str):
    assert not Uri.parse(one).equals(Uri.parse(two))
    assert not Uri.parse(two).equals(Uri.parse(one))


def test_a_uri_is_changed_by_making_another():
    uri = Uri.parse("sip:a@192.0.2.1;lr")
    assert str(dataclasses.replace(uri, user="b", port=5070)) == "sip:b@192.0.2.1:5070;lr"
    assert str(uri) == "sip:a@192.0.2.1;lr"
