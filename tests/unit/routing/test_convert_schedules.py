"""Stored calendars and schedules into the objects of decisions."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
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
)
from signalbox.routing import convert_schedules
from signalbox.store import codec
from support.schedules import WORKDAY, calendar, day, moment, rules, schedule, weekly


def stored(*found: schedules_pb2.ScheduleRules) -> schedules_pb2.Schedule:
    """A schedule with a revision each second."""
    message = schedule(draft=None)
    for number, one in enumerate(found, 1):
        time = datetime.fromtimestamp(number + 0.25, tz=UTC)
        message.revisions.add(number=number, rules=one, activate_time=moment(time))
    return message


def test_a_calendar() -> None:
    message = calendar(
        "cn", "acme", day(name="国庆节"), day("2026-10-10", WORKDAY), day("2026-10-11", WORKDAY, works_as=5)
    )
    days = {
        date(2026, 10, 1): Day(DayKind.HOLIDAY, name="国庆节"),
        date(2026, 10, 10): Day(DayKind.WORKDAY, 1),
        date(2026, 10, 11): Day(DayKind.WORKDAY, 5),
    }
    assert convert_schedules.calendar(message) == Calendar("acme", "cn", days)


def test_a_schedule() -> None:
    dates = {"first_date": "2026-10-01", "last_date": "2026-10-02"}
    holidays = {"names": ["国庆节"], "start_time": "10:00", "end_time": "24:00"}
    first = rules(
        weekly("open", 1, 7, start="22:00", end="06:00"),
        schedules_pb2.Period(name="moved", dates=dates),
        schedules_pb2.Period(name="feast", holidays=holidays),
        calendar="cn",
        time_zone="Europe/Berlin",
    )
    expected = ScheduleRules(
        ZoneInfo("Europe/Berlin"),
        "cn",
        (
            Period("open", Weekly(frozenset({1, 7}), Hours(1320, 360))),
            Period("moved", Dates(date(2026, 10, 1), date(2026, 10, 2), Hours(0, 1440))),
            Period("feast", Holidays(frozenset({"国庆节"}), Hours(600, 1440))),
        ),
    )
    plain = ScheduleRules(None, "", (Period("open", Weekly(frozenset(range(1, 8)), Hours(540, 1080))),))
    message = stored(first, rules())
    message.draft.CopyFrom(rules(time_zone="damaged, but obeyed by nobody"))
    assert convert_schedules.schedule(message) == Schedule("acme", "hours", ((1.25, expected), (2.25, plain)))


@pytest.mark.parametrize("fields", [{"date": "2026"}, {"kind": 0}, {"kind": 9}, {"kind": WORKDAY, "works_as": 8}])
def test_a_damaged_calendar(fields: dict[str, Any]) -> None:
    with pytest.raises(codec.DamagedValueError) as caught:
        convert_schedules.calendar(calendar("cn", "", day(**{"date": "2026-10-01", **fields})))
    assert caught.value.key == "rules/calendars/_/cn"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (rules(time_zone="Asia/Peking"), "unknown time zone 'Asia/Peking'"),
        (rules(time_zone="America"), "unknown time zone"),
        (rules(weekly("open", start="")), "must be a time"),
        (rules(weekly("open", start="9:00")), "must be a time"),
        (rules(schedules_pb2.Period(name="x", dates={"first_date": "x", "last_date": "2026-10-01"})), "must be a date"),
        (rules(schedules_pb2.Period(name="x")), "period x: not weekly, dates or holidays"),
    ],
)
def test_a_damaged_schedule(broken: schedules_pb2.ScheduleRules, why: str) -> None:
    with pytest.raises(codec.DamagedValueError, match=f"revision 2: .*{why}") as caught:
        convert_schedules.schedule(stored(rules(), broken))
    assert caught.value.key == "rules/schedules/acme/hours"


def test_time_zones_are_known_where_the_system_has_none() -> None:
    zoneinfo.reset_tzpath(to=())
    try:
        shanghai = ZoneInfo.no_cache("Asia/Shanghai")
    finally:
        zoneinfo.reset_tzpath()
    assert datetime(2026, 1, 1, tzinfo=shanghai).utcoffset() == timedelta(hours=8)
