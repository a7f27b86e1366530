"""Session descriptions: text to values and back (RFC 4566).

Every line is kept, those too that nobody here knows (RFC 4566 would have the whole description ignored for an unknown
type letter; a call is worth more), so that a description that is passed on says all that it said. Lines may end in LF
alone. Version, origin, connections and media are checked when the text is parsed. An attribute that is malformed counts
as one that isn't there: unknown ones must be ignored (section 5.13), and RFC 4475 has an ``rtpmap`` without clock rate
in messages that have to be taken. ``s=`` and ``t=``, which tell a call nothing, may be missing for the same reason.

Descriptions are values: never changed once they are read or made. They are not frozen, for that takes several times as
long to make.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.sip import codec
from signalbox.sip.errors import SipError

if TYPE_CHECKING:
    from signalbox.sip.codec import Codec

BYTES_MAX = 65_536
"""No longer than the body of a message may be."""

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

Line = tuple[str, str]
"""A type letter and what stands behind its ``=``."""

_CONNECTION_MAX = 300
"""The longest name and what stands around it."""

_FAMILIES = {"IP4": socket.AF_INET, "IP6": socket.AF_INET6}
_LINE = re.compile(r"^([A-Za-z])=([^\n\r\0]*+)$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,20}")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+")
_PROTOCOL = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+(?:/[!#-'*+\-.0-9A-Z^-~]+)*")
_PORT = re.compile(r"([0-9]{1,5})(?:/([0-9]{1,5}))?")
_PAYLOADS = frozenset(map(str, range(128)))
"""As they are written nearly always."""
_MILLISECONDS = re.compile(r"([1-9][0-9]{0,5})(?:\.0*)?[ \t]*")


class DescriptionError(SipError):
    """A session description is malformed: 400. ``line``: its number from 1, or 0 for the whole; ``why``: the reason."""

    code = 400

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"session description, line {line}: {why}" if line else f"session description: {why}")
        self.line = line
        self.why = why


@dataclass(slots=True)
class Connection:
    """``c=``: where media is to be sent. ``address`` as written, a multicast one with its TTL."""

    address: str
    family: str = "IP4"
    network: str = "IN"

    @classmethod
    def parse(cls, value: str) -> Connection:
        """Raises ValueError with what it must be (RFC 4566 section 5.7)."""
        if len(value) > _CONNECTION_MAX:
            raise ValueError(f"must have at most {_CONNECTION_MAX} characters")
        return _connection(value)

    @classmethod
    def to(cls, host: str) -> Connection:
        """That of an IP address or a name."""
        return cls(host, "IP6" if ":" in host else "IP4")

    @property
    def is_none(self) -> bool:
        """The old form of holding a call: send me nothing (RFC 3264 section 8.4, ``::`` in IPv6)."""
        return self.address in ("0.0.0.0", "::")

    def __str__(self) -> str:
        return f"{self.network} {self.family} {self.address}"


@dataclass(slots=True)
class Origin:
    """``o=``: the session's identity and the version of its description. Nothing is sent to its address."""

    username: str
    session_id: int
    version: int
    connection: Connection

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Raises ValueError with what it must be (RFC 4566 section 5.2)."""
        parts = value.split()
        if len(parts) != 6 or not _NUMBER.fullmatch(parts[1]) or not _NUMBER.fullmatch(parts[2]):
            raise ValueError("must be a user name, two numbers of at most 20 digits, and an address with its types")
        return cls(parts[0], int(parts[1]), int(parts[2]), Connection(parts[5], parts[4], parts[3]))

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {self.connection}"


@dataclass(slots=True)
class Media:
    """``m=`` and the lines below it. ``port`` 0: refused or ended. ``ports``: how many, 1 but for layered media."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    ports: int = 1
    _codecs: list[tuple[Codec, ...]] = field(default_factory=list, init=False, repr=False, compare=False)
    """Worked out once, when they are asked for."""

    @classmethod
    def parse(cls, value: str) -> Media:
        """Raises ValueError with what it must be (RFC 4566 section 5.14)."""
        parts = value.split()
        if len(parts) < 4 or not _TOKEN.fullmatch(parts[0]) or not _PROTOCOL.fullmatch(parts[2]):
            raise ValueError("must be a kind of media, a port, a protocol and at least one format")
        port = _PORT.fullmatch(parts[1])
        if port is None or int(port[1]) > 65_535 or int(port[2] or 1) < 1:
            raise ValueError("must have a port, 0 to 65535")
        formats = tuple(parts[3:])
        if parts[2].upper().startswith("RTP/") and not (
            _PAYLOADS.issuperset(formats) or all(_is_payload(one) for one in formats)
        ):
            raise ValueError("must have payload types, 0 to 127, for formats")
        return cls(parts[0], int(port[1]), parts[2], formats, (), int(port[2] or 1))

    @property
    def is_rtp(self) -> bool:
        """Formats are payload types of RTP, whatever its profile."""
        return self.protocol.upper().startswith("RTP/")

    @property
    def connection(self) -> Connection | None:
        """Its own ``c=``, if it has one; the first of several."""
        found = next((value for letter, value in self.lines if letter == "c"), None)
        return None if found is None else Connection.parse(found)

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """In order of preference, each payload type once; none if this is no RTP."""
        if not self._codecs:
            self._codecs.append(self._find_codecs() if self.is_rtp else ())
        return self._codecs[0]

    def _find_codecs(self) -> tuple[Codec, ...]:
        maps = {one.payload: one for one in map(_rtpmap, self.attributes("rtpmap")) if one is not None}
        parameters = dict(_split_payload(value) for value in self.attributes("fmtp"))
        found = []
        # Each once: a thousand times the same would be a thousand times the work, seconds of it for a list of events.
        for payload in dict.fromkeys(map(int, self.formats)):
            one = maps.get(payload) or codec.STATIC.get(payload) or codec.Codec(payload, "", 0)
            if payload in parameters:
                one = codec.Codec(payload, one.name, one.rate, one.channels, parameters[payload])
            found.append(one)
        return tuple(found)

    @property
    def ptime(self) -> int | None:
        """Milliseconds of sound that the party would like in a packet, if it told any."""
        return _milliseconds(self.attribute("ptime"))

    @property
    def maxptime(self) -> int | None:
        """Most milliseconds of sound that the party takes in a packet, if it told any."""
        return _milliseconds(self.attribute("maxptime"))

    def attribute(self, name: str) -> str | None:
        """What stands behind ``a=name:``, "" for a flag, None if it isn't there; the first of several."""
        return _attribute(self.lines, name)

    def attributes(self, name: str) -> list[str]:
        """As :meth:`attribute`, all of them in order."""
        return _attributes(self.lines, name)

    def __str__(self) -> str:
        ports = f"/{self.ports}" if self.ports > 1 else ""
        first = f"m={self.kind} {self.port}{ports} {self.protocol} {' '.join(self.formats)}\r\n"
        return first + "".join([f"{letter}={value}\r\n" for letter, value in self.lines])


