"""Values of header fields: what they say, how they are written, and what is refused."""

from __future__ import annotations

import pytest
from signalbox.sip import grammar
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import CSeq, NameAddr, RAck, Via, split_values
from signalbox.sip.uri import Uri


def refused(parse, text: str) -> str:
    with pytest.raises(MessageError) as error:
        parse(text, "Field")
    assert error.value.field == "Field"
    return error.value.why


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ["a"]),
        (" a , b ", ["a", "b"]),
        ('"Bell, A." <sip:a@b>;x="1,2", <sip:c,d@e>;q=1', ['"Bell, A." <sip:a@b>;x="1,2"', "<sip:c,d@e>;q=1"]),
        (r'"a\",", b', [r'"a\","', "b"]),
    ],
)
def test_commas_outside_of_quotes_and_brackets_separate(text: str, values: list[str]):
    assert split_values(text) == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has an empty value"),
        ("a,", "has an empty value"),
        ("a,,b", "has an empty value"),
        ('"a", "b', "has a quote or an angle bracket that is not closed"),
        ("<a, b", "has a quote or an angle bracket that is not closed"),
    ],
)
def test_values_that_cannot_be_told_apart_are_refused(text: str, reason: str):
    assert refused(split_values, text) == reason


def test_a_via_says_who_sent_the_request():
    via = Via.parse("SIP/2.0/udp 192.0.2.1:5070;rport=40000;received=192.0.2.9;branch=z9hG4bKa;alias")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "192.0.2.1", 5070, "z9hG4bKa")
    assert (via.sent_by, via.address, via.received, via.rport) == (
        "192.0.2.1:5070", ("192.0.2.1", 5070), "192.0.2.9", 40000,
    )  # fmt: skip
    assert str(via) == "SIP/2.0/UDP 192.0.2.1:5070;rport=40000;received=192.0.2.9;branch=z9hG4bKa;alias"


def test_a_via_may_have_spaces_and_little_else():
    via = Via.parse("SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8  ")
    assert str(via) == "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8"
    via = Via.parse("SIP/2.0/UDP host : 5080")
    assert (via.sent_by, via.branch, via.received, via.rport) == ("host:5080", "", None, None)


def test_a_via_of_ipv6():
    via = Via.parse("SIP/2.0/UDP [2001:db8::9:1]:5061;received=[2001:db8::9:255];branch=z9hG4bKb")
    assert (via.host, via.received, via.sent_by) == ("2001:db8::9:1", "2001:db8::9:255", "[2001:db8::9:1]:5061")
    assert Via.parse("SIP/2.0/UDP [2001:db8::1];received=2001:db8::9").received == "2001:db8::9"


def test_the_port_of_a_via_is_that_of_its_transport():
    assert Via.parse("SIP/2.0/UDP h").address == ("h", 5060)
    assert Via.parse("SIP/2.0/TLS h").address == ("h", 5061)


@pytest.mark.parametrize(
    ("value", "port"),
    [("", None), ("=", None), ("=x", None), ("=0", None), ("=70000", None), ("=00001" + "0" * 5000, None)],
    ids=["none", "empty", "no number", "0", "too high", "too long to be turned into a number"],
)
def test_a_port_that_is_none_is_not_told(value: str, port: int | None):
    if value == "=":
        refused(Via.parse, "SIP/2.0/UDP h;rport=")
    else:
        assert Via.parse(f"SIP/2.0/UDP h;rport{value}").rport is port


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be SIP/2.0/transport host:port;parameters"),
        ("nonsense", "must be SIP/2.0/transport host:port;parameters"),
        ("SIP/2.0/UDP", "must be SIP/2.0/transport host:port;parameters"),
        ("HTTP/2.0/UDP h", "must be SIP/2.0/transport host:port;parameters"),
        ("SIP/2.0/UDP 192.0.2.15;;", "must be SIP/2.0/transport host:port;parameters"),
        ("SIP/2.0/UDP h;branch=a b", "must be SIP/2.0/transport host:port;parameters"),
        ("SIP/2.0/UDP h;branch=a;branch=b", "has a parameter twice"),
        ("SIP/2.0/UDP 192.0.2.300;branch=a", "has a host that is no IP address"),
        ("SIP/2.0/UDP h:99999;branch=a", "is over 65535"),
    ],
)
def test_what_is_no_via_is_refused(text: str, reason: str):
    assert refused(Via.parse, text) == reason


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("sip:a@b;tag=1", NameAddr("", Uri("sip", "a", "b"), {"tag": "1"}), "<sip:a@b>;tag=1"),
        ("<sip:a@b;lr>", NameAddr("", Uri("sip", "a", "b", None, {"lr": None})), "<sip:a@b;lr>"),
        ("A. Bell <sip:a@b>;q=1", NameAddr("A. Bell", Uri("sip", "a", "b"), {"q": "1"}), '"A. Bell" <sip:a@b>;q=1'),
        ("caller<sip:a@b>", NameAddr("caller", Uri("sip", "a", "b")), '"caller" <sip:a@b>'),
        ("张三 <sip:a@b>", NameAddr("张三", Uri("sip", "a", "b")), '"张三" <sip:a@b>'),
        (
            r'"J Rosenberg \\\""       <sip:a@b>  ;  tag = 98asjd8',
            NameAddr('J Rosenberg \\"', Uri("sip", "a", "b"), {"tag": "98asjd8"}),
            r'"J Rosenberg \\\"" <sip:a@b>;tag=98asjd8',
        ),
        (
            '<sip:a@b>;+sip.instance="<urn:uuid:1;2>";q=0.3',
            NameAddr("", Uri("sip", "a", "b"), {"+sip.instance": '"<urn:uuid:1;2>"', "q": "0.3"}),
            '<sip:a@b>;+sip.instance="<urn:uuid:1;2>";q=0.3',
        ),
        ('sip:a@b;x="<"', NameAddr("", Uri("sip", "a", "b"), {"x": '"<"'}), '<sip:a@b>;x="<"'),
        ("tel:+8610123456;tag=1", NameAddr("", Uri("tel", "+8610123456", ""), {"tag": "1"}), "<tel:+8610123456>;tag=1"),
    ],
)  # fmt: skip
def test_an_address_says_what_is_written(text: str, address: NameAddr, written: str):
    assert NameAddr.parse(text) == address
    assert str(address) == written
    assert NameAddr.parse(written) == address


