"""Datagrams and streams to messages, and what is told of those that are none."""

from __future__ import annotations

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Request, Response
from signalbox.sip.parser import BODY_BYTES_MAX, HEAD_BYTES_MAX, Framer, Keepalive, parse

HEAD = (
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x.example>;tag=f\r\nTo: <sip:b@x.example>\r\n"
    "Call-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)


def options(
    start: str = "OPTIONS sip:b@x.example SIP/2.0", more: str = "", body: bytes = b"", head: str = HEAD
) -> bytes:
    return f"{start}\r\n{head}{more}\r\n".encode() + body


def refused(data: bytes) -> MessageError:
    with pytest.raises(MessageError) as error:
        parse(data)
    return error.value


def test_a_request():
    request = parse(options(more="Content-Length: 4\r\nContent-Type: text/plain\r\n", body=b"body"))
    assert isinstance(request, Request)
    assert (request.method, request.uri, request.body) == ("OPTIONS", "sip:b@x.example", b"body")
    assert request.headers.get("Call-ID") == "c"


@pytest.mark.parametrize(
    ("start", "status", "reason"),
    [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("sip/2.0 183 Session  Progress", 183, "Session  Progress"),
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 699", 699, ""),
        ("SIP/2.0 200 = 2**3 * 5**2 но сто", 200, "= 2**3 * 5**2 но сто"),
    ],
)
def test_a_response(start: str, status: int, reason: str):
    response = parse(options(start))
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.call_id) == (status, reason, "c")


def test_lines_are_unfolded_and_spaces_around_values_are_left_out():
    request = parse(
        options(more="Subject \t:  one\r\n two \r\n\tthree \r\nV:\r\n SIP/2.0/TCP 192.0.2.2\r\ns:\r\nl: 0\r\n")
    )
    assert request.headers.all("Subject") == ["one two  three", ""]
    assert [via.host for via in request.vias] == ["192.0.2.1", "192.0.2.2"]


def test_empty_lines_before_a_message_and_what_follows_its_length_are_left_out():
    request = parse(b"\r\n\r\n" + options(more="l: 2\r\n", body=b"ab\r\nINVITE sip:x SIP/2.0\r\n\r\n"))
    assert request.body == b"ab"
    assert parse(options(body=b"all of it")).body == b"all of it"


def test_text_that_is_not_utf_8_is_replaced():
    data = options().replace(b"From: ", 'From: "张三" '.encode("gbk"))
    request = parse(data)
    assert request.from_.tag == "f"
    assert "\N{REPLACEMENT CHARACTER}" in request.from_.display
    assert parse(request.encode()) == request


def test_control_characters_are_taken_in_quoted_pairs_alone():
    request = parse(options(more='Subject: "BEL:\\\x07 NUL:\\\x00"\r\n'))
    assert request.headers.get("Subject") == '"BEL:\\\x07 NUL:\\\x00"'
    assert refused(options(more="Subject: \x07\r\n")).why == "has a control character in its head"


@pytest.mark.parametrize(
    ("data", "field", "reason", "code"),
    [
        (b"", "message", "has no empty line after its header fields", 400),
        (b"\r\n\r\n", "message", "has no empty line after its header fields", 400),
        (b"\x16\x03\x01\x02\x00", "message", "has no empty line after its header fields", 400),
        (options()[:-2], "message", "has no empty line after its header fields", 400),
        (b"\0" * 200_000, "message", "is too large", 513),
        (options(start="OPTIONS sip:b@x.example SIP/2.0\r\n folded"), "message", "has a folded first line", 400),
        (options("SIP/2.0 200 OK", more="nothing\r\n"), "message", "has a line that is no header field", 400),
        (options(more="Subject: a\nVia: forged\r\n"), "message", "has a line that does not end in CR LF", 400),
        (options(more="Subject: a\rVia: forged\r\n"), "message", "has a line that does not end in CR LF", 400),
        (options("SIP/2.0 4294967301 better not"), "Status-Line", "has no status from 100 to 699", 400),
        (options("SIP/2.0 99 Low"), "Status-Line", "has no status from 100 to 699", 400),
        (options("SIP/2.0 700 High"), "Status-Line", "has no status from 100 to 699", 400),
        (options("SIP/2.0  200 OK"), "Status-Line", "has no status from 100 to 699", 400),
        (options("SIP/3.0 200 OK"), "Status-Line", "has another version than SIP/2.0", 400),
        (options("SIP/2.0 200 O\nK"), "Status-Line", "has a line break", 400),
        (options("SIP/2.0 200 OK", more="l: 1\r\n"), "Content-Length", "is more than there is", 400),
    ],
)
def test_what_nobody_can_be_told_of(data: bytes, field: str, reason: str, code: int):
    error = refused(data)
    assert (error.field, error.why, error.code, error.request_head) == (field, reason, code, None)


ONE_SPACE = "must be method, URI and version with one space between"


