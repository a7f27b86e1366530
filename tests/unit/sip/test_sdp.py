"""Session descriptions: text to values and back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.codec import PCMA, PCMU, Codec
from signalbox.sip.sdp import (
    BYTES_MAX,
    DIRECTIONS,
    Connection,
    DescriptionError,
    Media,
    Origin,
    SessionDescription,
)
from support.corpus import MESSAGES, needs_corpus

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = """v=0
o=jdoe 2890844526 2890842807 IN IP4 198.51.100.1
s=SDP Seminar
i=A Seminar
c=IN IP4 198.51.100.1
b=AS:64
t=2873397496 2873404696
a=recvonly
m=audio 49170 RTP/AVP 8 0 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=maxptime:60
a=rtcp:53020
m=video 51372 RTP/AVP 99
c=IN IP6 2001:db8::1
a=rtpmap:99 h263-1998/90000
a=sendonly
"""
LINES = TEXT.splitlines()


def parsed(*lines: str) -> SessionDescription:
    return SessionDescription.parse("\r\n".join(lines) + "\r\n")


def with_media(*lines: str, connection: str = "IN IP4 192.0.2.1") -> SessionDescription:
    return parsed("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", f"c={connection}", "t=0 0", *lines)


def attempt(text: str) -> SessionDescription | DescriptionError:
    try:
        return SessionDescription.parse(text)
    except DescriptionError as error:
        return error


WORDS = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789.-", min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=30)
ADDRESSES = st.one_of(
    st.builds(Connection, st.ip_addresses(v=4).map(str)),
    st.builds(Connection, st.ip_addresses(v=6).map(str), st.just("IP6")),
)
FREE = st.one_of(
    st.tuples(st.sampled_from("iuepbkrzXY"), VALUES),
    st.tuples(st.just("a"), VALUES.map("x-".__add__)),
    st.tuples(st.just("a"), st.sampled_from(DIRECTIONS)),
    st.tuples(st.just("c"), ADDRESSES.map(str)),
)
LINE_LISTS = st.lists(FREE, max_size=4)
MEDIA = st.builds(
    Media,
    WORDS,
    st.integers(0, 65_535),
    st.sampled_from(["RTP/AVP", "RTP/SAVP", "udp", "TCP/MSRP"]),
    st.lists(st.integers(0, 127).map(str), min_size=1, max_size=4).map(tuple),
    LINE_LISTS.map(tuple),
    st.integers(1, 9),
)
DESCRIPTIONS = st.builds(
    SessionDescription,
    st.builds(Origin, WORDS, st.integers(0, 2**63), st.integers(0, 2**63), ADDRESSES),
    st.lists(MEDIA, max_size=3).map(tuple),
    st.builds(
        lambda name, connection, lines: (("s", name), ("c", str(connection)), ("t", "0 0"), *lines),
        VALUES,
        ADDRESSES,
        LINE_LISTS,
    ),
)


@given(DESCRIPTIONS)
@settings(deadline=None)
def test_a_description_comes_back_as_it_was(description: SessionDescription) -> None:
    assert SessionDescription.parse(str(description)) == description
    assert SessionDescription.parse(description.encode()) == description


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_of_any_octets_there_is_a_description_or_a_reason(content: bytes) -> None:
    with pytest.raises(DescriptionError):
        SessionDescription.parse(content)


@given(st.data())
@settings(deadline=None)
def test_a_changed_description_is_one_or_has_a_reason(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        text = lines[at]
        cut = data.draw(st.integers(0, len(text)))
        lines[at] = text[:cut] + data.draw(st.text("v=om:/ 019\r\0a-z", max_size=3)) + text[cut + 1 :]
    description = attempt("\r\n".join(lines))
    if isinstance(description, DescriptionError):
        assert description.why
        assert 0 <= description.line <= len(lines)
        return
    assert SessionDescription.parse(str(description)) == description
    for media in description.media:
        assert len(media.codecs) in (0, len(media.formats))
        assert description.direction(media) in DIRECTIONS
        description.address(media)
        description.rtcp_address(media)
        assert media.ptime is None or media.ptime > 0
        assert media.maxptime is None or media.maxptime > 0


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_in_cr_lf_or_lf(end: str) -> None:
    description = SessionDescription.parse(end.join(LINES) + end)
    assert str(description) == "\r\n".join(LINES) + "\r\n"


def test_the_end_of_the_last_line_may_be_missing_or_be_there_twice() -> None:
    description = SessionDescription.parse(TEXT)
    assert SessionDescription.parse("\r\n".join(LINES)) == description
    assert SessionDescription.parse("\r\n".join(LINES) + "\r\n\r\n") == description


@needs_corpus
def test_bodies_of_the_torture_messages_are_read() -> None:
    read = 0
    for file in MESSAGES:
        body = file.read_bytes().partition(b"\r\n\r\n")[2]
        if body.startswith(b"v=0") and b"\r\n\r\n" not in body:
            assert SessionDescription.parse(body).media, file.name
            read += 1
    assert read >= 15


def test_what_is_read_of_a_description() -> None:
    description = SessionDescription.parse(TEXT)
    audio, video = description.media
    assert description.origin == Origin("jdoe", 2890844526, 2890842807, Connection("198.51.100.1"))
    assert audio.codecs == (PCMA, PCMU, Codec(101, "telephone-event", 8_000, 1, "0-15"))
    assert audio.ptime == 20
    assert audio.maxptime == 60
    assert description.address(audio) == ("198.51.100.1", 49_170)
    assert description.rtcp_address(audio) == ("198.51.100.1", 53_020)
    assert description.direction(audio) == "recvonly"
    assert video.ptime is None
    assert video.maxptime is None
    assert description.address(video) == ("2001:db8::1", 51_372)
    assert description.rtcp_address(video) == ("2001:db8::1", 51_373)
    assert description.direction(video) == "sendonly"
    assert description.attribute("recvonly") == ""
    assert description.attribute("ice-lite") is None


def test_lines_that_nobody_knows_are_kept_where_they_stood() -> None:
    text = TEXT.replace("a=recvonly\n", "a=recvonly\ny=what is this\na=x-own:1\n").replace("\n", "\r\n")
    assert str(SessionDescription.parse(text)) == text


def test_octets_that_are_no_utf_8_are_kept() -> None:
    content = TEXT.replace("\n", "\r\n").encode().replace(b"SDP Seminar", b"\xb5\xc4")
    assert SessionDescription.parse(content).encode() == content


@pytest.mark.parametrize(
    ("at", "text", "told"),
    [
        (1, "v=1", "must be v=0"),
        (1, "o=x", "must be v="),
        (2, "s=-", "must be o="),
        (2, "o=- 1 IN IP4 192.0.2.1", "must be a user name, two numbers"),
        (2, "o=- one 1 IN IP4 192.0.2.1", "must be a user name, two numbers"),
        (2, "o=- 1 123456789012345678901 IN IP4 192.0.2.1", "must be a user name, two numbers"),
        (4, "v=0", "v= must stand once, at the beginning"),
        (4, "o=- 1 1 IN IP4 192.0.2.1", "o= must stand once, at the beginning"),
        (4, "i", "must be a letter, = and a value"),
        (4, "", "must be a letter, = and a value"),
        (4, "ii=1", "must be a letter, = and a value"),
        (4, "i=a\rb", "must not have CR or NUL in it"),
        (4, "i=a\0b", "must not have CR or NUL in it"),
        (5, "c=IN IP4", "must be a network type, an address type and an address"),
        (5, "c=IN IP4 " + "a" * 294, "must have at most 300 characters"),
        (5, "c=IN IP4 " + "a" * 256, "must have an IP address or a name"),
        (5, "c=IN IP4 198.51.100.999", "must have an address of the type IP4, or a name"),
        (5, "c=IN IP4 2001:db8::1", "must have an address of the type IP4"),
        (5, "c=IN IP6 198.51.100.1", "must have an address of the type IP6"),
        (5, "c=IN IP5 198.51.100.1", "must have the address type IP4 or IP6"),
        (5, "c=IN IP4 a_name!", "must have an IP address or a name"),
        (9, "m=audio 49170 RTP/AVP", "must be a kind of media, a port, a protocol and at least one format"),
        (9, "m=au/dio 49170 RTP/AVP 0", "must be a kind of media, a port, a protocol and at least one format"),
        (9, "m=audio 49170 RTP/ 0", "must be a kind of media, a port, a protocol and at least one format"),
        (9, "m=audio x RTP/AVP 0", "must have a port, 0 to 65535"),
        (9, "m=audio 65536 RTP/AVP 0", "must have a port, 0 to 65535"),
        (9, "m=audio 49170/0 RTP/AVP 0", "must have a port, 0 to 65535"),
        (9, "m=audio 49170 RTP/AVP 128", "must have payload types, 0 to 127"),
        (9, "m=audio 49170 rtp/avp x", "must have payload types, 0 to 127"),
    ],
)
def test_a_wrong_line_is_named(at: int, text: str, told: str) -> None:
    lines = list(LINES)
    lines[at - 1] = text
    with pytest.raises(DescriptionError, match=told) as raised:
        parsed(*lines)
    assert raised.value.line == at
    assert raised.value.code == 400
    assert str(raised.value).startswith(f"session description, line {at}: ")


def test_a_name_and_times_may_be_missing() -> None:
    lines = [line for line in LINES if line[0] not in "st"]
    description = parsed(*lines)
    assert str(description) == "\r\n".join(lines) + "\r\n"
    assert description.media == parsed(*LINES).media


@pytest.mark.parametrize(("text", "line"), [("", 1), ("v=0", 1), ("v=0\r\n", 1)])
def test_what_ends_too_early(text: str, line: int) -> None:
    with pytest.raises(DescriptionError) as raised:
        SessionDescription.parse(text)
    assert raised.value.line == line


def test_media_that_nobody_can_send_to_is_named() -> None:
    with pytest.raises(DescriptionError, match="must have c= below it or in the session") as raised:
        parsed("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", "m=audio 9 RTP/AVP 0")
    assert raised.value.line == 5


def test_refused_media_needs_no_address() -> None:
    description = parsed("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", "m=audio 0 RTP/AVP 0")
    assert description.connection(description.media[0]) is None
    assert description.address(description.media[0]) is None
    assert description.rtcp_address(description.media[0]) is None
    assert description.direction(description.media[0]) == "sendrecv"


def test_a_description_has_its_longest() -> None:
    lines = [*LINES, "a=" + "x" * (BYTES_MAX - len(TEXT) - 2)]
    assert SessionDescription.parse("\n".join(lines).encode())
    with pytest.raises(DescriptionError, match="must have at most 65536 octets") as raised:
        SessionDescription.parse(("\n".join(lines) + "\n").encode())
    assert raised.value.line == 0


def test_twice_as_much_is_twice_the_work_however_it_is_spread() -> None:
    def work(size: int) -> int:
        lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", *["b="] * size, "c=IN IP4 192.0.2.1", *["m=a 1 x x"] * size]
        steps = 0

        def count(*_: object) -> Callable[..., object]:
            nonlocal steps
            steps += 1
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            parsed(*lines)
        finally:
            sys.settrace(before)
        return steps

    assert work(400) < 3 * work(200)


@pytest.mark.parametrize(
    ("connection", "told", "direction"),
    [
        ("IN IP4 192.0.2.1", None, "sendrecv"),
        ("IN IP4 192.0.2.1", "sendonly", "sendonly"),
        ("IN IP4 192.0.2.1", "inactive ", "inactive"),
        ("IN IP4 0.0.0.0", None, "sendonly"),
        ("IN IP4 0.0.0.0", "sendrecv", "sendonly"),
        ("IN IP4 0.0.0.0", "sendonly", "sendonly"),
        ("IN IP4 0.0.0.0", "recvonly", "inactive"),
        ("IN IP4 0.0.0.0", "inactive", "inactive"),
        ("IN IP6 ::", None, "sendonly"),
    ],
)
def test_hold_in_both_forms(connection: str, told: str | None, direction: str) -> None:
    lines = [f"a={told}"] if told else []
    description = with_media("m=audio 9 RTP/AVP 0", *lines, connection=connection)
    assert description.direction(description.media[0]) == direction
    assert (description.address(description.media[0]) is None) == (connection != "IN IP4 192.0.2.1")


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("a=rtcp:53020 IN IP6 2001:db8::2", ("2001:db8::2", 53_020)),
        ("a=rtcp:53020 IN IP4 192.0.2.9", ("192.0.2.9", 53_020)),
        ("a=rtcp-mux", ("192.0.2.1", 49_170)),
        ("a=x", ("192.0.2.1", 49_171)),
    ],
)
def test_where_rtcp_goes(line: str, address: tuple[str, int]) -> None:
    description = with_media("m=audio 49170 RTP/AVP 0", line)
    assert description.rtcp_address(description.media[0]) == address


@pytest.mark.parametrize("line", ["rtpmap:31 LPC", "rtpmap:31", "rtpmap", "rtpmap:128 LPC/8000", "rtpmap:x LPC/8000"])
def test_an_rtpmap_that_cannot_be_read_counts_as_none(line: str) -> None:
    (media,) = with_media("m=video 51372 RTP/AVP 31 96", f"a={line}", "a=rtpmap:96 h264/90000").media
    assert [one.name for one in media.codecs] == ["H261", "h264"]
    assert media.lines[0] == ("a", line)


@pytest.mark.parametrize("value", ["", ":", ":0", ":x", ":-20", ":20.5", ":9999999"])
def test_milliseconds_that_cannot_be_read_count_as_none(value: str) -> None:
    (media,) = with_media("m=audio 9 RTP/AVP 0", f"a=ptime{value}", f"a=maxptime{value}").media
    assert media.ptime is None
    assert media.maxptime is None


@pytest.mark.parametrize("value", ["", ":", ":0", ":x", ":65536", ":53020 IN IP4", ":53020 IN IP4 nowhere!"])
def test_where_rtcp_goes_if_that_cannot_be_read(value: str) -> None:
    description = with_media("m=audio 49170 RTP/AVP 0", f"a=rtcp{value}")
    assert description.rtcp_address(description.media[0]) == ("192.0.2.1", 49_171)


def test_there_is_no_port_above_the_last() -> None:
    description = with_media("m=audio 65535 RTP/AVP 0")
    assert description.rtcp_address(description.media[0]) is None


def test_a_multicast_address_is_told_without_its_ttl() -> None:
    description = with_media("m=audio 9 RTP/AVP 0", connection="IN IP4 224.2.36.42/127")
    assert description.address(description.media[0]) == ("224.2.36.42", 9)


def test_a_dynamic_payload_type_without_rtpmap_is_unknown() -> None:
    (media,) = with_media("m=audio 9 RTP/AVP 0 96", "a=fmtp:x 1", "a=fmtp:0 annexb=no").media
    assert media.codecs == (Codec(0, "PCMU", 8_000, 1, "annexb=no"), Codec(96, "", 0))


def test_a_payload_type_that_is_told_often_counts_once_where_it_is_told_first() -> None:
    (media,) = with_media("m=audio 9 RTP/AVP 8 101 0 8 101 101", "a=rtpmap:101 telephone-event/8000").media
    assert [one.payload for one in media.codecs] == [8, 101, 0]


def test_what_is_no_rtp_has_no_codecs() -> None:
    (media,) = with_media("m=message 9 TCP/MSRP *", "a=accept-types:text/plain", "a=accept-types:text/html").media
    assert media.codecs == ()
    assert media.attributes("accept-types") == ["text/plain", "text/html"]


@pytest.mark.parametrize(("host", "text"), [("192.0.2.1", "IN IP4 192.0.2.1"), ("2001:db8::1", "IN IP6 2001:db8::1")])
def test_the_connection_of_an_address(host: str, text: str) -> None:
    assert str(Connection.to(host)) == text
    assert Connection.parse(text) == Connection.to(host)
