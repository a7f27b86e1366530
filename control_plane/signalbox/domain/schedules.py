"""Schedules: which part of the time it is, by weekly hours, dates, holidays and make-up workdays.

Everything goes by what the clocks in the schedule's time zone show. Where a clock is put forward, the minutes that it
skips don't occur, and hours that begin or end in them hold for the minutes that are left; where it is put back, what
holds in the minutes that it repeats holds twice.

A date is worked out once: the minutes of its day are painted with the periods from the last in precedence to the first,
and a question is a search in the steps that came out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.domain import revisions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

DAY_MINUTES = 24 * 60
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DATES_REMEMBERED = 4
"""Dates worked out that a schedule's rules keep: calls ask for today's, on both sides of midnight."""

_ONE_DAY = timedelta(days=1)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class DayKind(Enum):
    """What makes a day of a calendar unlike its day of the week."""

    HOLIDAY = "holiday"
    WORKDAY = "workday"


@dataclass(frozen=True, slots=True)
class Day:
    """A holiday, or a make-up workday with hours as on another day of the week (``works_as``, 1 Monday to 7 Sunday)."""

    kind: DayKind
    works_as: int = 1
    name: str = ""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days that are not like their days of the week. ``tenant`` "": the operator's."""

    tenant: str
    id: str
    days: Mapping[date, Day]


@dataclass(frozen=True, slots=True)
class Hours:
    """From minute ``start`` of a day (0 to 1439) until before minute ``end`` (to 1440), which is on the next day unless
    it is greater than ``start``."""

    start: int = 0
    end: int = DAY_MINUTES


@dataclass(frozen=True, slots=True)
class Weekly:
    """Days of the week, 1 Monday to 7 Sunday."""

    days: frozenset[int]
    hours: Hours


@dataclass(frozen=True, slots=True)
class Dates:
    """The days from ``first`` to ``last``, both included."""

    first: date
    last: date
    hours: Hours = Hours()


@dataclass(frozen=True, slots=True)
class Holidays:
    """The calendar's holidays of these names; no names: all."""

    names: frozenset[str] = frozenset()
    hours: Hours = Hours()


@dataclass(frozen=True, slots=True)
class Period:
    """A part of the time that flows branch on by its name."""

    name: str
    when: Weekly | Dates | Holidays


@dataclass(frozen=True, slots=True)
class _Steps:
    """A day: from minute ``starts[i]`` on the period is ``names[i]``. ``calendar`` is what it was worked out with."""

    calendar: Calendar | None
    starts: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScheduleRules:
    """When which period is. ``zone`` None: the tenant's; ``calendar`` is an id, "" for no holidays."""

    zone: tzinfo | None
    calendar: str
    periods: tuple[Period, ...]
    _dates: dict[date, _Steps] = field(default_factory=dict, init=False, repr=False, compare=False)

    def steps(self, calendar: Calendar | None, day: date) -> _Steps:
        """What ``day`` is, worked out or remembered. Calendars are told apart by identity: a changed one is another."""
        known = self._dates.get(day)
        if known is not None and known.calendar is calendar:
            return known
        if len(self._dates) >= DATES_REMEMBERED:
            self._dates.clear()
        made = self._dates[day] = _work_out(self.periods, calendar, day)
        return made


@dataclass(frozen=True, slots=True)
class Schedule:
    """A tenant's schedule: rules and the times (epoch, seconds) from which they are in force, by time."""

    tenant: str
    id: str
    revisions: tuple[tuple[float, ScheduleRules], ...]

    def rules_at(self, now: float) -> ScheduleRules | None:
        """The rules in force at ``now`` (epoch, seconds); None before the first."""
        return revisions.in_force(self.revisions, now)


