"""English of parts: what a speaker in Britain says for a number, a time, an amount.

Numbers are those of CLDR's spellout-cardinal-verbose and spellout-ordinal-verbose (RBNF of en): "one hundred and five".
Years are said in pairs of digits (spellout-numbering-year).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, time

    from signalbox.speech.languages import Parts

# fmt: off
_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]
# fmt: on
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_GROUPS = {10**12: "trillion", 10**9: "billion", 10**6: "million", 10**3: "thousand"}
_IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_UNITS = ("day", "hour", "minute", "second")
_MONEY = {
    "CNY": ("yuan", "yuan", "fen", "fen"),
    "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
}
_SIGNS = {"*": "en.star", "#": "en.hash", "+": "en.plus"}


def _ordinal_of(cardinal: str) -> str:
    regular = f"{cardinal[:-1]}ieth" if cardinal.endswith("y") else f"{cardinal}th"
    return _IRREGULAR.get(cardinal, regular)


_WORDS = [*_SMALL, *_TENS, "hundred", *_GROUPS.values()]
TEXTS = {
    "en.pause": ",",
    **{f"en.{word}": word for word in _WORDS},
    **{f"en.{word}": word for word in map(_ordinal_of, _WORDS[1:])},
    **{f"en.{word}": word for word in ("and", "minus", "plus", "star", "hash", "oh", "the", "of")},
    "en.position": "you are number",
    **{f"en.{word.lower()}": word for word in (*_MONTHS, *_WEEKDAYS)},
    "en.am": "a.m.",
    "en.pm": "p.m.",
    "en.noon": "noon",
    "en.midnight": "midnight",
    "en.hours-sharp": "hundred hours",
    **{f"en.unit-{unit}": unit for unit in _UNITS},
    **{f"en.unit-{unit}s": f"{unit}s" for unit in _UNITS},
    **{f"en.money-{word}": word for words in _MONEY.values() for word in words},
}


def digits(signs: str) -> Parts:
    """One by one, 0 as zero."""
    return tuple(_SIGNS[sign] if sign in _SIGNS else _small(int(sign)) for sign in signs)


def number(value: int) -> Parts:
    """A cardinal number, with "and" before its tens."""
    return ("en.minus", *_cardinal(-value)) if value < 0 else _cardinal(value)


def _small(value: int) -> str:
    return f"en.{_SMALL[value]}"


def _cardinal(value: int) -> Parts:
    parts: Parts = ()
    rest = value
    for unit, word in _GROUPS.items():
        high, rest = divmod(rest, unit)
        if high:
            parts += (*_hundreds(high), f"en.{word}")
    if not rest and parts:
        return parts
    joint = ("en.and",) if parts and rest < 100 else ()
    return (*parts, *joint, *_hundreds(rest))


def _hundreds(value: int) -> Parts:
    """Below a thousand."""
    high, rest = divmod(value, 100)
    if not high:
        return _tens(rest)
    parts = (_small(high), "en.hundred")
    return (*parts, "en.and", *_tens(rest)) if rest else parts


def _tens(value: int) -> Parts:
    """Below a hundred."""
    if value < len(_SMALL):
        return (_small(value),)
    high, rest = divmod(value, 10)
    tens = f"en.{_TENS[high - 2]}"
    return (tens, _small(rest)) if rest else (tens,)


def ordinal(value: int) -> Parts:
    """The cardinal with its last word made ordinal."""
    *parts, last = number(value)
    return (*parts, f"en.{_ordinal_of(last.removeprefix('en.'))}")


def position(value: int) -> Parts:
    """A place in a queue."""
    return ("en.position", *number(value))


def _counted(value: int, one: str, more: str) -> Parts:
    return (*number(value), one if value == 1 else more)


def amount(hundredths: int, currency: str) -> Parts:
    """Money, not negative, and its hundredths: of a yuan, too, fen."""
    whole, rest = divmod(hundredths, 100)
    one, more, cent, cents = (f"en.money-{word}" for word in _MONEY[currency])
    parts: Parts = _counted(whole, one, more) if whole or not rest else ()
    if rest:
        parts += (("en.and",) if parts else ()) + _counted(rest, cent, cents)
    return parts


def day(value: date) -> Parts:
    """Day, month and year."""
    return ("en.the", *ordinal(value.day), "en.of", f"en.{_MONTHS[value.month - 1].lower()}", *_year(value.year))


def _year(year: int) -> Parts:
    century, rest = divmod(year, 100)
    if year < 1_000 or (century % 10 == 0 and rest < 10):
        return number(year)
    if not rest:
        return (*number(century), "en.hundred")
    return (*number(century), *(("en.oh",) if rest < 10 else ()), *number(rest))


def dated(day: Parts, weekday: Parts) -> Parts:
    """A day with its day of the week."""
    return weekday + day


def weekday(value: date) -> Parts:
    """The day of the week, which precedes the day."""
    return (f"en.{_WEEKDAYS[value.weekday()].lower()}",)


def clock(value: time, *, half_days: bool) -> Parts:
    """Hour and minute; ``half_days``: hours up to twelve, and which half."""
    if not half_days:
        hour = ("en.zero",) if not value.hour else (("en.oh",) if value.hour < 10 else ()) + number(value.hour)
        return hour + (_minute(value.minute) or ("en.hours-sharp",))
    hour = number(value.hour % 12 or 12)
    if not value.minute and value.hour % 12 == 0:
        return (*hour, "en.noon" if value.hour else "en.midnight")
    return (*hour, *_minute(value.minute), "en.pm" if value.hour >= 12 else "en.am")


def _minute(minute: int) -> Parts:
    """Nothing for none."""
    if not minute:
        return ()
    return (("en.oh",) if minute < 10 else ()) + number(minute)


def duration(days: int, hours: int, minutes: int, seconds: int) -> Parts:
    """What of it there is, "and" before the last."""
    values = zip((days, hours, minutes, seconds), _UNITS, strict=True)
    said = [_counted(value, f"en.unit-{unit}", f"en.unit-{unit}s") for value, unit in values if value]
    if not said:
        return ("en.zero", "en.unit-seconds")
    *before, last = said
    joint = ("en.and",) if before else ()
    return tuple(part for unit in before for part in unit) + joint + last
