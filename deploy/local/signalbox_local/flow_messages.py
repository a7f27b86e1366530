"""SIP and RTP of callers and lines as bytes: made from a template each, read with one search for what is needed.

For a load that must cost less than what it is a load for. Messages follow RFC 3261, descriptions RFC 3264 with one
stream of A-law, keys RFC 4733. Pure.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

FRAME = 160
"""Bytes of A-law in 20 ms."""
PCMA, EVENTS = 8, 101
"""Payload types."""
KEY_FRAMES = 5
"""A key is held for so many times 20 ms."""
_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_KEYS = "0123456789*#ABCD"
_VOLUME = 10
_END = 0x80

_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_CSEQ = re.compile(rb"\r\nCSeq[ \t]*:[ \t]*(\d+)[ \t]+([A-Z]+)", re.IGNORECASE)
_FROM = re.compile(rb"\r\n(?:From|f)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_TO = re.compile(rb"\r\n(?:To|t)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_VIA = re.compile(rb"\r\n(?:Via|v)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_ROUTE = re.compile(rb"\r\nRecord-Route[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_CONTACT = re.compile(rb"\r\n(?:Contact|m)[ \t]*:[^<\r\n]*<([^>\r\n]+)>", re.IGNORECASE)
_REASON = re.compile(rb"\r\nReason[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_USER = re.compile(rb"sips?:([^@;>]+)@")
_CONNECTION = re.compile(rb"\r\nc=IN IP4 ([0-9.]+)")
_AUDIO = re.compile(rb"\r\nm=audio (\d+) ")

Address = tuple[str, int]


class UnreadableError(Exception):
    """What came lacks something that it must have; the text says what."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came, as far as calls look at it."""

    raw: bytes
    status: int
    """0: a request."""
    method: bytes
    """Of a response: that of its request."""
    cseq: int
    call_id: bytes

    @property
    def to(self) -> bytes:
        """To, with its tag if it has one."""
        return _found(_TO, self.raw, "To")

    @property
    def caller(self) -> bytes:
        """User part of From."""
        return _found(_USER, _found(_FROM, self.raw, "From"), "user in From")

    @property
    def contact(self) -> bytes:
        """The URI where requests in the dialog go to."""
        return _found(_CONTACT, self.raw, "Contact")

    @property
    def routes(self) -> bytes:
        """Route fields of who has called, from a 2xx: Record-Route from last to first (RFC 3261 section 12.1.2)."""
        entries = [one.strip() for line in _ROUTE.findall(self.raw) for one in line.split(b",")]
        return b"".join(b"Route: %s\r\n" % one for one in reversed(entries))

    @property
    def media(self) -> Address:
        """Where the sender of a description listens."""
        port = int(_found(_AUDIO, self.raw, "m=audio"))
        return _found(_CONNECTION, self.raw, "c=").decode(), port

    @property
    def why(self) -> str:
        """The first line, with Reason if it is told."""
        reason = _REASON.search(self.raw)
        first = self.raw.partition(b"\r\n")[0]
        return (first + (b" (" + reason[1] + b")" if reason else b"")).decode(errors="replace")


def read(data: bytes) -> Message:
    """Raises UnreadableError."""
    number, method = _search(_CSEQ, data, "CSeq").groups()
    status = 0
    if data.startswith(b"SIP/2.0 "):
        status = int(data[8:11])
    return Message(
        data, status, method if status else data.partition(b" ")[0], int(number), _found(_CALL_ID, data, "Call-ID")
    )


def description(media: Address) -> bytes:
    """Of a party that sends and receives A-law, and presses keys."""
    host, port = media
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP {PCMA} {EVENTS}\r\n"
        f"a=rtpmap:{PCMA} PCMA/8000\r\na=rtpmap:{EVENTS} telephone-event/8000\r\na=fmtp:{EVENTS} 0-15\r\na=ptime:20\r\n"
    ).encode()


