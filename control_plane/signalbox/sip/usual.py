"""What header fields look like nearly always: one expression each, narrower than the grammar.

What matches one of these is right, and need not be taken apart to know that. What does not is judged by the grammar.
Addresses and URIs are remembered, for those of a dialog stand in all its messages; what is long never is usual, or who
sends it could fill the memory.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.sip.grammar import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 8192
LENGTH_MAX = 256

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,29}+"
_NAME = rf"(?>(?:{_LABEL}\.){{0,7}})[A-Za-z_][A-Za-z0-9_\-]{{0,29}}+"
_HOST = rf"(?:(?:{_OCTET}\.){{3}}{_OCTET}(?![A-Za-z0-9_.\-])|{_NAME})"
_PORT = "(?:6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})(?![0-9])"


def _params(most: int, name: str, value: str) -> str:
    """At most so many parameters, none of them twice. ``name``: characters of a name; ``value``: of what follows it."""
    text = ""
    for at in reversed(range(most)):
        before = "|".join(f"(?P=p{other})" for other in range(at))
        twice = rf"(?!(?i:{before})(?![{name}]))" if before else ""
        text = rf"(?:;{twice}(?P<p{at}>[{name}]++){value}{text})?"
    return text


_SIP = (
    rf"sips?:(?:[A-Za-z0-9\-_.!~*'()&=+$/]++@)?{_HOST}(?::{_PORT})?"
    + _params(3, r"A-Za-z0-9\-_.!~*'()+", r"(?:=[A-Za-z0-9\-_.!~*'()\[\]/:&+$]*+)?")
)  # fmt: skip

SIP_URI = re.compile(_SIP)
"""Of SIP, without header fields."""
ADDRESS = re.compile(
    r"""(?:"[^"\\,\x00-\x1f\x7f]*+" ?|(?>(?:[A-Za-z0-9\-.!%*_+`'~]++ ?){0,4}))"""
    rf"<{_SIP}>(?:;(?:[tT][aA][gG]=(?P<tag>{TOKEN})|{TOKEN}={TOKEN}))?"
)  # fmt: skip
"""One value of From, To, Contact and the like; if it has a tag, that is a token."""
VIA = re.compile(
    rf"SIP/2\.0/(?:UDP|TCP|TLS) {_HOST}(?::{_PORT})?" + _params(4, r"A-Za-z0-9\-.!%*_+`'~", rf"(?:={TOKEN})?")
)
"""One value."""


def is_uri(text: str) -> bool:
    """Whether it is what SIP_URI matches."""
    return len(text) <= LENGTH_MAX and _is_uri(text)


def tag(text: str) -> str | None:
    """The tag of what ADDRESS matches, empty if it has none; None for anything else."""
    return _tag(text) if len(text) <= LENGTH_MAX else None


@lru_cache(maxsize=REMEMBERED)
def _is_uri(text: str) -> bool:
    return SIP_URI.fullmatch(text) is not None


@lru_cache(maxsize=REMEMBERED)
def _tag(text: str) -> str | None:
    match = ADDRESS.fullmatch(text)
    return None if match is None else match["tag"] or ""


def all_match(pattern: re.Pattern[str], lines: Iterable[str]) -> bool:
    """Whether each is one value of its usual form."""
    for line in lines:  # noqa: SIM110 (a generator takes longer than what it asks)
        if pattern.fullmatch(line) is None:
            return False
    return True
