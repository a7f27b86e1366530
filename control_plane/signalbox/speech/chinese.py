"""Mandarin of parts: what a speaker says for a number, a time, an amount.

Where zeros are said is what schools teach: one 零 for zeros within a number, none for those at the end of a group of
four digits; CLDR's rules (RBNF of zh, spellout-cardinal) come to the same. 二 and 两 are used as in 吕叔湘,
《现代汉语八百词》: 两 before 千, 万 and 亿 at the beginning of a number and before what is counted, else 二. Parts of
the day are those of CLDR (dayPeriods of zh), amounts have the renminbi's own units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, time

    from signalbox.speech.languages import Parts

TEXTS = {
    "zh.pause": "，",
    **{f"zh.{digit}": text for digit, text in enumerate("零一二三四五六七八九")},
    "zh.digit-1": "幺",
    "zh.2-counted": "两",
    "zh.10": "十",
    "zh.100": "百",
    "zh.1000": "千",
    "zh.10000": "万",
    "zh.100000000": "亿",
    "zh.minus": "负",
    "zh.plus": "加",
    "zh.star": "星号",
    "zh.hash": "井号",
    "zh.ordinal": "第",
    "zh.position": "您排在第",
    "zh.people": "位",
    "zh.yuan": "元",
    "zh.jiao": "角",
    "zh.fen": "分",
    "zh.usd": "美元",
    "zh.us-cent": "美分",
    "zh.eur": "欧元",
    "zh.euro-cent": "欧分",
    "zh.gbp": "英镑",
    "zh.penny": "便士",
    "zh.year": "年",
    "zh.month": "月",
    "zh.day-of-month": "日",
    **{f"zh.weekday-{day}": f"星期{text}" for day, text in enumerate("一二三四五六日", 1)},
    "zh.small-hours": "凌晨",
    "zh.early-morning": "清晨",
    "zh.morning": "上午",
    "zh.noon": "中午",
    "zh.afternoon": "下午",
    "zh.evening": "晚上",
    "zh.o-clock": "点",
    "zh.sharp": "整",
    "zh.minute-of-hour": "分",
    "zh.days": "天",
    "zh.hours": "小时",
    "zh.minutes": "分钟",
    "zh.seconds": "秒",
}

_ZERO = ("zh.0",)
_TWO_COUNTED = ("zh.2-counted",)
_GROUPS = (100_000_000, 10_000)
_UNITS = (1_000, 100, 10)
_SIGNS = {"1": "zh.digit-1", "*": "zh.star", "#": "zh.hash", "+": "zh.plus"}
_CENTS = {
    "USD": ("zh.usd", "zh.us-cent"),
    "EUR": ("zh.eur", "zh.euro-cent"),
    "GBP": ("zh.gbp", "zh.penny"),
}
_DAY = (
    (5, "zh.small-hours"),
    (8, "zh.early-morning"),
    (12, "zh.morning"),
    (13, "zh.noon"),
    (19, "zh.afternoon"),
    (24, "zh.evening"),
)
"""Parts of the day, each with the hour in which it has ended."""


def digits(signs: str) -> Parts:
    """One by one, 1 as 幺."""
    return tuple(_SIGNS.get(sign, f"zh.{sign}") for sign in signs)


def number(value: int) -> Parts:
    """As in counting without a measure word."""
    return ("zh.minus", *_cardinal(-value)) if value < 0 else _cardinal(value)


def _cardinal(value: int) -> Parts:
    parts: Parts = ()
    rest = value
    for unit in _GROUPS:
        high, rest = divmod(rest, unit)
        if high:
            parts += (*(_group(high, leading=False) if parts else _leading(high)), f"zh.{unit}")
        parts += _gap(parts, rest, unit)
    if rest or not parts:
        parts += _group(rest, leading=not parts)
    return parts


def _leading(value: int) -> Parts:
    """So many of a large unit, at the beginning of a number."""
    return _TWO_COUNTED if value == 2 else _cardinal(value)


def _group(value: int, *, leading: bool) -> Parts:
    """Four digits; ``leading``: nothing is said before them."""
    parts: Parts = ()
    rest = value
    for unit in _UNITS:
        high, rest = divmod(rest, unit)
        if high:
            first = leading and not parts
            if first and (high, unit) == (2, 1_000):
                parts += _TWO_COUNTED
            elif not (first and (high, unit) == (1, 10)):
                parts += (f"zh.{high}",)
            parts += (f"zh.{unit}",)
        parts += _gap(parts, rest, unit)
    return (*parts, f"zh.{rest}") if rest or not parts else parts


def _gap(parts: Parts, rest: int, unit: int) -> Parts:
    """零 if the place after a unit is empty and something follows; once for all such places."""
    return _ZERO if parts and 0 < rest < unit // 10 and parts[-1:] != _ZERO else ()


def _counted(value: int, unit: str) -> Parts:
    """So many of something."""
    return (*(_TWO_COUNTED if value == 2 else _cardinal(value)), unit)


def ordinal(value: int) -> Parts:
    """第 and the number."""
    return ("zh.ordinal", *number(value))


def position(value: int) -> Parts:
    """A place in a queue."""
    return ("zh.position", *number(value), "zh.people")


def amount(hundredths: int, currency: str) -> Parts:
    """Money, not negative. Of renminbi 元, 角 and 分; 2 is 两 where the amount begins."""
    whole, rest = divmod(hundredths, 100)
    if currency == "CNY":
        return _renminbi(whole, *divmod(rest, 10))
    unit, cent = _CENTS[currency]
    parts = _counted(whole, unit) if whole or not rest else ()
    return parts + (_counted(rest, cent) if rest else ())


def _renminbi(yuan: int, jiao: int, fen: int) -> Parts:
    parts: Parts = _counted(yuan, "zh.yuan") if yuan or not (jiao or fen) else ()
    if jiao:
        parts += (f"zh.{jiao}", "zh.jiao") if parts else _counted(jiao, "zh.jiao")
    elif parts and fen:
        parts += _ZERO
    if fen:
        parts += (f"zh.{fen}", "zh.fen") if parts else _counted(fen, "zh.fen")
    return parts


def day(value: date) -> Parts:
    """Year digit by digit, month and day as numbers."""
    year = tuple(f"zh.{digit}" for digit in str(value.year))
    return (*year, "zh.year", *number(value.month), "zh.month", *number(value.day), "zh.day-of-month")


def weekday(value: date) -> Parts:
    """The day of the week, which follows the day."""
    return (f"zh.weekday-{value.isoweekday()}",)


def dated(day: Parts, weekday: Parts) -> Parts:
    """A day with its day of the week."""
    return day + weekday


def clock(value: time, *, half_days: bool) -> Parts:
    """Hour and minute; ``half_days``: with the part of the day, hours up to twelve."""
    hour = value.hour
    parts: Parts = ()
    if half_days:
        parts = (next(part for end, part in _DAY if hour < end),)
        hour = hour - 12 if hour > 12 else hour
    parts += _counted(hour, "zh.o-clock")
    if not value.minute:
        return (*parts, "zh.sharp")
    zero = _ZERO if value.minute < 10 else ()
    return (*parts, *zero, *number(value.minute), "zh.minute-of-hour")


def duration(days: int, hours: int, minutes: int, seconds: int) -> Parts:
    """What of it there is; 零 where a unit is left out between two."""
    units = ((days, "zh.days"), (hours, "zh.hours"), (minutes, "zh.minutes"), (seconds, "zh.seconds"))
    parts: Parts = ()
    gap = False
    for value, unit in units:
        if value:
            parts += (_ZERO if gap else ()) + _counted(value, unit)
        gap = bool(parts) and not value
    return parts or ("zh.0", "zh.seconds")
