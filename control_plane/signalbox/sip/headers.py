"""Values of header fields: text to a value and back (RFC 3261 sections 20 and 25).

Each ``parse`` raises MessageError, which names ``field``: the header field that the text is of.
What is parsed is shared by all who ask for it, and never changed: ``dataclasses.replace`` makes another.
The classes are not frozen, for that takes five times as long to make.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError
from signalbox.sip.grammar import HOST, PARAMS, QUOTED, TOKEN, WS
from signalbox.sip.uri import PORT, Uri

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = "z9hG4bK"
"""What the branch of a transaction begins with (section 8.1.1.7)."""
CSEQ_MAX = 2**31 - 1
RSEQ_MAX = 2**32 - 1

_VIA = re.compile(
    rf"[sS][iI][pP]{WS}/{WS}[0-9]++\.[0-9]++{WS}/{WS}({TOKEN})[ \t]++({HOST})"
    rf"(?:{WS}:{WS}({grammar.PORT}))?({PARAMS}){WS}"
)
_WORD = r"[A-Za-z0-9\-.!%*_+`'~\x80-\U0010ffff]++"
_NAME_ADDR = re.compile(rf'{WS}(?:({QUOTED})|((?>(?:{_WORD}{WS})*))){WS}<([^<>\x00-\x20\x7f"]++)>({PARAMS}){WS}')
_ADDR_SPEC = re.compile(rf'{WS}([^<>\x00-\x20\x7f",;?]++)({PARAMS}){WS}')
_CSEQ = re.compile(rf"([0-9]++)[ \t]++({TOKEN})")
_RACK = re.compile(rf"([0-9]++)[ \t]++([0-9]++)[ \t]++({TOKEN})")
_PIECE = re.compile(rf"(?>(?:[^,\"<]++|{QUOTED}|<[^>]*+>)*)")


def split_values(text: str, field: str = "value") -> list[str]:
    """The values of a field, which commas separate outside of quotes and angle brackets. None may be empty."""
    if "," not in text:
        values = [text.strip(" \t")]
    elif '"' not in text and "<" not in text:
        values = [value.strip(" \t") for value in text.split(",")]
    else:
        values, at = [], 0
        while True:
            match = _PIECE.match(text, at)
            assert match is not None
            values.append(match[0].strip(" \t"))
            at = match.end()
            if at == len(text):
                break
            if text[at] != ",":
                raise MessageError(field, "has a quote or an angle bracket that is not closed")
            at += 1
    if "" in values:
        raise MessageError(field, "has an empty value")
    return values


@dataclass(slots=True)
class Via:
    """One hop that a request took (section 20.42). ``transport`` in capitals; IPv6 hosts without brackets."""

    transport: str
    host: str
    port: int | None
    params: Mapping[str, str | None]

    @classmethod
    def parse(cls, text: str, field: str = "Via") -> Via:
        """One value. Any version is read, so that what speaks another one can be told so (505)."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise MessageError(field, "must be SIP/2.0/transport host:port;parameters")
        transport, host, port, params = match.groups()
        return cls(
            transport.upper(),
            grammar.host(host, field),
            grammar.port(port, field) if port else None,
            grammar.params(params, field),
        )

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{grammar.params_text(self.params)}"

    @property
    def branch(self) -> str:
        """Empty if there is none, as before RFC 3261."""
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> str:
        """``host`` or ``host:port``, as written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are meant by ``sent_by`` (section 18.2.2)."""
        return self.host, self.port or (5061 if self.transport == "TLS" else PORT)

    @property
    def received(self) -> str | None:
        """Whence the request came (section 18.2.1), IPv6 without brackets."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The port that it came from (RFC 3581); None unless told. ``"rport" in params``: it is asked for."""
        value = self.params.get("rport")
        told = int(value) if value and len(value) <= 5 and value.isascii() and value.isdigit() else 0
        return told if 0 < told < 65_536 else None


@dataclass(slots=True)
class NameAddr:
    """From, To, Contact, Route, Record-Route, Refer-To, P-Asserted-Identity (section 20.10).

    ``display``: what is shown, without quotes; empty if there is none.
    """

    display: str
    uri: Uri
    params: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, field: str = "address") -> NameAddr:
        """One value. Parameters after a URI without angle brackets are the field's.

        Wider than the grammar: a display name without quotes may have any letters, not ASCII's alone.
        """
        match = _NAME_ADDR.fullmatch(text)
        if match is not None:
            quoted, words, uri, params = match.groups()
            display = grammar.unquote(quoted) if quoted else words.rstrip(" \t")
        else:
            match = _ADDR_SPEC.fullmatch(text)
            if match is None:
                raise MessageError(field, "must be a URI, or a name and a URI in <>, and parameters")
            uri, params = match.groups()
            display = ""
        return cls(display, Uri.parse(uri, field), grammar.params(params, field) if params else {})

    def __str__(self) -> str:
        display = f"{grammar.quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{grammar.params_text(self.params)}"

    @property
    def tag(self) -> str:
        """Of From and To; empty if there is none, which RFC 2543 allowed."""
        return self.params.get("tag") or ""


@dataclass(slots=True)
class CSeq:
    """Number of a request in its dialog, below 2^31, and its method (section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str, field: str = "CSeq") -> CSeq:
        match = _CSEQ.fullmatch(text)
        if match is None:
            raise MessageError(field, "must be a number and a method")
        return cls(grammar.number(match[1], field, CSEQ_MAX), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(slots=True)
class RAck:
    """Which reliable provisional response a PRACK is for: its RSeq, and its request's CSeq (RFC 3262 section 7.2)."""

    rseq: int
    cseq: int
    method: str

    @classmethod
    def parse(cls, text: str, field: str = "RAck") -> RAck:
        match = _RACK.fullmatch(text)
        if match is None:
            raise MessageError(field, "must be two numbers and a method")
        return cls(grammar.number(match[1], field, RSEQ_MAX), grammar.number(match[2], field, CSEQ_MAX), match[3])

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"
