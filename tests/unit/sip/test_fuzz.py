"""Whatever comes, a message or a MessageError comes out of it, and soon."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import CSeq, NameAddr, RAck, Via, split_values
from signalbox.sip.message import Headers, Request, Response, response
from signalbox.sip.parser import Framer, Keepalive, parse
from signalbox.sip.uri import Uri
from signalbox.sip.validate import check

INVITE = (
    b"INVITE sip:4001234567@192.0.2.9:5060;transport=udp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport, SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bK2\r\n"
    b"Record-Route: <sip:192.0.2.1;lr;ftag=f>\r\n"
    b"Route: <sip:192.0.2.9;lr>\r\n"
    b'From: "A \\"B\\", C" <sip:+8613800001234@x.example;user=phone>;tag=f\r\n'
    b"To: <sip:4001234567@x.example>;tag=\r\n t\r\n"
    b"Call-ID: c@192.0.2.3\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Max-Forwards: 70\r\n"
    b'Contact: <sip:a@192.0.2.3;ob>;+sip.instance="<urn:uuid:1>"\r\n'
    b"Supported: 100rel, timer\r\n"
    b"Session-Expires: 1800;refresher=uac\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 5\r\n"
    b"\r\n"
    b"v=0\r\n"
)
OK = INVITE.replace(INVITE.partition(b"\r\n")[0], b"SIP/2.0 200 OK", 1)

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure; how long a text may take is judged apart."""

PROPERTIES = ("via", "vias", "from_", "to", "cseq", "call_id", "contact", "contacts", "routes", "record_routes")


def take(data: bytes) -> None:
    """All that is done with a message; only MessageError may come out, and it can be told in a reason phrase."""
    phrases = []
    with contextlib.suppress(MessageError):
        for item in Framer().feed(data):
            assert isinstance(item, bytes | Keepalive)
    try:
        message = parse(data)
    except MessageError as error:
        phrases.append(error.phrase)
        request = error.request_head
        if request is None:
            return
        message = request
    try:
        check(message)
    except MessageError as error:
        phrases.append(error.phrase)
    assert all(phrase.isprintable() and len(phrase) < 120 for phrase in phrases)
    for name in PROPERTIES if isinstance(message, Response) else (*PROPERTIES, "target", "max_forwards"):
        with contextlib.suppress(MessageError):
            getattr(message, name)
    if isinstance(message, Request) and message.answerable:
        answer = parse(response(message, 400, tag="t").encode())
        assert isinstance(answer, Response)


def mutations() -> st.SearchStrategy[bytes]:
    """A valid message with pieces replaced by others: bytes, or pieces that mean something in SIP."""
    pieces = st.binary(max_size=6) | st.sampled_from(
        [b"\r\n", b"\r\n ", b"\r", b"\n", b"\0", b'"', b"\\", b"<", b">", b",", b";", b"=", b":", b"@", b"%", b"[",
         b"]", b"\xe4\xb8", b"SIP/2.0", b"sip:", b"*", b"-1", b"99999999999999999999", b"Via: ", b"\r\n\r\n", b" "]
    )  # fmt: skip
    change = st.tuples(st.integers(0, len(INVITE)), st.integers(0, 12), pieces)

    def changed(whole: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, piece in changes:
            whole = whole[:at] + piece + whole[at + length :]
        return whole

    return st.builds(changed, st.sampled_from([INVITE, OK]), st.lists(change, max_size=5))


@fuzzed
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes):
    take(data)


@fuzzed
@given(mutations())
def test_any_change_of_a_valid_message(data: bytes):
    take(data)


@fuzzed
@given(mutations(), st.lists(st.integers(1, 60), max_size=20))
def test_a_stream_means_the_same_however_it_is_torn(data: bytes, sizes: list[int]):
    def fed(pieces: list[bytes]) -> tuple[list[bytes | Keepalive], str]:
        framer, whole = Framer(), []
        try:
            for piece in [*pieces, b""]:
                whole += framer.feed(piece)
        except MessageError as error:
            return whole, str(error)
        return whole, ""

    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    assert fed([*pieces, data[at:]]) == fed([data])


@fuzzed
@given(mutations())
def test_a_message_that_is_read_is_the_same_when_it_is_sent_and_read_again(data: bytes):
    with contextlib.suppress(MessageError):
        message = parse(data)
        assert parse(message.encode()) == message


