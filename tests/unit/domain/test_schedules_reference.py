"""Schedules against a reference that asks every period about every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.domain.schedules import (
    Calendar,
    Dates,
    Day,
    DayKind,
    Holidays,
    Hours,
    Period,
    ScheduleRules,
    Weekly,
    period_at,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = frozenset({1, 2, 3, 4, 5})
EVERY_DAY = frozenset(range(1, 8))


def reference(rules: ScheduleRules, calendar: Calendar | None, zone: tzinfo, now: float) -> str:
    """Asks each period in turn, by classes: is there a day, this one or the one before, whose hours are now?"""
    shown = datetime.fromtimestamp(now, rules.zone or zone).replace(tzinfo=None)
    for kind in (Dates, Holidays, Weekly):
        for period in rules.periods:
            if isinstance(period.when, kind) and holds(period.when, calendar, shown):
                return period.name
    return ""


def holds(when: Weekly | Dates | Holidays, calendar: Calendar | None, shown: datetime) -> bool:
    """True if the hours that begin on a day around contain what the clock shows, counted in whole minutes."""
    for back in (0, 1):
        day = shown.date() - timedelta(days=back)
        midnight = datetime(day.year, day.month, day.day)
        start = midnight + timedelta(minutes=when.hours.start)
        end = midnight + timedelta(minutes=when.hours.end)
        if end <= start:
            end += timedelta(days=1)
        if start <= shown < end and has_hours(when, calendar, day):
            return True
    return False


def has_hours(when: Weekly | Dates | Holidays, calendar: Calendar | None, day: date) -> bool:
    """True if the hours begin on this day."""
    special = calendar.days.get(day) if calendar else None
    if isinstance(when, Dates):
        return when.first <= day and day <= when.last
    if isinstance(when, Holidays):
        if special is None or special.kind is not DayKind.HOLIDAY:
            return False
        return len(when.names) == 0 or special.name in when.names
    if special is None:
        return day.isoweekday() in when.days
    if special.kind is DayKind.HOLIDAY:
        return False
    return special.works_as in when.days


# What it is compared on ---------------------------------------------------------------------------------------------

ZONES = [
    SHANGHAI,
    BERLIN,  # 02:00 to 03:00 is skipped in March and repeated in October
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Beirut"),  # midnight to 01:00 is skipped, 23:00 to midnight is repeated
    ZoneInfo("Australia/Lord_Howe"),  # by half an hour
    ZoneInfo("Pacific/Apia"),  # had no 30 December 2011
    timezone(timedelta(hours=5, minutes=45)),
]
CHANGES = [
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC),
    datetime(2011, 12, 30, tzinfo=UTC),
    datetime(2028, 2, 28, tzinfo=UTC),
    datetime(2027, 2, 28, tzinfo=UTC),
    datetime(2026, 12, 31, tzinfo=UTC),
]
"""Days around which something is unlike other days."""

names = st.sampled_from(["a", "b", "c", "d"])
hours = st.builds(
    Hours,
    st.one_of(st.sampled_from([0, 1, 120, 150, 540, 1320, 1439]), st.integers(0, 1439)),
    st.one_of(st.sampled_from([0, 1, 121, 180, 1080, 1439, 1440]), st.integers(0, 1440)),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[ScheduleRules, Calendar | None, tzinfo, datetime]:
    """Rules, a calendar, a zone, and the time around which they have something to say."""
    middle = draw(st.sampled_from(CHANGES))
    days = st.integers(-3, 3).map(lambda offset: middle.date() + timedelta(days=offset))
    when = st.one_of(
        st.builds(Weekly, st.frozensets(st.integers(1, 7), min_size=1), hours),
        st.tuples(days, days, hours).map(lambda one: Dates(min(one[:2]), max(one[:2]), one[2])),
        st.builds(Holidays, st.frozensets(st.sampled_from(["x", "y"])), hours),
    )
    periods = draw(st.lists(st.builds(Period, names, when), max_size=8))
    day = st.one_of(
        st.builds(Day, st.just(DayKind.HOLIDAY), name=st.sampled_from(["", "x", "y"])),
        st.builds(Day, st.just(DayKind.WORKDAY), st.integers(1, 7), st.sampled_from(["", "x"])),
    )
    calendar = draw(st.none() | st.dictionaries(days, day, max_size=5).map(lambda days: Calendar("", "c", days)))
    zone = draw(st.none() | st.sampled_from(ZONES))
    return ScheduleRules(zone, "c", tuple(periods)), calendar, draw(st.sampled_from(ZONES)), middle


@settings(deadline=None)
@given(worlds(), st.lists(st.integers(-4 * 86_400, 4 * 86_400), min_size=1, max_size=50), st.floats(0, 0.999))
def test_it_is_as_the_reference_says(
    world: tuple[ScheduleRules, Calendar | None, tzinfo, datetime], offsets: list[int], part: float
) -> None:
    rules, calendar, zone, middle = world
    for offset in offsets:
        now = middle.timestamp() + offset + part
        assert period_at(rules, calendar, zone, now) == reference(rules, calendar, zone, now)


@settings(max_examples=15, deadline=None)
@given(worlds())
def test_every_minute_of_five_days_is_as_the_reference_says(
    world: tuple[ScheduleRules, Calendar | None, tzinfo, datetime],
) -> None:
    rules, calendar, zone, middle = world
    first = int(middle.timestamp()) - 2 * 86_400
    for now in range(first, first + 5 * 86_400, 60):
        assert period_at(rules, calendar, zone, now) == reference(rules, calendar, zone, now), f"at {now}"