def period_at(rules: ScheduleRules, calendar: Calendar | None, zone: tzinfo, now: float) -> str:
    """Name of the period at ``now`` (epoch, seconds); "" if none holds, and beyond the years 1 to 9999.

    ``calendar`` is the one that ``rules`` name, None if there is none; ``zone`` is the tenant's.

    Of the periods that hold, those with dates go before those with holidays, and these before the weekly ones; among
    equals the first counts. Hours past midnight belong to the day that they began on, whatever the next one is.
    """
    try:
        local = datetime.fromtimestamp(now, rules.zone or zone)
        steps = rules.steps(calendar, local.date())
    except (OverflowError, ValueError, OSError):
        return ""
    return steps.names[bisect_right(steps.starts, local.hour * 60 + local.minute) - 1]


def describe(rules: ScheduleRules, calendar: Calendar | None, zone: tzinfo, now: float) -> str:
    """What :func:`period_at` goes by, for people: "Thursday 2026-10-01 03:12 Asia/Shanghai, holiday 国庆节"."""
    own = rules.zone or zone
    try:
        local = datetime.fromtimestamp(now, own)
    except (OverflowError, ValueError, OSError):
        return f"{now:.0f} s, beyond the years 1 to 9999"
    told = f"{WEEKDAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {own}"
    special = calendar.days.get(local.date()) if calendar else None
    if special is None:
        return told
    if special.kind is DayKind.HOLIDAY:
        return f"{told}, holiday {special.name}".rstrip()
    return f"{told}, make-up workday {special.name}".rstrip() + f" as {WEEKDAYS[special.works_as - 1]}"


def parse_time(text: str, *, end: bool = False) -> int:
    """The minute of the day of "HH:MM" (ISO 8601); an ``end`` may be "24:00". Raises ValueError with the reason."""
    if end and text == "24:00":
        return DAY_MINUTES
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"must be a time of the day from 00:00 to {'24:00' if end else '23:59'}, as 09:00")
    return int(match[1]) * 60 + int(match[2])


def parse_date(text: str) -> date:
    """The date of "YYYY-MM-DD" (ISO 8601). Raises ValueError with the reason."""
    if not _DATE.fullmatch(text):
        raise ValueError("must be a date, as 2026-10-01")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such day") from None


def _work_out(periods: Sequence[Period], calendar: Calendar | None, day: date) -> _Steps:
    minutes = [""] * DAY_MINUTES
    edges = {0}
    for period in sorted(periods, key=_precedence)[::-1]:
        for start, end in _minutes(period.when, calendar, day):
            minutes[start:end] = [period.name] * (end - start)
            edges |= {start, end}
    starts = sorted(edges - {DAY_MINUTES})
    kept = [start for start in starts if start == 0 or minutes[start] != minutes[start - 1]]
    return _Steps(calendar, tuple(kept), tuple(minutes[start] for start in kept))


def _precedence(period: Period) -> int:
    """The lower goes first."""
    return (Dates, Holidays, Weekly).index(type(period.when))


def _minutes(when: Weekly | Dates | Holidays, calendar: Calendar | None, day: date) -> Iterator[tuple[int, int]]:
    """The minutes of ``day`` at which a period holds: its own hours, and what is left of those of the day before."""
    hours = when.hours
    past_midnight = hours.end <= hours.start
    if _begins(when, calendar, day):
        yield hours.start, DAY_MINUTES if past_midnight else hours.end
    if past_midnight and day > date.min and _begins(when, calendar, day - _ONE_DAY):
        yield 0, hours.end


def _begins(when: Weekly | Dates | Holidays, calendar: Calendar | None, day: date) -> bool:
    """True if a period has hours that begin on ``day``."""
    if isinstance(when, Dates):
        return when.first <= day <= when.last
    special = calendar.days.get(day) if calendar else None
    holiday = special is not None and special.kind is DayKind.HOLIDAY
    if isinstance(when, Holidays):
        return holiday and special is not None and (not when.names or special.name in when.names)
    if holiday:
        return False
    return (special.works_as if special else day.isoweekday()) in when.days
