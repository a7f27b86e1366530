"""The usual forms of header fields: nothing matches one that the grammar refuses, and what phones send does match."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signalbox.sip import usual
from signalbox.sip.errors import MessageError
from signalbox.sip.grammar import is_token
from signalbox.sip.headers import NameAddr, Via, split_values
from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.uri import Uri
from signalbox.sip.validate import SCHEMES, check

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=500)

URIS = [
    "sip:13800001234@10.0.0.9:5060",
    "sip:4001234567@192.0.2.9",
    "sip:10.0.0.1;lr;ftag=abc;sb=1234567890abcdef",
    "sips:+8610@gw-1.example.com:61099;transport=tcp",
    "sip:worker_1.voice:5080;lr",
    "sip:localhost",
]
ADDRESSES = [
    '"Caller" <sip:13800001234@10.0.0.9>;tag=c1',
    "Bob A. <sip:b@x.example;user=phone>;tag=1-2",
    "<sip:4001234567@10.0.0.1:50600>",
    '"张三"<sip:4001234567@10.0.0.1;transport=udp>;expires=60',
]
VIAS = [
    "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa1.0",
    "SIP/2.0/UDP 10.0.0.9:5060;rport=5060;received=10.0.0.9;branch=z9hG4bKlower1",
    "SIP/2.0/TCP pc33.example.com:5070;rport;branch=z9hG4bK1;alias",
]
PIECES = [
    ";", "=", ",", "@", ":", "<", ">",
    '"', "\\", " ", "  ", "\t", "%", "%41", "[", "]", "[::1]", "?", "?a=b", ".", "..",
    "-", "_", "*", "\n", "\r", "\0", "\x7f", "张", "\u212a", "\u017f", "sip:", "tel:", "SIP:", ";lr", ";LR", ";lr;LR",
    ";ftag=1", ";a;b;A", ";a;ab;abc", ";tag", ";tag=", ";tag=a;TAG=b", ';tag="a"', ";branch=z9hG4bK", ";K;\u212a",
    ";rport", ";Rport", ":0", ":00", ":65535", ":65536", ":99999", ":005060", "255.", "256.", "01.", "300", "1.2.3",
    "a" * 31, "a" * 300, "a." * 10, ".a", "1a", "-a", "a-", "SIP/3.0", "/UDP", "/udp",
]  # fmt: skip
"""What decides between right and wrong somewhere in one of these fields."""


def changed(texts: list[str]) -> st.SearchStrategy[str]:
    """One of the texts, with pieces of it replaced by others."""
    change = st.tuples(st.integers(0, 80), st.integers(0, 6), st.sampled_from(PIECES) | st.text(max_size=3))

    def build(text: str, changes: list[tuple[int, int, str]]) -> str:
        for at, length, piece in changes:
            at %= len(text) + 1
            text = text[:at] + piece + text[at + length :]
        return text

    return st.builds(build, st.sampled_from(texts), st.lists(change, max_size=3))


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [(usual.SIP_URI, URIS), (usual.ADDRESS, ADDRESSES), (usual.VIA, VIAS)],
    ids=["uri", "address", "via"],
)
def test_what_phones_and_proxies_send_is_usual(pattern: re.Pattern[str], texts: list[str]):
    assert [text for text in texts if not pattern.fullmatch(text)] == []


@fuzzed
@given(changed(URIS))
def test_what_is_usual_is_a_uri_of_sip_without_header_fields(text: str):
    assert usual.is_uri(text) == (usual.SIP_URI.fullmatch(text) is not None)
    if usual.is_uri(text):
        uri = Uri.parse(text)
        assert uri.scheme in SCHEMES
        assert not uri.headers


@fuzzed
@given(changed(ADDRESSES) | st.builds("<{}>;tag=a".format, changed(URIS)))
def test_what_is_usual_is_one_address_whose_tag_is_a_token(text: str):
    tag = usual.tag(text)
    assert (tag is None) == (usual.ADDRESS.fullmatch(text) is None)
    if tag is not None:
        address = NameAddr.parse(text)
        assert address.tag == tag
        assert "tag" not in address.params or is_token(tag)
        assert len(split_values(text)) == 1


@fuzzed
@given(changed(VIAS))
def test_what_is_usual_is_one_via(text: str):
    if usual.VIA.fullmatch(text):
        Via.parse(text)
        assert len(split_values(text)) == 1


def test_what_is_long_is_not_usual():
    assert usual.is_uri(f"sip:{'a' * (usual.LENGTH_MAX - 6)}@h")
    assert not usual.is_uri(f"sip:{'a' * (usual.LENGTH_MAX - 5)}@h")
    assert usual.tag(f"<sip:h>;tag={'a' * (usual.LENGTH_MAX - 12)}") == "a" * (usual.LENGTH_MAX - 12)
    assert usual.tag(f"<sip:h>;tag={'a' * (usual.LENGTH_MAX - 11)}") is None


@pytest.mark.parametrize("name", ["lr", "ftag", "a", "x-y"])
@pytest.mark.parametrize("between", ["", ";b", ";b=1", ";b;c"])
def test_a_parameter_twice_is_not_usual_however_it_is_written(name: str, between: str):
    for second in (name, name.upper(), f"{name}=1", f"{name.upper()}=1"):
        assert not usual.SIP_URI.fullmatch(f"sip:h;{name}{between};{second}")
        assert not usual.VIA.fullmatch(f"SIP/2.0/UDP h;{name}{between};{second}")
        assert usual.SIP_URI.fullmatch(f"sip:h;{name}{between[:2]};{name}x")


def outcome(message: Request | Response) -> str:
    try:
        check(message)
    except MessageError as error:
        return f"{error.code} {error}"
    return ""


@fuzzed
@given(
    changed(URIS), changed(ADDRESSES), changed(ADDRESSES), st.lists(changed(VIAS), min_size=1, max_size=3),
    st.lists(changed(ADDRESSES), max_size=2), st.sampled_from([0, 183, 486]),
)  # fmt: skip
def test_a_message_is_judged_as_by_the_grammar_alone(uri, from_, to, vias, routes, status):
    fields = [("From", from_), ("To", to), ("Call-ID", "c"), ("CSeq", "1 INVITE")]
    fields += [("Via", via) for via in vias] + [("Contact", from_)] + [("Record-Route", route) for route in routes]
    lines: dict[str, list[str]] = {}
    for name, value in fields:
        lines.setdefault(name, []).append(value)

    def made() -> Request | Response:
        headers = Headers.of(lines).copy()
        return Response(status, "", headers) if status else Request("INVITE", uri, headers)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("ADDRESS", "VIA"):
            patch.setattr(usual, name, re.compile("(?!)"))
        patch.setattr(usual, "is_uri", lambda _: False)
        patch.setattr(usual, "tag", lambda _: None)
        by_the_grammar = outcome(made())
    assert outcome(made()) == by_the_grammar
