"""Valid calendars and schedules: every field and every way for it to be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from signalbox.api.types.v1 import schedules_pb2
from signalbox.provisioning import validate_schedules
from support.schedules import WORKDAY, calendar, day, rules, schedule, weekly

Period = schedules_pb2.Period


def period(name: str = "x", **when: Any) -> Period:
    return Period(name=name, **when)


def wrong_calendar(*days: schedules_pb2.CalendarDay, **fields: Any) -> dict[str, str]:
    given = schedules_pb2.Calendar(**{"id": "cn", "days": days, **fields})
    return {one.field.removeprefix("calendar."): one.reason for one in validate_schedules.calendar(given)}


def wrong(*periods: Period, **fields: Any) -> dict[str, str]:
    given = rules(*periods, **{"calendar": "cn", **fields})
    return {one.field.removeprefix("draft."): one.reason for one in validate_schedules.rules(given, "draft")}


def test_a_good_calendar() -> None:
    assert not list(validate_schedules.calendar(calendar("cn", "acme", day(name="国庆节"), day("2026-10-10", WORKDAY))))
    assert not wrong_calendar(day("2028-02-29", WORKDAY, works_as=7, name="补班"))
    assert not wrong_calendar()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (day(""), "date"),
        (day("2027-02-29"), "date"),
        (day("2026-10-1"), "date"),
        (day(kind=0), "kind"),
        (day(kind=9), "kind"),
        (day(works_as=1), "works_as"),
        (day(kind=WORKDAY, works_as=8), "works_as"),
        (day(name="x" * 65), "name"),
        (day(name="a\nb"), "name"),
    ],
)
def test_a_day_that_is_wrong(given: schedules_pb2.CalendarDay, field: str) -> None:
    assert list(wrong_calendar(day("2026-01-01"), given)) == [f"days[1].{field}"]


def test_a_calendar_that_is_wrong() -> None:
    assert list(wrong_calendar(id="")) == ["id"]
    assert list(wrong_calendar(tenant="A")) == ["tenant"]
    assert list(wrong_calendar(display_name="x" * 201)) == ["display_name"]
    assert wrong_calendar(day(), day("2026-01-01"), day()) == {"days[2].date": "is already calendar.days[0]"}
    many = [
        day(f"{year}-{month:02}-{date:02}")
        for year in range(2000, 2006)
        for month in range(1, 13)
        for date in range(1, 29)
    ]
    assert not wrong_calendar(*many[:2000])
    assert list(wrong_calendar(*many)) == ["days"]


def test_a_schedule_that_is_wrong() -> None:
    assert not list(validate_schedules.schedule(schedule()))
    found = list(validate_schedules.schedule(schedules_pb2.Schedule(display_name="\t")))
    assert [one.field for one in found] == ["schedule.tenant", "schedule.id", "schedule.display_name"]


def test_good_rules() -> None:
    assert not wrong(
        weekly("open"),
        weekly("open", 1, 7, start="22:00", end="06:00"),
        weekly("late", 1, start="18:00", end="24:00"),
        period(dates={"first_date": "2026-10-01", "last_date": "2026-10-01"}),
        period(
            dates={"first_date": "2026-10-01", "last_date": "2027-01-01", "start_time": "08:00", "end_time": "08:00"}
        ),
        period(holidays={}),
        period(holidays={"names": ["国庆节", "春节"], "start_time": "00:00", "end_time": "24:00"}),
        time_zone="America/New_York",
    )
    assert not wrong(calendar="")


def test_rules_without_periods_never_hold_and_are_good() -> None:
    assert not list(validate_schedules.rules(schedules_pb2.ScheduleRules(), "draft"))


@pytest.mark.parametrize(
    "zone", ["Asia/Peking", "asia/shanghai", "../etc/passwd", "America", "localtime", "/etc/localtime", "UTC+8", "\0"]
)
def test_an_unknown_time_zone(zone: str) -> None:
    assert list(wrong(time_zone=zone)) == ["time_zone"]


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (period(""), ["name", ""]),
        (period("Open", holidays={}), ["name"]),
        (period(), [""]),
        (period(weekly={}), ["weekly.days", "weekly.start_time", "weekly.end_time"]),
        (weekly("x", 1, 0), ["weekly.days[1]"]),
        (weekly("x", 1, 8), ["weekly.days[1]"]),
        (weekly("x", 1, 2, 1), ["weekly.days[2]"]),
        (weekly("x", start="24:00"), ["weekly.start_time"]),
        (weekly("x", end="24:01"), ["weekly.end_time"]),
        (weekly("x", end="9:00"), ["weekly.end_time"]),
        (period(dates={}), ["dates.first_date", "dates.last_date"]),
        (period(dates={"first_date": "2026-10-02", "last_date": "2026-10-01"}), ["dates.last_date"]),
        (period(dates={"first_date": "2026-10-01", "last_date": "2026-10-32"}), ["dates.last_date"]),
        (
            period(dates={"first_date": "2026-10-01", "last_date": "2026-10-01", "start_time": "09:00"}),
            ["dates.end_time"],
        ),
        (period(holidays={"end_time": "09:00"}), ["holidays.start_time"]),
        (
            period(holidays={"names": ["a", "", "a", "x" * 65]}),
            ["holidays.names[1]", "holidays.names[3]", "holidays.names[2]"],
        ),
        (period(holidays={"names": [f"n{n}" for n in range(65)]}), ["holidays.names"]),
    ],
)
def test_a_period_that_is_wrong(given: Period, fields: list[str]) -> None:
    found = wrong(weekly("open"), given)
    assert list(found) == [f"periods[1].{field}".removesuffix(".") for field in fields]


def test_rules_that_are_wrong() -> None:
    assert list(wrong(calendar="No")) == ["calendar"]
    assert wrong(period(holidays={}), calendar="") == {"periods[0].holidays": "needs draft.calendar"}
    assert not wrong(*[weekly("x")] * 200)
    assert list(wrong(*[weekly("x")] * 201)) == ["periods"]