@pytest.mark.parametrize(
    ("data", "field", "reason", "code"),
    [
        (options("OPTIONS sip:b@x.example; lr SIP/2.0"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS  sip:b@x.example SIP/2.0"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS sip:b@x.example SIP/2.0 "), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS\tsip:b@x.example SIP/2.0"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS sip:b@x\n.example SIP/2.0"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS sip:b@x.example"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS"), "Request-Line", ONE_SPACE, 400),
        (options("OPTIONS sip:b@x.example HTTP/1.1"), "Request-Line", "does not end in SIP/2.0", 400),
        (options("OPT|ONS sip:b@x.example SIP/2.0"), "Request-Line", "has a method that is no token", 400),
        (
            options("OPTIONS sip:b@x.example SIP/7.0"),
            "Request-Line", "asks for another version than SIP/2.0", 505,
        ),
        (options(more="Content-Length: 1\r\n"), "Content-Length", "is more than there is", 400),
        (options(more="Content-Length: -9\r\n"), "Content-Length", "must be a whole number", 400),
        (options(more="Content-Length:\r\n"), "Content-Length", "must be a whole number", 400),
        (options(more="Content-Length: 99999999999\r\n"), "Content-Length", "is over 4294967295", 400),
        (options(more="Content-Length: 0\r\nl: 0\r\n"), "Content-Length", "is there more than once", 400),
        (options(more="nothing\r\n"), "message", "has a line that is no header field", 400),
        (options(more="Contact\r\n"), "message", "has a line that is no header field", 400),
        (options(more=": nothing\r\n"), "message", "has a header field whose name is no token", 400),
        (options(more="a b: nothing\r\n"), "message", "has a header field whose name is no token", 400),
    ],
)  # fmt: skip
def test_a_broken_request_that_has_what_a_response_needs_can_be_answered(
    data: bytes, field: str, reason: str, code: int
):
    error = refused(data)
    assert (error.field, error.why, error.code) == (field, reason, code)
    assert error.request_head is not None
    assert (error.request_head.call_id, error.request_head.body) == ("c", b"")


@pytest.mark.parametrize("field", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_a_broken_request_without_what_a_response_needs_cannot_be_answered(field: str):
    head = "".join(line + "\r\n" for line in HEAD.splitlines() if not line.startswith(field + ":"))
    assert refused(options("OPTIONS sip:b@x.example SIP/7.0", head=head)).request_head is None


def test_a_line_that_is_no_header_field_in_place_of_one_that_a_response_needs_is_told_nobody():
    assert refused(options(head=HEAD.replace("Call-ID:", "Call-ID"))).request_head is None


def test_a_broken_ack_is_not_answered():
    assert refused(options("ACK sip:b@x.example SIP/7.0")).request_head is None


def test_a_version_in_small_letters_is_the_same():
    assert isinstance(parse(options("OPTIONS sip:b@x.example sip/2.0")), Request)


ONE = options(more="Content-Length: 4\r\n", body=b"\r\n\r\n")
TWO = options(more="l :\r\n 0\r\n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10_000])
def test_a_stream_is_cut_into_messages_however_it_is_torn(size: int):
    stream = ONE + TWO + b"\r\n\r\n" + ONE + b"\r\n" + TWO
    framer = Framer()
    whole = [item for at in range(0, len(stream), size) for item in framer.feed(stream[at : at + size])]
    assert whole == [ONE, TWO, Keepalive.PING, ONE, TWO]
    assert [type(parse(item)) for item in whole if isinstance(item, bytes)] == [Request] * 4


def test_two_empty_lines_are_a_keep_alive_and_one_is_none():
    framer = Framer()
    assert framer.feed(b"\r\n") == []
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n\r\n") == [Keepalive.PING]
    assert framer.feed(b"\r\n" + TWO) == [Keepalive.PING, TWO]
    assert framer.feed(b"\r\n" + TWO) == [TWO]
    assert framer.feed(b"\r\n") == []


def stream_refused(data: bytes, framer: Framer | None = None) -> MessageError:
    with pytest.raises(MessageError) as error:
        (framer or Framer()).feed(data)
    return error.value


@pytest.mark.parametrize(
    ("data", "field", "reason", "code", "answerable"),
    [
        (options(), "Content-Length", "is missing", 400, True),
        (options(more="l: 0\r\nContent-Length: 0\r\n"), "Content-Length", "is there more than once", 400, True),
        (options(more="l: -1\r\n"), "Content-Length", "must be a whole number", 400, True),
        (options(more=f"l: {BODY_BYTES_MAX + 1}\r\n"), "Content-Length", "is over 65536", 513, True),
        (options("ACK sip:b@x.example SIP/2.0"), "Content-Length", "is missing", 400, False),
        (options("SIP/2.0 200 OK"), "Content-Length", "is missing", 400, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length", "is missing", 400, False),
        (b"\xff" * (HEAD_BYTES_MAX + 1), "message", "has a head that is too large", 513, False),
        (options(more=f"X: {HEAD_BYTES_MAX * 'x'}\r\n"), "message", "has a head that is too large", 513, False),
    ],
)  # fmt: skip
def test_a_stream_that_cannot_be_followed(data: bytes, field: str, reason: str, code: int, answerable: bool):
    error = stream_refused(data)
    assert (error.field, error.why, error.code) == (field, reason, code)
    assert (error.request_head is not None) == answerable


def test_what_came_whole_before_a_broken_message_is_given_first():
    framer = Framer()
    assert framer.feed(ONE + options() + TWO) == [ONE]
    assert stream_refused(b"", framer).why == "is missing"
    assert stream_refused(TWO, framer).why == "is missing"


def test_a_broken_message_in_a_stream_that_can_be_framed_is_answered_alone():
    framer = Framer()
    broken, whole = framer.feed(options("OPTIONS sip:b@x.example SIP/7.0", more="l: 0\r\n") + TWO)
    assert isinstance(broken, bytes)
    assert refused(broken).code == 505
    assert whole == TWO


def test_a_message_of_the_greatest_size_passes():
    data = options(more=f"l: {BODY_BYTES_MAX}\r\n", body=b"x" * BODY_BYTES_MAX)
    assert Framer().feed(data) == [data]
    assert len(parse(data).body) == BODY_BYTES_MAX
