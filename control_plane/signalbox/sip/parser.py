"""Datagrams and streams to messages (RFC 3261 sections 7, 18.3 and 25)."""

from __future__ import annotations

import enum
import re
from typing import NoReturn

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.names import KNOWN, canonical

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024

_CONTROLS = bytes((*range(9), 11, 12, *range(14, 32), 127))
"""No part of any text but in a quoted pair; tabs and line ends are judged elsewhere."""
_NO_TEXT = re.compile(r"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLD = re.compile(r"\r\n[ \t]++")
_VERSION = re.compile(r"SIP/[0-9]++\.[0-9]++", re.IGNORECASE)
_STATUS = re.compile(r"[1-6][0-9][0-9]")
_LENGTHS = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:((?>(?:[^\r]++|\r\n[ \t])*))", re.IGNORECASE)


def parse(data: bytes) -> Request | Response:
    """The message of a datagram, or of a stream once it is framed.

    Empty lines before it are left out, and what follows the length that it tells. Text that is not UTF-8 is replaced:
    so a display name in another encoding costs nobody the call. Raises MessageError; ``request_head`` is set if the
    message is a request that can be answered.
    """
    data = data.lstrip(b"\r\n")
    if len(data) > HEAD_BYTES_MAX + BODY_BYTES_MAX:
        raise MessageError("message", "is too large", code=513)
    head, end, body = data.partition(b"\r\n\r\n")
    text = head.decode(errors="replace")
    start, _, rest = text.partition("\r\n")
    if not end:
        raise MessageError("message", "has no empty line after its header fields")
    if len(head) != len(head.translate(None, _CONTROLS)) and _NO_TEXT.search(text):
        raise MessageError("message", "has a control character in its head")
    if rest[:1] in (" ", "\t"):
        raise MessageError("message", "has a folded first line")
    headers, wrong = _headers(rest)
    if start[:4].upper() == "SIP/":
        if wrong is not None:
            raise wrong
        return _response(start, headers, body)
    request = _request(start, headers, body)
    if wrong is not None:
        _refuse(request, wrong)
    return request


def _headers(text: str) -> tuple[Headers, MessageError | None]:
    """The header fields, without lines that are none, and what is wrong with the first of these."""
    fields: dict[str, list[str]] = {}
    wrong: MessageError | None = None
    if not text:
        return Headers.of(fields), None
    lines = text.split("\r\n")
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise MessageError("message", "has a line that does not end in CR LF")
    known = KNOWN.get
    for line in lines:
        written, colon, value = line.partition(":")
        name = known(written) if colon else None
        if name is None:
            if line[:1] in (" ", "\t"):
                return _headers(_FOLD.sub(" ", text))
            try:
                if not colon:
                    raise MessageError("message", "has a line that is no header field")
                name = canonical(written.rstrip(" \t"))
            except MessageError as error:
                wrong = wrong or error
                continue
        if name in fields:
            fields[name].append(value.strip(" \t"))
        else:
            fields[name] = [value.strip(" \t")]
    return Headers.of(fields), wrong


def _request(start: str, headers: Headers, body: bytes) -> Request:
    parts = start.split(" ")
    request = Request(parts[0], parts[1] if len(parts) > 1 else "", headers, body)
    if len(parts) != 3 or "" in parts or not start.isprintable():
        _refuse(request, MessageError("Request-Line", "must be method, URI and version with one space between"))
    if parts[2] != "SIP/2.0":
        if not _VERSION.fullmatch(parts[2]):
            _refuse(request, MessageError("Request-Line", "does not end in SIP/2.0"))
        if parts[2].upper() != "SIP/2.0":
            _refuse(request, MessageError("Request-Line", "asks for another version than SIP/2.0", code=505))
    if not grammar.is_token(parts[0]):
        _refuse(request, MessageError("Request-Line", "has a method that is no token"))
    try:
        request.body = _body(headers, body)
    except MessageError as error:
        _refuse(request, error)
    return request


def _response(start: str, headers: Headers, body: bytes) -> Response:
    version, _, rest = start.partition(" ")
    status, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0":
        raise MessageError("Status-Line", "has another version than SIP/2.0")
    if not _STATUS.fullmatch(status):
        raise MessageError("Status-Line", "has no status from 100 to 699")
    if "\r" in reason or "\n" in reason:
        raise MessageError("Status-Line", "has a line break")
    return Response(int(status), reason, headers, _body(headers, body))


def _refuse(request: Request, error: MessageError) -> NoReturn:
    request.body = b""
    if request.answerable:
        error.request_head = request
    raise error


def _body(headers: Headers, body: bytes) -> bytes:
    if "Content-Length" not in headers:
        return body
    length = headers.one("Content-Length", _length)
    if length > len(body):
        raise MessageError("Content-Length", "is more than there is")
    return body[:length] if length < len(body) else body


def _length(text: str, field: str) -> int:
    return grammar.number(text, field, grammar.SECONDS_MAX)


class Keepalive(enum.Enum):
    """What a stream carries between messages (RFC 5626 section 3.5.1)."""

    PING = b"\r\n\r\n"
    """To be answered with CR LF."""


class Framer:
    """Cuts a stream into messages (section 18.3). Feed it until it raises; then the connection is to be closed."""

    __slots__ = ("_buffer", "_needed", "_searched", "_single")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        """How far there is no end of a head."""
        self._needed = 0
        """Bytes of the message that has begun, once its head is there."""
        self._single = False
        """Half a keep-alive is there."""

    def feed(self, data: bytes) -> list[bytes | Keepalive]:
        """What is whole now: messages as they were sent, and keep-alives.

        Raises MessageError if a message does not tell its length, or is too large: 64 KiB of head and of body each.
        What came whole before it in the same data is given first, and the next feed raises.
        """
        buffer = self._buffer
        buffer += data
        whole: list[bytes | Keepalive] = []
        while buffer:
            if not self._needed:
                self._skip_line_ends(whole)
                try:
                    if not self._find_end():
                        break
                except MessageError:
                    if whole:
                        break
                    raise
            if len(buffer) < self._needed:
                break
            whole.append(bytes(buffer[: self._needed]))
            del buffer[: self._needed]
            self._needed = self._searched = 0
        return whole

    def _skip_line_ends(self, whole: list[bytes | Keepalive]) -> None:
        buffer = self._buffer
        at = 0
        while buffer.startswith(b"\r\n", at):
            at += 2
            if self._single:
                whole.append(Keepalive.PING)
            self._single = not self._single
        del buffer[:at]
        if buffer and buffer != b"\r":
            self._single = False

    def _find_end(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(self._searched - 3, 0))
        if end > HEAD_BYTES_MAX or (end < 0 and len(buffer) > HEAD_BYTES_MAX):
            raise MessageError("message", "has a head that is too large", code=513)
        if end < 0:
            self._searched = len(buffer)
            return False
        self._needed = end + 4 + self._length(bytes(buffer[:end]))
        return True

    def _length(self, head: bytes) -> int:
        """Bytes of the body. Whatever is wrong is told as the parser would, so that it can be answered."""
        found = _LENGTHS.findall(head)
        try:
            if not found:
                raise MessageError("Content-Length", "is missing")
            if len(found) > 1:
                raise MessageError("Content-Length", "is there more than once")
            length = _length(found[0].decode(errors="replace").strip(" \t\r\n"), "Content-Length")
            if length > BODY_BYTES_MAX:
                raise MessageError("Content-Length", f"is over {BODY_BYTES_MAX}", code=513)
        except MessageError as error:
            error.request_head = _answerable(head)
            raise
        return length


def _answerable(head: bytes) -> Request | None:
    """The request that begins so, if it can be answered."""
    try:
        message = parse(_LENGTHS.sub(b"", head) + b"\r\n\r\n")
    except MessageError as error:
        return error.request_head
    return message if isinstance(message, Request) and message.answerable else None
