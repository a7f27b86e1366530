"""Variables of a call: what is known of every call, and what nodes of its flow set.

A value is text of at most 256 characters without control characters; a variable that has none was not set. Templates
are text with names in braces, ``{caller}``; ``{{`` and ``}}`` are the braces themselves.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LANGUAGE = "language"
"""The variable with the caller's language, a tag of BCP 47. Nodes can set it; a call begins without one."""
TIME = "time"
"""The time on the tenant's clock, ``2026-02-02 10:00``. Not for conditions."""
KNOWN = frozenset({"caller", "caller_province", "caller_city", "number", TIME})
"""What is known of every call, and cannot be set."""
TRIES = "?tries"
"""Counts how often a password was tried. No flow has a variable of such a name."""
SINCE = "?since"
"""Node and time (epoch, milliseconds) at which a caller began to wait in a queue. No flow has one of this name."""
SET_MAX = 16
"""Different variables that the nodes of a flow set."""
VALUE_MAX = 256
"""Longest value, in characters."""
TOTAL_MAX = 4_096
"""Longest names and values together of what a call has set, in bytes of UTF-8."""

Values = tuple[tuple[str, str], ...]
"""What a call has set, by name, in the order of the names; no value is empty."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PART = re.compile(r"(\{\{|\}\})|\{([a-z][a-z0-9_]{0,31})\}|([{}])")


class TemplateError(ValueError):
    """A text is no template."""


def is_name(text: str) -> bool:
    """True for what may be the name of a variable."""
    return _NAME.fullmatch(text) is not None


def names(template: str) -> tuple[str, ...]:
    """The variables that a template names. Raises TemplateError."""
    return tuple([part for part, is_name in _parts(template) if is_name])


def names_variables(text: str) -> bool:
    """True for a template that names variables; false too for what is no template."""
    try:
        return bool(names(text))
    except TemplateError:
        return False


def rendered(template: str, value: Callable[[str], str]) -> str:
    """A template with the values in place of the names. Raises TemplateError."""
    return "".join([value(part) if is_name else part for part, is_name in _parts(template)])


def assigned(values: Values, name: str, value: str) -> Values:
    """The values with one set anew. A value is cut where it, or all together, would be too long; control characters
    become blanks. What is left empty is not set."""
    others = {key: old for key, old in values if key != name}
    room = TOTAL_MAX - sum(len(key.encode()) + len(old.encode()) for key, old in others.items()) - len(name)
    clean = "".join([" " if _is_control(sign) else sign for sign in value[:VALUE_MAX]])
    cut = clean.encode(errors="ignore")[: max(room, 0)].decode(errors="ignore")
    return tuple(sorted({**others, name: cut}.items())) if cut else tuple(sorted(others.items()))


def _is_control(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Zl", "Zp")


@lru_cache(maxsize=1_024)
def _parts(template: str) -> tuple[tuple[str, bool], ...]:
    """The parts of a template in their order, each with whether it is a name."""
    return tuple(_split(template))


def _split(template: str) -> Iterator[tuple[str, bool]]:
    at = 0
    for found in _PART.finditer(template):
        if found.start() > at:
            yield template[at : found.start()], False
        twice, name, single = found.groups()
        if single:
            raise TemplateError(f"has a single {single}, must be {single * 2} or stand about the name of a variable")
        yield (name, True) if name else (twice[0], False)
        at = found.end()
    if at < len(template):
        yield template[at:], False
