"""What a valid screening list is, and its entries brought to the form in which callers are known. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalbox.domain.numbering import MAX_CALLER_DIGITS, PLAN, caller
from signalbox.domain.regions import PROVINCES
from signalbox.domain.screening import ANONYMOUS
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList

ENTRIES_MAX = 10_000
"""Entries in one request."""
"""Entries in one page of an answer."""
PREFIX_MAX = MAX_CALLER_DIGITS - 1
VIOLATIONS_MAX = 100
"""Bad entries that are told of at once; an answer must not be larger than a client takes."""

_SUFFIX = re.compile(r"(省|市|特别行政区|(壮族|回族|维吾尔)?自治区)$")
_SEPARATORS = re.compile(r"[-.() ]")
_MOBILE = re.compile(r"1[3-9]")
_ABROAD = f"{PLAN.international_prefix}{PLAN.country_code}"


def screening_list(message: ScreeningList) -> Iterator[FieldViolation]:
    """A screening list as a request's field ``screening_list``. An empty tenant is the operator."""
    yield from validate.owner(message.tenant, "screening_list.tenant")
    yield from validate.identifier(message.id, "screening_list.id")
    yield from validate.display_name(message.display_name, "screening_list.display_name")


def entries(given: Sequence[ScreeningEntry]) -> list[str]:
    """Entries as they are kept, see :mod:`signalbox.domain.screening`, each once, in the order given.

    Raises InvalidFieldError, which names the bad ones by their index, ``entries[17].number``.
    """
    validate.require(validate.count(given, ENTRIES_MAX, "entries"))
    found: dict[str, None] = {}
    violations: list[FieldViolation] = []
    for position, entry in enumerate(given):
        try:
            found[_text(entry)] = None
        except ValueError as error:
            path = f"entries[{position}]"
            field = entry.WhichOneof("match")
            violations.append(FieldViolation(f"{path}.{field}" if field else path, str(error)))
            if len(violations) == VIOLATIONS_MAX:
                break
    validate.require(violations)
    return list(found)


def _text(entry: ScreeningEntry) -> str:
    """An entry as it is kept. Raises ValueError with the reason why it is none."""
    match entry.WhichOneof("match"):
        case "number":
            return "n" + _number(entry.number)
        case "prefix":
            return "p" + _prefix(entry.prefix)
        case "province":
            return "r" + _province(entry.province)
        case "area_code":
            return "a" + _area_code(entry.area_code)
        case "anonymous":
            if entry.anonymous:
                return ANONYMOUS
            raise ValueError("must be true if it is there")
    raise ValueError("one of number, prefix, province, area_code and anonymous is required")


def _number(written: str) -> str:
    """As a caller of this number is known. What fits no numbering plan is kept if it is digits: so are such callers."""
    number = caller(written.replace(" ", ""), "").number
    if not number:
        raise ValueError(f"must be a telephone number of 3 to {MAX_CALLER_DIGITS} digits")
    return number


def _prefix(written: str) -> str:
    """With the country code taken off, if there is one, and an area code's 0 in its place."""
    digits = _SEPARATORS.sub("", written)
    if digits.startswith("+"):
        digits = PLAN.international_prefix + digits[1:]
    if digits.startswith(_ABROAD):
        rest = digits.removeprefix(_ABROAD)
        if rest in ("", "1"):
            raise ValueError("must go on after the country code, so that it is told what begins so")
        digits = rest if rest.startswith(PLAN.trunk_prefix) or _MOBILE.match(rest) else PLAN.trunk_prefix + rest
    if not (digits.isascii() and digits.isdigit() and 1 <= len(digits) <= PREFIX_MAX):
        raise ValueError(f"must be 1 to {PREFIX_MAX} digits")
    return digits


def _province(written: str) -> str:
    name = _SUFFIX.sub("", written.strip())
    if name not in PROVINCES:
        raise ValueError("must be a province by its Chinese name, like 内蒙古")
    return name


def _area_code(written: str) -> str:
    if written not in PLAN.area_codes:
        raise ValueError("must be an area code with its 0, like 0471")
    return written
