"""What a valid calendar and a valid schedule are, apart from references. Pure; see ``provisioning.validate``."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import schedules_pb2
from signalbox.domain.schedules import parse_date, parse_time
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAYS_MAX = 2_000
DAY_NAME_MAX = 64
PERIODS_MAX = 200
HOLIDAY_NAMES_MAX = 64

Hours = schedules_pb2.WeeklyHours | schedules_pb2.DateRange | schedules_pb2.Holidays


def calendar(message: schedules_pb2.Calendar) -> Iterator[FieldViolation]:
    """A calendar as a request's field ``calendar``."""
    yield from validate.owner(message.tenant, "calendar.tenant")
    yield from validate.identifier(message.id, "calendar.id")
    yield from validate.display_name(message.display_name, "calendar.display_name")
    if len(message.days) > DAYS_MAX:
        yield FieldViolation("calendar.days", f"must have at most {DAYS_MAX} entries")
    seen: dict[str, int] = {}
    for position, day in enumerate(message.days):
        path = f"calendar.days[{position}]"
        yield from _day(day, path)
        first = seen.setdefault(day.date, position)
        if first != position:
            yield FieldViolation(f"{path}.date", f"is already calendar.days[{first}]")


def schedule(message: schedules_pb2.Schedule) -> Iterator[FieldViolation]:
    """A schedule as a request's field ``schedule``, apart from its draft."""
    yield from validate.identifier(message.tenant, "schedule.tenant")
    yield from validate.identifier(message.id, "schedule.id")
    yield from validate.display_name(message.display_name, "schedule.display_name")


def rules(message: schedules_pb2.ScheduleRules, path: str) -> Iterator[FieldViolation]:
    """A draft, or the rules of a revision. Whether there is such a calendar is not looked at."""
    yield from validate.time_zone(message.time_zone, f"{path}.time_zone")
    if message.calendar:
        yield from validate.identifier(message.calendar, f"{path}.calendar")
    if len(message.periods) > PERIODS_MAX:
        yield FieldViolation(f"{path}.periods", f"must have at most {PERIODS_MAX} entries")
    for position, period in enumerate(message.periods):
        at = f"{path}.periods[{position}]"
        yield from validate.identifier(period.name, f"{at}.name")
        match period.WhichOneof("when"):
            case "weekly":
                yield from _weekly(period.weekly, f"{at}.weekly")
            case "dates":
                yield from _dates(period.dates, f"{at}.dates")
            case "holidays":
                if not message.calendar:
                    yield FieldViolation(f"{at}.holidays", f"needs {path}.calendar")
                yield from _holidays(period.holidays, f"{at}.holidays")
            case _:
                yield FieldViolation(at, "must have weekly, dates or holidays")


def _day(day: schedules_pb2.CalendarDay, path: str) -> Iterator[FieldViolation]:
    yield from _parsed(parse_date, day.date, f"{path}.date")
    yield from validate.enums(day, path)
    if not day.kind:
        yield FieldViolation(f"{path}.kind", "is required")
    if day.works_as and day.kind == schedules_pb2.DAY_KIND_HOLIDAY:
        yield FieldViolation(f"{path}.works_as", "must be absent for a holiday")
    yield from _day_name(day.name, f"{path}.name")


def _day_name(name: str, path: str) -> Iterator[FieldViolation]:
    if len(name) > DAY_NAME_MAX:
        yield FieldViolation(path, f"must have at most {DAY_NAME_MAX} characters")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in name):
        yield FieldViolation(path, "must not have control characters")


def _weekly(weekly: schedules_pb2.WeeklyHours, path: str) -> Iterator[FieldViolation]:
    if not weekly.days:
        yield FieldViolation(f"{path}.days", "must have at least one day")
    known = schedules_pb2.Weekday.values()
    for position, day in enumerate(weekly.days):
        if not day or day not in known:
            yield FieldViolation(f"{path}.days[{position}]", f"has no value {day}" if day else "is required")
        elif day in weekly.days[:position]:
            yield FieldViolation(f"{path}.days[{position}]", "is there already")
    yield from _hours(weekly, path, required=True)


def _dates(dates: schedules_pb2.DateRange, path: str) -> Iterator[FieldViolation]:
    wrong = [
        *_parsed(parse_date, dates.first_date, f"{path}.first_date"),
        *_parsed(parse_date, dates.last_date, f"{path}.last_date"),
    ]
    yield from wrong
    # Dates of this form are ordered as their texts.
    if not wrong and dates.last_date < dates.first_date:
        yield FieldViolation(f"{path}.last_date", f"must not be before {path}.first_date")
    yield from _hours(dates, path, required=False)


def _holidays(holidays: schedules_pb2.Holidays, path: str) -> Iterator[FieldViolation]:
    if len(holidays.names) > HOLIDAY_NAMES_MAX:
        yield FieldViolation(f"{path}.names", f"must have at most {HOLIDAY_NAMES_MAX} entries")
    for position, name in enumerate(holidays.names):
        if name:
            yield from _day_name(name, f"{path}.names[{position}]")
        else:
            yield FieldViolation(f"{path}.names[{position}]", "must not be empty")
    yield from validate.different(holidays.names, f"{path}.names", "holiday")
    yield from _hours(holidays, path, required=False)


def _hours(hours: Hours, path: str, *, required: bool) -> Iterator[FieldViolation]:
    if not required and not hours.start_time and not hours.end_time:
        return
    yield from _parsed(parse_time, hours.start_time, f"{path}.start_time")
    yield from _parsed(lambda text: parse_time(text, end=True), hours.end_time, f"{path}.end_time")


def _parsed(parse: Callable[[str], object], text: str, path: str) -> Iterator[FieldViolation]:
    if not text:
        yield FieldViolation(path, "is required")
        return
    try:
        parse(text)
    except ValueError as error:
        yield FieldViolation(path, str(error))