@dataclass(slots=True)
class SessionDescription:
    """``lines``: those of the session in order, without ``v=`` and ``o=``."""

    origin: Origin
    media: tuple[Media, ...] = ()
    lines: tuple[Line, ...] = (("s", "-"), ("t", "0 0"))

    @classmethod
    def parse(cls, content: bytes | str) -> SessionDescription:
        """Raises DescriptionError. Octets that are no UTF-8 come out of :meth:`encode` as they were."""
        text = content.decode("utf-8", "surrogateescape") if isinstance(content, bytes) else content
        if len(content) > BYTES_MAX:
            raise DescriptionError(0, f"must have at most {BYTES_MAX} octets")
        return _parse(text.replace("\r\n", "\n").rstrip("\n"))

    def connection(self, media: Media) -> Connection | None:
        """That of the media or else of the session; None only for media with port 0."""
        if (own := media.connection) is not None:
            return own
        found = next((value for letter, value in self.lines if letter == "c"), None)
        return None if found is None else Connection.parse(found)

    def address(self, media: Media) -> tuple[str, int] | None:
        """Host and port to send RTP to; None if nothing may be sent there."""
        connection = self.connection(media)
        if connection is None or connection.is_none or not media.port:
            return None
        return connection.address.split("/")[0], media.port

    def rtcp_address(self, media: Media) -> tuple[str, int] | None:
        """Host and port to send RTCP to: told (RFC 3605), those of RTP (``rtcp-mux``, RFC 5761), or the port above."""
        rtp = self.address(media)
        if rtp is None:
            return None
        if (told := media.attribute("rtcp")) is not None:
            port, host = _rtcp(told)
            if port:
                return host or rtp[0], port
        if media.attribute("rtcp-mux") is not None:
            return rtp
        return (rtp[0], rtp[1] + 1) if rtp[1] < 65_535 else None

    def direction(self, media: Media) -> str:
        """What the describing party will do, one of DIRECTIONS. The old form of hold counts as not receiving."""
        told = next((name for lines in (media.lines, self.lines) for name in _directions(lines)), "sendrecv")
        connection = self.connection(media)
        if connection is not None and connection.is_none:
            return "sendonly" if told in ("sendrecv", "sendonly") else "inactive"
        return told

    def attribute(self, name: str) -> str | None:
        """An attribute of the session as :meth:`Media.attribute` tells one of media."""
        return _attribute(self.lines, name)

    def __str__(self) -> str:
        lines = "".join([f"{letter}={value}\r\n" for letter, value in self.lines])
        return f"v=0\r\no={self.origin}\r\n{lines}{''.join(map(str, self.media))}"

    def encode(self) -> bytes:
        """The body of a message."""
        return str(self).encode("utf-8", "surrogateescape")


