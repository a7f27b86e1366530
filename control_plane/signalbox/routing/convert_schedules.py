"""Stored calendars and schedules into the objects that decisions are made of."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from signalbox.api.types.v1 import schedules_pb2
from signalbox.domain.schedules import (
    Calendar,
    Dates,
    Day,
    DayKind,
    Holidays,
    Hours,
    Period,
    Schedule,
    ScheduleRules,
    Weekly,
    parse_date,
    parse_time,
)
from signalbox.store import codec

if TYPE_CHECKING:
    from datetime import tzinfo

_KINDS = {
    schedules_pb2.DAY_KIND_HOLIDAY: DayKind.HOLIDAY,
    schedules_pb2.DAY_KIND_WORKDAY: DayKind.WORKDAY,
}
_WHOLE_DAY = Hours()


def calendar(message: schedules_pb2.Calendar) -> Calendar:
    """A calendar as it is stored. Raises DamagedValueError."""
    try:
        days = {parse_date(day.date): _day(day) for day in message.days}
    except (ValueError, KeyError) as error:
        raise codec.DamagedValueError(codec.key_of(message), f"a day {error}") from error
    return Calendar(sys.intern(message.tenant), sys.intern(message.id), days)


def schedule(message: schedules_pb2.Schedule) -> Schedule:
    """A schedule as it is stored: its revisions, without the draft. Raises DamagedValueError."""
    revisions = []
    for revision in message.revisions:
        try:
            rules = schedule_rules(revision.rules)
        except ValueError as error:
            why = f"revision {revision.number}: {error}"
            raise codec.DamagedValueError(codec.key_of(message), why) from error
        revisions.append((codec.seconds(revision.activate_time), rules))
    return Schedule(sys.intern(message.tenant), sys.intern(message.id), tuple(revisions))


def schedule_rules(message: schedules_pb2.ScheduleRules) -> ScheduleRules:
    """Rules of a schedule, also those of a draft. Raises ValueError for what cannot be obeyed."""
    return ScheduleRules(
        zone(message.time_zone) if message.time_zone else None,
        sys.intern(message.calendar),
        tuple(Period(sys.intern(period.name), _when(period)) for period in message.periods),
    )


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises ValueError if this machine knows none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}") from error


def _day(day: schedules_pb2.CalendarDay) -> Day:
    works_as = day.works_as or schedules_pb2.WEEKDAY_MONDAY
    if works_as not in range(1, 8):
        raise ValueError(f"works as {works_as}")
    return Day(_KINDS[day.kind], works_as, sys.intern(day.name))


def _when(period: schedules_pb2.Period) -> Weekly | Dates | Holidays:
    match period.WhichOneof("when"):
        case "weekly":
            return Weekly(frozenset(period.weekly.days), _hours(period.weekly))
        case "dates":
            dates = period.dates
            return Dates(parse_date(dates.first_date), parse_date(dates.last_date), _hours(dates))
        case "holidays":
            return Holidays(frozenset(period.holidays.names), _hours(period.holidays))
    raise ValueError(f"period {period.name}: not weekly, dates or holidays")


def _hours(when: schedules_pb2.WeeklyHours | schedules_pb2.DateRange | schedules_pb2.Holidays) -> Hours:
    if not when.start_time and not when.end_time and not isinstance(when, schedules_pb2.WeeklyHours):
        return _WHOLE_DAY
    return Hours(parse_time(when.start_time), parse_time(when.end_time, end=True))
