"""What is said for a number, an amount, a time: as names of parts, each of which is made or recorded once. Pure.

Every function takes a language as a BCP 47 tag, and raises InvalidFieldError for it if it is none that is spoken. Parts
are from a closed list for each language, ``parts_of``; what they say is told by ``text_of``.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.speech import chinese, english
from signalbox.speech.languages import Language, language_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, time

    from signalbox.speech.languages import Parts

NUMBER_MAX = 10**12
"""Numbers and amounts go from minus this to this."""
DIGITS_MAX = 32
"""Most signs that are said one by one."""
CURRENCIES = ("CNY", "USD", "EUR", "GBP")
"""Codes of ISO 4217; all have hundredths."""

_SEPARATORS = re.compile(r"[ -]+")
_SIGNS = re.compile(r"[0-9*#+]+")
_AT_ONCE = 5
"""So many digits, as of 10086, are said in a go; more of them by fours and threes."""
_COUNTRY = "+86"
_EXACT = Context(prec=20, traps=[Inexact])
_PAUSES = {Language.CHINESE: "zh.pause", Language.ENGLISH: "en.pause"}


class _Speaker(Protocol):
    """What a language knows. Values have been checked."""

    @property
    def TEXTS(self) -> Mapping[str, str]: ...
    def digits(self, signs: str) -> Parts: ...
    def number(self, value: int) -> Parts: ...
    def ordinal(self, value: int) -> Parts: ...
    def position(self, value: int) -> Parts: ...
    def amount(self, hundredths: int, currency: str) -> Parts: ...
    def day(self, value: date) -> Parts: ...
    def weekday(self, value: date) -> Parts: ...
    def dated(self, day: Parts, weekday: Parts) -> Parts: ...
    def clock(self, value: time, *, half_days: bool) -> Parts: ...
    def duration(self, days: int, hours: int, minutes: int, seconds: int) -> Parts: ...


_SPEAKERS: Mapping[Language, _Speaker] = {Language.CHINESE: chinese, Language.ENGLISH: english}
_TEXTS = {**chinese.TEXTS, **english.TEXTS}
PAUSES = frozenset(_PAUSES.values())
"""Parts that are silence."""


def parts_of(language: Language) -> Mapping[str, str]:
    """All parts of a language, and what each says."""
    return _SPEAKERS[language].TEXTS


def text_of(parts: Parts) -> str:
    """What parts say, for tests and logs. Raises InvalidFieldError for one that is not known."""
    text = ""
    for part in parts:
        if part not in _TEXTS:
            raise _invalid("parts", f"there is no part {part!r}")
        space = " " if text and part.startswith("en.") and part not in PAUSES else ""
        text += space + _TEXTS[part]
    return text


def digits(value: str, language: str) -> Parts:
    """Telephone numbers and codes, sign by sign, with pauses between groups: 400-123-4567.

    Spaces and hyphens say where groups end; without any it is as telephone numbers of that length are said. Raises
    InvalidFieldError for ``digits`` unless it has 1 to 32 of 0–9, * and #, and + at most at its beginning.
    """
    speaker, pause = _speaker(language), _PAUSES[language_of(language)]
    groups = [group for group in _SEPARATORS.split(value) if group]
    if not all(map(_SIGNS.fullmatch, groups)) or "+" in "".join(groups)[1:]:
        raise _invalid("digits", "must be 0-9, *, #, spaces and hyphens, and + at the beginning")
    if not 1 <= sum(map(len, groups)) <= DIGITS_MAX:
        raise _invalid("digits", f"must have 1 to {DIGITS_MAX} signs")
    if len(groups) == 1:
        groups = _grouped(groups[0])
    parts: Parts = ()
    for group in groups:
        parts += ((pause,) if parts else ()) + speaker.digits(group)
    return parts


def _grouped(signs: str) -> list[str]:
    """Groups of signs that have none: 400 123 4567, 138 0000 1234, +86 138 0000 1234."""
    if signs.startswith(_COUNTRY) and signs != _COUNTRY:
        return [_COUNTRY, *_grouped(signs.removeprefix(_COUNTRY))]
    if len(signs) <= _AT_ONCE:
        return [signs]
    count = -(-len(signs) // 4)
    ends = [len(signs) * at // count for at in range(count + 1)]
    return [signs[start:end] for start, end in pairwise(ends)]


def number(value: int, language: str) -> Parts:
    """A cardinal number. Raises InvalidFieldError for ``number`` beyond ±10^12."""
    return _speaker(language).number(_whole("number", value, -NUMBER_MAX, NUMBER_MAX))


def ordinal(value: int, language: str) -> Parts:
    """The first, the second. Raises InvalidFieldError for ``ordinal`` unless from 1 to 10^12."""
    return _speaker(language).ordinal(_whole("ordinal", value, 1, NUMBER_MAX))


def position(value: int, language: str) -> Parts:
    """The place of a caller in a queue, 1 is served next. Raises InvalidFieldError for ``position`` as ``ordinal``."""
    return _speaker(language).position(_whole("position", value, 1, NUMBER_MAX))


def amount(value: Decimal | int, currency: str, language: str) -> Parts:
    """Money in a currency of ``CURRENCIES``.

    Raises InvalidFieldError for ``amount`` if it has parts of a hundredth, is a float or beyond ±10^12, and for
    ``currency``.
    """
    if currency not in CURRENCIES:
        raise _invalid("currency", f"must be one of {', '.join(CURRENCIES)}")
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise _invalid("amount", "must be decimal")
    decimal = Decimal(value)
    if not decimal.is_finite() or abs(decimal) > NUMBER_MAX:
        raise _invalid("amount", f"must be from {-NUMBER_MAX} to {NUMBER_MAX}")
    try:
        hundredths = int(_EXACT.quantize(decimal, Decimal("0.01")).scaleb(2))
    except Inexact as error:
        raise _invalid("amount", "must have at most 2 decimals") from error
    speaker = _speaker(language)
    sign = speaker.number(-1)[:1] if hundredths < 0 else ()
    return sign + speaker.amount(abs(hundredths), currency)


def day(value: date, language: str, *, weekday: bool = False) -> Parts:
    """A date of the Gregorian calendar, with its day of the week if asked for."""
    speaker = _speaker(language)
    said = speaker.day(value)
    return speaker.dated(said, speaker.weekday(value)) if weekday else said


def clock(value: time, language: str, *, half_days: bool = True) -> Parts:
    """Hour and minute of a clock, seconds left out; in 12 hours with the part of the day, or in 24 hours."""
    return _speaker(language).clock(value, half_days=half_days)


def duration(seconds: int, language: str) -> Parts:
    """How long something takes, in days, hours, minutes and seconds.

    Raises InvalidFieldError for ``duration`` unless from 0 to 10^12 s.
    """
    minutes, second = divmod(_whole("duration", seconds, 0, NUMBER_MAX), 60)
    hours, minute = divmod(minutes, 60)
    return _speaker(language).duration(*divmod(hours, 24), minute, second)


def _speaker(language: str) -> _Speaker:
    return _SPEAKERS[language_of(language)]


def _whole(field: str, value: int, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _invalid(field, f"must be a whole number from {least} to {most}")
    return value


def _invalid(field: str, reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation(field, reason))