def _parse(text: str) -> SessionDescription:
    found: list[Line] = _LINE.findall(text)
    if len(found) != text.count("\n") + 1:
        raise _malformed(text.split("\n"))
    origin: Origin | None = None
    session: list[Line] = []
    media: list[tuple[int, Media, list[Line]]] = []
    lines = session
    for number, line in enumerate(found, 1):
        letter, value = line
        try:
            if number <= 2:
                if letter != "vo"[number - 1]:
                    raise ValueError(f"must be {'vo'[number - 1]}=")
                if letter == "o":
                    origin = Origin.parse(value)
                elif value.strip() != "0":
                    raise ValueError("must be v=0")
            elif letter in "vo":
                raise ValueError(f"{letter}= must stand once, at the beginning")
            elif letter == "m":
                lines = []
                media.append((number, Media.parse(value), lines))
            else:
                if letter == "c":
                    Connection.parse(value)
                lines.append(line)
        except ValueError as error:
            raise DescriptionError(number, str(error)) from None
    if origin is None:
        raise DescriptionError(len(found), "must be followed by o=")
    has_connection = any(letter == "c" for letter, _ in session)
    for number, one, lines in media:
        one.lines = tuple(lines)
        if one.port and not has_connection and one.connection is None:
            raise DescriptionError(number, "must have c= below it or in the session")
    return SessionDescription(origin, tuple([one for _, one, _ in media]), tuple(session))


def _malformed(texts: list[str]) -> DescriptionError:
    """What is wrong with the first line that is none."""
    number, text = next((number, text) for number, text in enumerate(texts, 1) if not _LINE.fullmatch(text))
    is_line = text[:1].isascii() and text[:1].isalpha() and text[1:2] == "="
    why = "must not have CR or NUL in it" if is_line else "must be a letter, = and a value"
    return DescriptionError(number, why)


@lru_cache(maxsize=1024)
def _connection(value: str) -> Connection:
    parts = value.split()
    if len(parts) != 3:
        raise ValueError("must be a network type, an address type and an address")
    _check_address(parts[1], parts[2].split("/")[0])
    return Connection(parts[2], parts[1], parts[0])


def _check_address(family: str, address: str) -> None:
    if family not in _FAMILIES:
        raise ValueError("must have the address type IP4 or IP6")
    if address[:1].isdigit() or ":" in address:
        try:
            socket.inet_pton(_FAMILIES[family], address)
        except (OSError, ValueError):
            raise ValueError(f"must have an address of the type {family}, or a name") from None
    elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,254}", address):
        raise ValueError("must have an IP address or a name")


def _is_payload(text: str) -> bool:
    return len(text) <= 3 and text.isascii() and text.isdigit() and int(text) <= 127


def _rtpmap(value: str) -> Codec | None:
    try:
        return codec.parse_rtpmap(value)
    except ValueError:
        return None


def _milliseconds(value: str | None) -> int | None:
    found = _MILLISECONDS.fullmatch(value or "")
    return int(found[1]) if found else None


def _rtcp(value: str) -> tuple[int, str]:
    """Port and host of ``a=rtcp:``; port 0 if it can't be read, host "" if it isn't told (RFC 3605 section 2.1)."""
    port, *connection = value.split() or [""]
    if not _NUMBER.fullmatch(port) or int(port) > 65_535:
        return 0, ""
    if not connection:
        return int(port), ""
    try:
        return int(port), Connection.parse(" ".join(connection)).address
    except ValueError:
        return 0, ""


def _split_payload(value: str) -> tuple[int, str]:
    """Payload type and parameters of ``a=fmtp:``; -1 for what is no payload type of ours."""
    payload, _, parameters = value.strip().partition(" ")
    return (int(payload) if _is_payload(payload) else -1), parameters.strip()


def _directions(lines: tuple[Line, ...]) -> list[str]:
    return [value.strip() for letter, value in lines if letter == "a" and value.strip() in DIRECTIONS]


def _attribute(lines: tuple[Line, ...], name: str) -> str | None:
    return next(iter(_attributes(lines, name)), None)


def _attributes(lines: tuple[Line, ...], name: str) -> list[str]:
    start = name + ":"
    return [
        value[len(start) :] for letter, value in lines if letter == "a" and (value == name or value.startswith(start))
    ]