class Caller:
    """What one address of callers says: a call by its number, ``n``."""

    def __init__(self, sip: Address, media: Address, proxy: Address, number: str, run: str) -> None:
        """``run``: makes Call-IDs and branches different from those of any other time."""
        here, there = f"{sip[0]}:{sip[1]}", f"{proxy[0]}:{proxy[1]}"
        self._run = run.encode()
        body = description(media)
        first = (
            f"INVITE sip:{number}@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKi%(id)s\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:%(caller)s@{here}>;tag=c%(id)s\r\nTo: <sip:{number}@{there}>\r\n"
            f"Call-ID: %(id)s\r\nCSeq: 1 INVITE\r\nContact: <sip:%(caller)s@{here}>\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._invite = first.encode().replace(b"%(id)s", b"%b").replace(b"%(caller)s", b"%b") + body
        self._refused = (
            f"ACK sip:{number}@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKi%b\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:%b@{here}>;tag=c%b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: 1 ACK\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        self._cancel = (
            f"CANCEL sip:{number}@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKi%b\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:%b@{here}>;tag=c%b\r\nTo: <sip:{number}@{there}>\r\n"
            "Call-ID: %b\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        self._within = (
            f"%b %b SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK%b%b\r\nMax-Forwards: 70\r\n%b"
            f"From: <sip:%b@{here}>;tag=c%b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: %d %b\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    def id(self, n: int) -> bytes:
        """Call-ID of a call."""
        return b"%b-%d" % (self._run, n)

    def invite(self, n: int) -> bytes:
        """INVITE."""
        id, who = self.id(n), caller(n)
        return self._invite % (id, who, id, id, who)

    def refused(self, n: int, to: bytes) -> bytes:
        """ACK to a final response that is no 2xx, with its To."""
        id = self.id(n)
        return self._refused % (id, caller(n), id, to, id)

    def cancel(self, n: int) -> bytes:
        """CANCEL."""
        id = self.id(n)
        return self._cancel % (id, caller(n), id, id)

    def within(self, n: int, method: bytes, cseq: int, answer: Message) -> bytes:
        """ACK or BYE, by what the 2xx says."""
        id = self.id(n)
        parts = (method, answer.contact, method, id, answer.routes, caller(n), id, answer.to, id, cseq, method)
        return self._within % parts


def caller(n: int) -> bytes:
    """The number of who makes a call: a mobile of its own, so that the line knows the call by it."""
    return b"138%08d" % n


def call_of(caller: bytes) -> int | None:
    """The call that :func:`caller` is of; None: none of ours."""
    return int(caller[3:]) if len(caller) == 11 and caller.startswith(b"138") and caller.isdigit() else None


def response(
    request: Message, status: int, reason: str, *, tag: bytes = b"", contact: str = "", body: bytes = b""
) -> bytes:
    """To a request. ``tag``: what To gets if it has none; ``contact``: URI."""
    raw, to = request.raw, request.to
    if tag and b";tag=" not in to:
        to += b";tag=" + tag
    lines = [b"SIP/2.0 %d %b" % (status, reason.encode())]
    lines += [b"Via: " + one for one in _VIA.findall(raw)]
    lines += [b"Record-Route: " + one for one in _ROUTE.findall(raw)]
    lines += [
        b"From: " + _found(_FROM, raw, "From"),
        b"To: " + to,
        b"Call-ID: " + request.call_id,
        b"CSeq: %d %b" % (request.cseq, request.method),
    ]
    if contact:
        lines.append(f"Contact: <{contact}>".encode())
    if body:
        lines.append(b"Content-Type: application/sdp")
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*lines, b"", body))


def sound(n: int, side: str, sequence: int) -> bytes:
    """A packet of A-law (RFC 3550) that says of which call and side it is."""
    packed = _HEADER.pack(0x80, PCMA, sequence & 0xFFFF, _timestamp(sequence), _source(n, side))
    return packed + name(n, side) * (FRAME // 16)


def name(n: int, side: str) -> bytes:
    """What the packets of a side of a call say, over and over: 16 bytes."""
    return f"{side[:6]:<6}{n:010d}".encode()


def is_sound(packet: bytes) -> bool:
    """True for a packet of A-law."""
    return len(packet) > _HEADER.size and packet[1] & 0x7F == PCMA


def said(packet: bytes) -> bytes:
    """What a packet says, if it is one of :func:`sound`."""
    return packet[12:28]


def key(n: int, side: str, digit: str, sequence: int) -> list[bytes]:
    """The packets of a key, 20 ms each and the end three times (RFC 4733 section 2.5): the first one, and so on."""
    code, packets = _KEYS.index(digit), []
    lengths = [*range(1, KEY_FRAMES + 1), *[KEY_FRAMES] * 3]
    for at, frames in enumerate(lengths):
        end = _END if at >= KEY_FRAMES else 0
        head = _HEADER.pack(
            0x80,
            EVENTS | (0x80 if not at else 0),
            (sequence + at) & 0xFFFF,
            _timestamp(sequence),
            _source(n, side),
        )
        packets.append(head + _EVENT.pack(code, end | _VOLUME, frames * FRAME))
    return packets


def _timestamp(sequence: int) -> int:
    # Not from 0 on: rtpengine takes a key that began then for one that it has heard.
    return (sequence + 1) * FRAME & 0xFFFFFFFF


def _source(n: int, side: str) -> int:
    return (n << 1 | (side == "line")) & 0xFFFFFFFF


def _search(pattern: re.Pattern[bytes], data: bytes, what: str) -> re.Match[bytes]:
    if (match := pattern.search(data)) is None:
        raise UnreadableError(f"no {what}: {data[:200]!r}")
    return match


def _found(pattern: re.Pattern[bytes], data: bytes, what: str) -> bytes:
    return _search(pattern, data, what)[1]
