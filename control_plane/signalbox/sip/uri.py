"""URIs of SIP (RFC 3261 section 19.1) and of telephones (RFC 3966)."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.address import bracketed
from signalbox.sip import grammar
from signalbox.sip.errors import MessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 5060
"""Where SIP is spoken when a URI tells no port (section 19.1.2)."""
PORT_TLS = 5061

_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
_ESCAPED = "%[0-9A-Fa-f]{2}"
_USER = rf"(?>(?:[{_UNRESERVED}&=+$,;?/:#]++|{_ESCAPED})+)"
"""Wider than the grammar: ``#`` stands in numbers as they are keyed, ``*31#…``, and few switches escape it."""
_PARAM = rf"(?:[{_UNRESERVED}\[\]/:&+$]++|{_ESCAPED})"
_HEADER = rf"(?:[{_UNRESERVED}\[\]/?:+$=&]++|{_ESCAPED})"
_PARAMS = rf"(?>(?:;(?>{_PARAM}+)(?:=(?>{_PARAM}*))?)*)"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):")
_SIP = re.compile(
    rf"([sS][iI][pP][sS]?):(?:({_USER})@)?({grammar.HOST})(?::({grammar.PORT}))?({_PARAMS})(?:\?((?>{_HEADER}+)))?"
)
_TEL = re.compile(rf"(\+?[0-9A-Fa-f*#\-.()]++)({_PARAMS})")
_OPAQUE = re.compile(r'[^\x00-\x20\x7f<>"]++')

_ANY_ESCAPE = re.compile(_ESCAPED)
_PLAIN = re.compile(f"[{_UNRESERVED}]")
_VISUAL_SEPARATORS = str.maketrans("", "", "-.()")
_NEVER_ALONE = ("user", "ttl", "method", "maddr", "transport")
"""Parameters that make two URIs differ if only one of them has it (section 19.1.4)."""


@dataclass(slots=True)
class Uri:
    """A URI. A value: never changed, for messages share it; not frozen, for that takes five times as long to make.

    ``scheme``: in small letters. ``user``: the user with its password, if any, escaped as written; the number of a
    ``tel`` URI; all that follows the colon for a scheme that is none of SIP's. ``host``: empty unless the scheme is
    ``sip`` or ``sips``; IPv6 without brackets. ``params``: by name in small letters, as written, None without a value.
    ``headers``: what follows the question mark.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    params: Mapping[str, str | None] = field(default_factory=dict)
    headers: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "URI") -> Uri:
        """The URI that a text is. Raises MessageError, which names ``field``."""
        match = _SIP.fullmatch(text)
        if match is None:
            return cls._other(text, field)
        scheme, user, host, port, params, headers = match.groups()
        return cls(
            scheme.lower(),
            user,
            grammar.host(host, field),
            grammar.port(port, field) if port else None,
            grammar.params(params, field) if params else {},
            headers or "",
        )

    @classmethod
    def _other(cls, text: str, field: str) -> Uri:
        """One of another scheme than SIP's."""
        start = _SCHEME.match(text)
        if start is None:
            raise MessageError(field, "is not a URI")
        scheme, rest = start[1].lower(), text[start.end() :]
        if scheme in ("sip", "sips"):
            raise MessageError(field, f"is not a {scheme} URI")
        if scheme == "tel":
            match = _TEL.fullmatch(rest)
            if match is None:
                raise MessageError(field, "is not a tel URI")
            return cls(scheme, match[1], "", None, grammar.params(match[2], field))
        if not _OPAQUE.fullmatch(rest):
            raise MessageError(field, "is not a URI")
        return cls(scheme, rest, "")

    def __str__(self) -> str:
        if not self.host:
            return f"{self.scheme}:{self.user}{grammar.params_text(self.params)}"
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{bracketed(self.host)}{port}{grammar.params_text(self.params)}{headers}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to send to when no name must be resolved. The host of a URI that is none of SIP's is empty."""
        return self.host, self.port or (PORT_TLS if self.scheme == "sips" else PORT)

    @property
    def transport(self) -> str:
        """``udp`` or ``tcp``, or another that is asked for: small letters (RFC 3263 section 4.1)."""
        return (self.params.get("transport") or ("tls" if self.scheme == "sips" else "udp")).lower()

    def equals(self, other: Uri) -> bool:
        """Whether both mean the same (section 19.1.4; IPv6 addresses by value, RFC 5954 section 4.2).

        ``tel`` numbers are compared without their visual separators (RFC 3966 section 5).
        """
        if self.scheme != other.scheme:
            return False
        if self.scheme == "tel":
            return _digits(self.user) == _digits(other.user) and _lowered(self.params) == _lowered(other.params)
        if not self.host:
            return self.user == other.user
        return (
            _unescaped(self.user) == _unescaped(other.user)
            and self.port == other.port
            and _host_value(self.host) == _host_value(other.host)
            and _same_params(self.params, other.params)
            and _header_values(self.headers) == _header_values(other.headers)
        )


def _same_params(one: Mapping[str, str | None], two: Mapping[str, str | None]) -> bool:
    for name in one.keys() | two.keys():
        if name in one and name in two:
            if _unescaped(one[name], lower=True) != _unescaped(two[name], lower=True):
                return False
        elif name in _NEVER_ALONE:
            return False
    return True


def _lowered(params: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: _unescaped(value, lower=True) for name, value in params.items()}


def _header_values(headers: str) -> list[tuple[str, str | None]]:
    pairs = (pair.partition("=") for pair in headers.split("&"))
    return sorted((name.lower(), _unescaped(value) or "") for name, _, value in pairs)


def _unescaped(text: str | None, *, lower: bool = False) -> str | None:
    """With characters that need no escape written plainly, and the digits of other escapes in capitals."""
    if text is None:
        return None
    if lower:
        text = text.lower()
    return _ANY_ESCAPE.sub(_plain, text) if "%" in text else text


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _PLAIN.fullmatch(character) else escape[0].upper()


def _digits(number: str | None) -> str:
    return (number or "").translate(_VISUAL_SEPARATORS).lower()


def _host_value(host: str) -> str | bytes:
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host)
    return host.lower()
