"""Numbers as people and networks write them, brought to the national form in which rules name them.

Written forms follow RFC 3966 (visual separators, parameters after ``;``), RFC 3261 section 19.1.2 (``%`` escapes) and
ITU-T E.164 (``+`` and the international prefix before the country code). Which numbers there are is data: the numbering
plan in ``signalbox/data/numbering.toml``, read once.

The national form is what a person in the country dials from anywhere in it: ``13800001234``, ``01088886666`` (with the
area code and its 0), ``4001234567``, ``10086``, ``0044…`` for other countries. The national form of a national form is
itself.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from signalbox import data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MIN_DIGITS = 3
MAX_DIGITS = 15
"""Longest number of ITU-T E.164."""
MAX_CALLER_DIGITS = 20
"""Longest number that a caller is known by: with international prefix, and what fits no plan."""

_MIN_ABROAD = 7
"""Shortest number of another country that is taken for one, with its country code."""
_MIN_PREFIXED = 5
"""Shorter numbers are never written with a country code or a leading 0."""
_SEPARATORS = str.maketrans("", "", "-.()")


class CallerKind(Enum):
    """What a calling number is."""

    MOBILE = "mobile"
    FIXED = "fixed"
    SERVICE = "service"
    SHORT = "short"
    FOREIGN = "foreign"
    ANONYMOUS = "anonymous"
    MALFORMED = "malformed"


class Caller(NamedTuple):
    """Who calls. ``number`` is in national form; "" if there is none.

    A malformed number of 3 to 20 digits is kept as it is, so that a rule can name it.
    """

    kind: CallerKind
    number: str = ""


_ANONYMOUS = Caller(CallerKind.ANONYMOUS)
_MALFORMED = Caller(CallerKind.MALFORMED)


@dataclass(frozen=True, slots=True)
class ServiceForm:
    """Service numbers and short codes that begin with ``prefix`` and have ``length`` digits in all."""

    prefix: str
    length: int


_Table = dict[int, list[tuple[int, dict[str, CallerKind]]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A numbering plan. Numbers that it has are found by their length and beginning."""

    country_code: str
    international_prefix: str
    trunk_prefix: str
    anonymous: frozenset[str]
    area_codes: frozenset[str]
    service_forms: tuple[ServiceForm, ...]
    _table: _Table = field(repr=False)
    _local: Mapping[int, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Plan:
        """A plan from TOML, as ``signalbox/data/numbering.toml`` describes it."""
        given = tomllib.loads(text)
        forms = list(_forms(given))
        return cls(
            given["country_code"],
            given["international_prefix"],
            given["trunk_prefix"],
            frozenset(word.casefold() for word in given["anonymous"]),
            frozenset(code for area in given["area"] for code in area["codes"]),
            tuple(
                ServiceForm(prefix, length)
                for entry in given["range"]
                if entry["kind"] in ("service", "short")
                for prefix in entry["prefixes"]
                for length in entry["lengths"]
            ),
            _table(forms),
            {length: area["first"] for area in given["area"] for length in area["lengths"]},
        )

    def kind(self, digits: str) -> CallerKind | None:
        """What digits in national form are; None if this country has no such number, or it is local."""
        for length, kinds in self._table.get(len(digits), ()):
            kind = kinds.get(digits[:length])
            if kind is not None:
                return kind
        return None

    def local(self, digits: str) -> bool:
        """True for the number of a fixed line without its area code."""
        return digits[:1] in self._local.get(len(digits), ())


def _forms(given: Mapping[str, Any]) -> Iterator[tuple[str, int, CallerKind]]:
    """Beginning, length in all, and kind of everything that the plan names."""
    for entry in given["range"]:
        for prefix in entry["prefixes"]:
            for length in entry["lengths"]:
                yield prefix, length, CallerKind(entry["kind"])
    behind_area = [entry for entry in given["range"] if entry.get("with_area_code")]
    for area in given["area"]:
        for code in area["codes"]:
            for length in area["lengths"]:
                for first in area["first"]:
                    yield code + first, len(code) + length, CallerKind.FIXED
            for entry in behind_area:
                for prefix in entry["prefixes"]:
                    for length in entry["lengths"]:
                        yield code + prefix, len(code) + length, CallerKind(entry["kind"])


def _table(forms: Iterable[tuple[str, int, CallerKind]]) -> _Table:
    """By length, then by length of the beginning with the longest first."""
    table: dict[int, dict[int, dict[str, CallerKind]]] = {}
    for prefix, length, kind in forms:
        table.setdefault(length, {}).setdefault(len(prefix), {})[prefix] = kind
    return {length: sorted(by_prefix.items(), key=lambda item: -item[0]) for length, by_prefix in table.items()}


PLAN = Plan.parse(data.read("numbering.toml").decode())
"""The plan in force."""
SERVICE_FORMS = PLAN.service_forms


def is_service_form(digits: str) -> bool:
    """True if the digits have the form of a service number or short code in national form, without area code."""
    return any(len(digits) == form.length and digits.startswith(form.prefix) for form in SERVICE_FORMS)


@lru_cache(maxsize=65_536)
def national(written: str) -> str:
    """The national form of a number as it stands in a request URI: digits; "" if it can be no number of this country.

    ``+864001234567``, ``00864001234567``, ``864001234567``, ``04001234567`` and ``400-123-4567`` all give
    ``4001234567``. Digits that fit nothing in the plan stay as they are.
    """
    digits = _digits(written)
    if not digits:
        return ""
    kind, number = _classify(digits)
    abroad = kind is CallerKind.FOREIGN or number.startswith(PLAN.international_prefix)
    return number if not abroad and MIN_DIGITS <= len(number) <= MAX_DIGITS else ""


def caller(calling: str, asserted: str) -> Caller:
    """Who calls, from the user parts of From and of P-Asserted-Identity (RFC 3325); either may be empty.

    What the network asserts counts before what the caller's device says of itself, if it is a number of the plan or
    of another country: a caller who hides in From (RFC 3323) is known all the same. Nothing raises.
    """
    if asserted:
        known = _caller(asserted)
        if known.kind is not CallerKind.MALFORMED and known.kind is not CallerKind.ANONYMOUS:
            return known
    return _caller(calling)


def e164(number: str) -> str:
    """A number in national form as ``+`` and country code (ITU-T E.164, RFC 3966)."""
    return "+" + international(number).removeprefix(PLAN.international_prefix)


def international(number: str) -> str:
    """A number in national form as international prefix and country code, ``008613800001234``."""
    if number.startswith(PLAN.international_prefix):
        return number
    return PLAN.international_prefix + PLAN.country_code + number.removeprefix(PLAN.trunk_prefix)


def _caller(written: str) -> Caller:
    if written.isascii() and written.isdigit() and not written.startswith(PLAN.international_prefix):
        # Mostly it is in national form.
        kind = PLAN.kind(written)
        if kind is not None:
            return Caller(kind, written)
    digits = _digits(written)
    if not digits:
        return _ANONYMOUS if _bare(written).casefold() in PLAN.anonymous else _MALFORMED
    kind, number = _classify(digits)
    return Caller(kind, number) if MIN_DIGITS <= len(number) <= MAX_CALLER_DIGITS else _MALFORMED


def _digits(written: str) -> str:
    """The digits of a number, a leading + as international prefix; "" if there is anything else in it."""
    if not (written.isascii() and written.isdigit()):
        written = _bare(written).translate(_SEPARATORS)
        if written[:1] == "+":
            written = PLAN.international_prefix + written[1:]
            if len(written) == len(PLAN.international_prefix):
                return ""
        if not (written.isascii() and written.isdigit()):
            return ""
    return written


def _bare(written: str) -> str:
    """A user part without parameters, escapes and surrounding blanks."""
    written = written.partition(";")[0]
    if "%" in written:
        written = unquote(written)
    return written.strip()


def _classify(digits: str) -> tuple[CallerKind, str]:
    """Kind and national form of digits; malformed ones come back as they are, but for a country code told as such."""
    explicit = False
    while digits.startswith(PLAN.international_prefix):
        rest = digits.removeprefix(PLAN.international_prefix)
        if not rest.startswith(PLAN.country_code):
            good = rest[:1] != "0" and _MIN_ABROAD <= len(rest) <= MAX_DIGITS
            return (CallerKind.FOREIGN if good else CallerKind.MALFORMED), digits
        explicit, digits = True, rest.removeprefix(PLAN.country_code)
    kind = PLAN.kind(digits)
    if kind is not None:
        return kind, digits
    return _unprefixed(digits, explicit) or (CallerKind.MALFORMED, digits)


def _unprefixed(digits: str, explicit: bool) -> tuple[CallerKind, str] | None:
    """What digits are that are not in national form: with a 0 or country code too much, or without the 0 they need.

    ``explicit``: the country code was there, so an area code must be, too: it is looked for before a local number.
    """
    if len(digits) > _MIN_PREFIXED and (found := _without(PLAN.trunk_prefix, digits)):
        return found
    if not explicit and PLAN.local(digits) and not is_service_form(digits.removeprefix(PLAN.country_code)):
        return CallerKind.FIXED, digits
    if found := _with_trunk_prefix(digits):
        return found
    if digits.startswith(PLAN.country_code):
        rest = digits.removeprefix(PLAN.country_code)
        kind = PLAN.kind(rest) if len(rest) >= _MIN_PREFIXED else None
        if kind is not None:
            return kind, rest
        if found := _without(PLAN.trunk_prefix, rest) or _with_trunk_prefix(rest):
            return found
    return (CallerKind.FIXED, digits) if PLAN.local(digits) else None


def _without(prefix: str, digits: str) -> tuple[CallerKind, str] | None:
    rest = digits.removeprefix(prefix)
    kind = PLAN.kind(rest) if rest != digits and not rest.startswith(prefix) else None
    return (kind, rest) if kind is not None else None


def _with_trunk_prefix(digits: str) -> tuple[CallerKind, str] | None:
    number = PLAN.trunk_prefix + digits
    kind = PLAN.kind(number)
    return (kind, number) if kind is not None else None