names = st.text(st.sampled_from("ABCxyz019-.!%*_+`'~"), min_size=1, max_size=12).filter(
    lambda name: name.lower() not in ("content-length", "l")
)
texts = st.text(st.characters(blacklist_categories=("Cc", "Cs"))).map(lambda text: text.strip(" \t"))


@fuzzed
@given(st.lists(st.tuples(names, texts), max_size=8), st.binary(max_size=50), st.integers(100, 699), texts)
def test_a_message_of_any_fields_survives(fields, body: bytes, status: int, reason: str):
    for message in (
        Request("INVITE", "sip:a@b", Headers(fields), body),
        Response(status, reason, Headers(fields), body),
    ):
        assert parse(message.encode()) == message


tokens = st.text(st.sampled_from("abcXYZ019-.!%*_+`'~"), min_size=1, max_size=8)
hosts = st.sampled_from(["192.0.2.1", "a.example", "2001:db8::1", "worker_1"])
params = st.dictionaries(tokens.map(str.lower), st.none() | tokens, max_size=3)
users = st.none() | st.text(st.sampled_from("az09-_.!~*'()&=+$,;?/:"), min_size=1, max_size=10)
uris = st.builds(
    Uri,
    st.sampled_from(["sip", "sips"]),
    users,
    hosts,
    st.none() | st.integers(1, 65_535),
    st.dictionaries(st.sampled_from(["lr", "transport", "user", "x"]), st.none() | st.just("udp"), max_size=3),
)


@fuzzed
@given(uris)
def test_a_uri_survives(uri: Uri):
    assert Uri.parse(str(uri)) == uri
    assert uri.equals(Uri.parse(str(uri)))


@fuzzed
@given(st.text(st.characters(blacklist_characters="\r\n")), uris, params)
def test_an_address_survives(display: str, uri: Uri, given_params: dict[str, str | None]):
    address = NameAddr(display, uri, given_params)
    assert NameAddr.parse(str(address)) == address


@fuzzed
@given(st.sampled_from(["UDP", "TCP"]), hosts, st.none() | st.integers(1, 65_535), params)
def test_a_via_survives(transport: str, host: str, port: int | None, given_params: dict[str, str | None]):
    via = Via(transport, host, port, given_params)
    assert Via.parse(str(via)) == via


@fuzzed
@given(st.text(max_size=60))
def test_no_value_gives_anything_but_a_message_error(text: str):
    for read in (Uri.parse, NameAddr.parse, Via.parse, CSeq.parse, RAck.parse, split_values):
        with contextlib.suppress(MessageError):
            read(text)


LONG = 60 * 1024
PATHOLOGICAL = [
    " ", "\t", ";", ",", "=", '"', '\\"', "\\", "<", ">", "<>", "a ", "a,", ";a", ";a=", "; a = ", '"a" ', "\r\n ",
    "%41", "%4", "0", "9", "@", ":", "a:", "[", ":::", "(", "(\\", "a.", "a-", ".", "sip:", "sip:a@b;x ", "<sip:a@b>,",
    '"" ', "中", "/", "?a=b&", "SIP/2.0/UDP a,", "SIP ", "\x00", "\\\x00",
]  # fmt: skip
"""Repeated, they make an expression that gives back what it took, or a search that begins again, take minutes."""
STARTS = ["", '"', '"a', "<", "<sip:", "sip:", "sip:a@b", "<sip:a@b>", "SIP/2.0/UDP a", "1", "1 ", "a/b", "tel:", "SIP"]


@pytest.mark.parametrize("piece", PATHOLOGICAL, ids=repr)
def test_a_long_line_takes_no_longer_for_what_it_is_made_of(piece: str):
    """Processor time, which others do not lengthen: with the square of the length it would take minutes."""
    began = time.process_time()
    long = piece * (LONG // len(piece.encode()))
    for start in STARTS:
        for read in (Uri.parse, NameAddr.parse, Via.parse, CSeq.parse, RAck.parse, split_values):
            with contextlib.suppress(MessageError):
                read(start + long)
    for field in ("Via", "From", "Contact", "Content-Type", "Date", "Retry-After", "Require", "Call-ID", "X-A", "l"):
        take(INVITE.replace(b"Max-Forwards", f"{field}: {long}\r\nMax-Forwards".encode(), 1))
    take(long.encode() + b"\r\n" + INVITE)
    take(f"INVITE {long} SIP/2.0\r\n\r\n".encode())
    take(INVITE.replace(b"Max-Forwards", long.encode(), 1))
    assert time.process_time() - began < 20, f"{piece!r} is looked at again and again"