def test_an_address_without_a_tag_has_an_empty_one():
    assert NameAddr.parse("<sip:a@b>").tag == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"Mr. J. User <sip:j.user@example.com>',
        "Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
        '"Watson, Thomas" < sip:t.watson@example.org >',
        "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        '"Joe" <sip:joe@example.org>;;;;',
        "<sip:a@b",
        "<>",
        "<sip:a@b> <sip:c@d>",
        "<sip:a@b>;tag=",
        "<sip:a@b>;tag=a|b",
        '<sip:a@b>;x="a',
        "sip:a@b x",
        '"a" "b" <sip:a@b>',
    ],
)
def test_what_is_no_address_is_refused(text: str):
    assert refused(NameAddr.parse, text) == "must be a URI, or a name and a URI in <>, and parameters"


def test_an_address_with_a_broken_uri_or_a_parameter_twice_is_refused():
    assert refused(NameAddr.parse, "<sip:a@b:x>") == "is not a sip URI"
    assert refused(NameAddr.parse, "<sip:a@b>;tag=1;TAG=2") == "has a parameter twice"
    assert refused(NameAddr.parse, '<sip:a@b>;x="1";X="2"') == "has a parameter twice"


def test_numbers_with_methods():
    assert CSeq.parse("0009   INVITE") == CSeq(9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"
    assert RAck.parse("4294967295 1 INVITE") == RAck(4294967295, 1, "INVITE")
    assert str(RAck(7, 1, "INVITE")) == "7 1 INVITE"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a number and a method"),
        ("1", "must be a number and a method"),
        ("INVITE 1", "must be a number and a method"),
        ("-1 INVITE", "must be a number and a method"),
        ("١ INVITE", "must be a number and a method"),
        ("1 IN VITE", "must be a number and a method"),
        ("2147483648 INVITE", "is over 2147483647"),
        ("36893488147419103232 INVITE", "is over 2147483647"),
    ],
)
def test_what_is_no_sequence_number_is_refused(text: str, reason: str):
    assert refused(CSeq.parse, text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 INVITE", "must be two numbers and a method"),
        ("4294967296 1 INVITE", "is over 4294967295"),
        ("1 2147483648 INVITE", "is over 2147483647"),
    ],
)
def test_what_acknowledges_no_response_is_refused(text: str, reason: str):
    assert refused(RAck.parse, text) == reason


def test_quoting_there_and_back():
    assert grammar.quote('say "\\"\x07') == '"say \\"\\\\\\"\\\x07"'
    assert grammar.unquote(grammar.quote('say "\\"\x07')) == 'say "\\"\x07'
    assert grammar.quote("two\r\nlines") == '"two  lines"'
    assert grammar.unquote("plain") == "plain"
    assert grammar.unquote('"') == '"'


def test_a_number_may_have_any_zeros_before_it():
    assert grammar.number("0" * 5000 + "70", "Field", 255) == 70
    assert grammar.number("0" * 20, "Field", 255) == 0
