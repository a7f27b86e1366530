"""Pieces of the grammar (RFC 3261 section 25.1) that several values are made of, as regular expressions.

All repetitions are possessive: what was taken is not given back, so a text is looked at a fixed number of times.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.sip.errors import MessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A group is repeated as (?>(?:…)*), never as (?:…)*+: before Python 3.11.5 what the last, failing turn had read stays
# read (gh-106052), and a URI that ends in ";" would be taken.
WS = r"[ \t]*+"
"""LWS and its optional forms, once lines are unfolded."""
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"
QUOTED = r'"(?>(?:[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[^\r\n])*)"'
HOST = r"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9_.\-]++)"
PORT = r"[0-9]{1,5}+"
VALUE = rf"(?:[A-Za-z0-9\-.!%*_+`'~\[\]:]++|{QUOTED})"
"""gen-value; an IPv6 address also without its brackets, as in ``received`` (RFC 5118 section 4.5)."""
PARAMS = rf"(?>(?:{WS};{WS}{TOKEN}(?:{WS}={WS}{VALUE})?)*)"

SECONDS_MAX = 2**32 - 1
"""Largest delta-seconds (RFC 3261 section 20.19)."""

Params = dict[str, str | None]
"""Parameters by name in small letters. A value stands as it was written, with its quotes; None: there is no value."""

_TOKEN = re.compile(TOKEN)
_PARAM = re.compile(rf";{WS}({TOKEN})(?:{WS}(=){WS}({VALUE}))?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r'[\\"\x00-\x08\x0a-\x1f\x7f]')
_LABELS = re.compile(r"[A-Za-z0-9_](?>(?:[A-Za-z0-9_\-]*+(?:\.(?=[A-Za-z0-9_]))?)*)\.?")


def is_token(text: str) -> bool:
    """Whether it is a token, as methods, tags and option tags are."""
    return _TOKEN.fullmatch(text) is not None


def params(text: str, field: str) -> Params:
    """Parameters of a text that PARAMS matches. Raises MessageError if one is there twice (section 7.3.1)."""
    found: Params = {}
    if '"' in text or " " in text or "\t" in text:
        pairs = _PARAM.findall(text)
        for name, equals, value in pairs:
            found[name.lower()] = value if equals else None
        count = len(pairs)
    else:
        parts = text.split(";")[1:]
        for part in parts:
            name, equals, value = part.partition("=")
            found[name.lower()] = value if equals else None
        count = len(parts)
    if len(found) != count:
        raise MessageError(field, "has a parameter twice")
    return found


def params_text(given: Mapping[str, str | None]) -> str:
    """Parameters as they are written after a value."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in given.items()])


def unquote(text: str) -> str:
    """What a quoted string says; any other text as it is."""
    if len(text) < 2 or text[0] != '"':
        return text
    return _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]


def quote(text: str) -> str:
    """A text as a quoted string. Line ends, which cannot be quoted, become spaces."""
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(character: re.Match[str]) -> str:
    return " " if character[0] in "\r\n" else f"\\{character[0]}"


def number(text: str, field: str, most: int) -> int:
    """A whole number without sign, at most ``most``. Raises MessageError."""
    if not (text.isdigit() and text.isascii()):
        raise MessageError(field, "must be a whole number")
    if len(text) > 10:
        text = text.lstrip("0") or "0"
    value = int(text) if len(text) <= 10 else most + 1
    if value > most:
        raise MessageError(field, f"is over {most}")
    return value


@lru_cache(maxsize=4096)
def port(text: str, field: str) -> int:
    """A port that one can send to. Raises MessageError."""
    found = number(text, field, 65_535)
    if not found:
        raise MessageError(field, "has port 0")
    return found


@lru_cache(maxsize=4096)
def host(text: str, field: str) -> str:
    """A name, an IPv4 address, or an IPv6 address without its brackets. Raises MessageError.

    Wider than the grammar: names may have underscores, as names in private networks do.
    """
    try:
        if text.startswith("["):
            # Three colons come of an error in the grammar that was put right (RFC 5118 section 4.10).
            address = text[1:-1].replace(":::", "::")
            socket.inet_pton(socket.AF_INET6, address)
            return address
        if text[text.rfind(".") + 1 :].isdigit():
            socket.inet_pton(socket.AF_INET, text)
            return text
    except OSError:
        raise MessageError(field, "has a host that is no IP address") from None
    if len(text) > 255 or not _LABELS.fullmatch(text):
        raise MessageError(field, "has a host that is no name")
    return text
