"""Schedules: the edges one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from signalbox.domain.schedules import (
    DATES_REMEMBERED,
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
    describe,
    parse_date,
    parse_time,
    period_at,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = frozenset({1, 2, 3, 4, 5})
EVERY_DAY = frozenset(range(1, 8))

# The edges ----------------------------------------------------------------------------------------------------------


def weekly(name: str, days: frozenset[int], start: str, end: str) -> Period:
    return Period(name, Weekly(days, Hours(parse_time(start), parse_time(end, end=True))))


def rules(*periods: Period, zone: tzinfo | None = None) -> ScheduleRules:
    return ScheduleRules(zone, "cn", periods)


def holiday(name: str = "") -> Day:
    return Day(DayKind.HOLIDAY, name=name)


def workday(works_as: int = 1) -> Day:
    return Day(DayKind.WORKDAY, works_as)


def at(
    rules: ScheduleRules, text: str, calendar: dict[str, Day] | None = None, zone: tzinfo = SHANGHAI, fold: int = 0
) -> str:
    """The period when the clocks of the zone show this."""
    days = {date.fromisoformat(day): what for day, what in (calendar or {}).items()}
    own = rules.zone or zone
    now = datetime.fromisoformat(text).replace(tzinfo=own, fold=fold).timestamp()
    return period_at(rules, Calendar("", "cn", days), zone, now)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-09-21T08:59:59.999999", ""),
        ("2026-09-21T09:00", "open"),
        ("2026-09-21T17:59:59.999999", "open"),
        ("2026-09-21T18:00", ""),
        ("2026-09-26T12:00", ""),
    ],
)
def test_weekly_hours(time: str, expected: str) -> None:
    assert at(rules(weekly("open", WORKDAYS, "09:00", "18:00")), time) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-09-25T21:59", ""),
        ("2026-09-25T22:00", "night"),
        ("2026-09-25T23:59:59", "night"),
        ("2026-09-26T00:00", "night"),  # Saturday, but the night began on Friday
        ("2026-09-26T05:59", "night"),
        ("2026-09-26T06:00", ""),
        ("2026-09-26T22:00", ""),
        ("2026-09-28T03:00", ""),  # Monday: the night would have begun on Sunday
    ],
)
def test_hours_across_midnight_belong_to_the_day_they_began_on(time: str, expected: str) -> None:
    assert at(rules(weekly("night", WORKDAYS, "22:00", "06:00")), time) == expected


def test_the_end_of_the_day_and_the_beginning_of_the_next() -> None:
    for end in ("24:00", "00:00"):
        evening = rules(weekly("evening", frozenset({1}), "18:00", end))
        assert at(evening, "2026-09-21T23:59:59") == "evening"
        assert at(evening, "2026-09-22T00:00") == ""


def test_an_end_that_is_the_start_is_a_whole_day_later() -> None:
    shift = rules(weekly("shift", frozenset({1}), "08:00", "08:00"))
    assert at(shift, "2026-09-21T07:59") == ""
    assert at(shift, "2026-09-21T08:00") == at(shift, "2026-09-22T07:59") == "shift"
    assert at(shift, "2026-09-22T08:00") == ""


def test_dates_go_before_holidays_and_holidays_before_the_week() -> None:
    day = date(2026, 10, 1)
    all_kinds = rules(
        weekly("week", EVERY_DAY, "00:00", "24:00"),
        Period("holiday", Holidays(hours=Hours(0, 1200))),
        Period("moved", Dates(day, day, Hours(0, 600))),
    )
    calendar = {"2026-10-01": holiday()}
    assert at(all_kinds, "2026-10-01T09:59", calendar) == "moved"
    assert at(all_kinds, "2026-10-01T10:00", calendar) == "holiday"
    assert at(all_kinds, "2026-10-01T20:00", calendar) == ""  # no weekly hours begin on a holiday
    assert at(all_kinds, "2026-10-02T00:00", calendar) == "week"


def test_of_equals_the_first_counts() -> None:
    assert (
        at(
            rules(weekly("a", EVERY_DAY, "09:00", "12:00"), weekly("b", EVERY_DAY, "08:00", "18:00")),
            "2026-09-21T09:00",
        )
        == "a"
    )
    day = date(2026, 10, 1)
    assert at(rules(Period("a", Dates(day, day)), Period("b", Dates(day, day))), "2026-10-01T09:00") == "a"
    assert at(rules(Period("a", Holidays()), Period("b", Holidays())), "2026-10-01T09:00", {str(day): holiday()}) == "a"


def test_holidays_are_chosen_by_name() -> None:
    named = rules(Period("spring", Holidays(frozenset({"春节"}))), Period("other", Holidays()))
    calendar = {"2026-02-17": holiday("春节"), "2026-10-01": holiday("国庆节"), "2026-12-31": holiday()}
    assert at(named, "2026-02-17T12:00", calendar) == "spring"
    assert at(named, "2026-10-01T12:00", calendar) == at(named, "2026-12-31T12:00", calendar) == "other"
    assert at(named, "2026-10-02T12:00", calendar) == ""


def test_hours_that_began_on_the_day_before_a_holiday_go_on() -> None:
    night = weekly("night", WORKDAYS, "22:00", "06:00")
    calendar = {"2026-10-01": holiday("国庆节")}
    assert at(rules(night), "2026-10-01T05:59", calendar) == "night"
    assert at(rules(night), "2026-10-01T22:00", calendar) == ""
    assert at(rules(night), "2026-10-02T03:00", calendar) == ""  # the holiday had no night to go on
    # Unless a period with holidays says otherwise.
    closed = Period("closed", Holidays())
    assert at(rules(night, closed), "2026-10-01T05:59", calendar) == "closed"


def test_hours_that_began_on_a_holiday_go_on_into_the_next_day() -> None:
    party = Period("party", Holidays(hours=Hours(20 * 60, 2 * 60)))
    calendar = {"2026-10-01": holiday()}
    mixed = rules(weekly("week", EVERY_DAY, "00:00", "24:00"), party)
    assert at(mixed, "2026-10-01T01:00", calendar) == ""
    assert at(mixed, "2026-10-02T01:59", calendar) == "party"
    assert at(mixed, "2026-10-02T02:00", calendar) == "week"


def test_a_make_up_workday_has_the_hours_of_the_day_that_it_stands_for() -> None:
    office = rules(weekly("open", WORKDAYS, "09:00", "18:00"), weekly("weekend", frozenset({6, 7}), "10:00", "12:00"))
    assert at(office, "2026-09-26T11:00") == "weekend"
    assert at(office, "2026-09-26T11:00", {"2026-09-26": workday()}) == "open"
    assert at(office, "2026-09-26T11:00", {"2026-09-26": workday(7)}) == "weekend"
    friday = rules(weekly("friday", frozenset({5}), "20:00", "02:00"))
    assert at(friday, "2026-09-27T01:00", {"2026-09-26": workday(5)}) == "friday"
    assert at(friday, "2026-09-26T01:00", {"2026-09-26": workday(1)}) == "friday"  # began on the true Friday


def test_ranges_of_dates_have_both_ends() -> None:
    range_ = rules(Period("sale", Dates(date(2026, 11, 10), date(2026, 11, 11))))
    assert at(range_, "2026-11-09T23:59:59") == ""
    assert at(range_, "2026-11-10T00:00") == at(range_, "2026-11-11T23:59:59") == "sale"
    assert at(range_, "2026-11-12T00:00") == ""


def test_hours_of_the_last_date_go_on_past_midnight() -> None:
    night = rules(Period("sale", Dates(date(2026, 11, 11), date(2026, 11, 11), Hours(20 * 60, 4 * 60))))
    assert at(night, "2026-11-11T03:00") == ""
    assert at(night, "2026-11-12T03:59") == "sale"


def test_the_leap_day() -> None:
    leap = rules(
        Period("leap", Dates(date(2028, 2, 29), date(2028, 2, 29))), weekly("week", EVERY_DAY, "00:00", "24:00")
    )
    assert at(leap, "2028-02-28T23:59:59") == "week"
    assert at(leap, "2028-02-29T00:00") == at(leap, "2028-02-29T23:59:59") == "leap"
    assert at(leap, "2028-03-01T00:00") == "week"
    february = rules(Period("february", Dates(date(2027, 2, 1), date(2027, 2, 28), Hours(1320, 360))))
    assert at(february, "2027-03-01T05:59") == "february"


def test_minutes_that_the_clock_skips_do_not_occur() -> None:
    """Berlin, 29 March 2026: 01:59 is followed by 03:00."""
    before = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC).timestamp()
    across = rules(weekly("a", EVERY_DAY, "01:30", "02:30"), weekly("b", EVERY_DAY, "02:45", "03:15"))
    assert period_at(across, None, BERLIN, before) == "a"
    assert period_at(across, None, BERLIN, before + 1) == "b"
    inside = rules(weekly("a", EVERY_DAY, "02:10", "02:50"))
    assert {period_at(inside, None, BERLIN, before + minutes * 60) for minutes in range(-120, 180)} == {""}


def test_minutes_that_the_clock_repeats_hold_twice() -> None:
    """Berlin, 25 October 2026: 02:59 is followed by 02:00."""
    half = rules(weekly("half", EVERY_DAY, "02:00", "02:30"))
    shown = [at(half, f"2026-10-25T{time}", zone=BERLIN, fold=fold) for fold in (0, 1) for time in ("02:29", "02:30")]
    assert shown == ["half", "", "half", ""]
    night = rules(weekly("night", frozenset({6}), "22:00", "06:00"))
    began = datetime(2026, 10, 24, 20, tzinfo=UTC).timestamp()
    held = [period_at(night, None, BERLIN, began + minutes * 60) for minutes in range(-1, 9 * 60 + 1)]
    assert held == ["", *["night"] * (9 * 60), ""]  # nine hours by the sun, eight by the clock


def test_midnight_that_the_clock_skips() -> None:
    """Beirut, 29 March 2026: 23:59 is followed by 01:00."""
    day = rules(weekly("sunday", frozenset({7}), "00:00", "24:00"))
    before = datetime(2026, 3, 28, 21, 59, 59, tzinfo=UTC).timestamp()
    assert [period_at(day, None, ZoneInfo("Asia/Beirut"), now) for now in (before, before + 1)] == ["", "sunday"]


def test_the_schedule_s_own_zone_goes_before_the_tenant_s() -> None:
    now = datetime(2026, 9, 21, 1, 30, tzinfo=UTC).timestamp()
    assert period_at(rules(weekly("open", WORKDAYS, "09:00", "10:00")), None, SHANGHAI, now) == "open"
    assert period_at(rules(weekly("open", WORKDAYS, "09:00", "10:00"), zone=BERLIN), None, SHANGHAI, now) == ""


def test_without_a_calendar_there_are_no_holidays() -> None:
    both = rules(weekly("open", WORKDAYS, "09:00", "18:00"), Period("closed", Holidays()))
    now = datetime(2026, 10, 1, 2, tzinfo=UTC).timestamp()
    assert period_at(both, None, SHANGHAI, now) == "open"
    assert period_at(both, Calendar("", "cn", {date(2026, 10, 1): holiday()}), SHANGHAI, now) == "closed"


def test_another_calendar_is_obeyed_at_once() -> None:
    open_ = rules(weekly("open", WORKDAYS, "09:00", "18:00"))
    assert at(open_, "2026-10-01T10:00") == "open"
    assert at(open_, "2026-10-01T10:00", {"2026-10-01": holiday()}) == ""
    assert at(open_, "2026-10-01T10:00") == "open"


def test_few_dates_are_remembered() -> None:
    open_ = rules(weekly("open", WORKDAYS, "09:00", "18:00"))
    for day in range(1, 30):
        at(open_, f"2026-09-{day:02}T10:00")
    assert len(open_._dates) <= DATES_REMEMBERED


def test_rules_are_equal_whatever_they_were_asked() -> None:
    one, other = rules(weekly("open", WORKDAYS, "09:00", "18:00")), rules(weekly("open", WORKDAYS, "09:00", "18:00"))
    at(one, "2026-10-01T10:00")
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    "now", [-1e18, -62_135_596_800.0 - 86_400, 253_402_300_799.0 + 86_400, 1e18, float("nan"), float("inf")]
)
def test_beyond_the_calendar_nothing_holds(now: float) -> None:
    always = rules(weekly("always", EVERY_DAY, "00:00", "24:00"))
    assert period_at(always, None, SHANGHAI, now) == ""
    assert "beyond" in describe(always, None, SHANGHAI, now)


def test_the_first_and_the_last_day_of_the_calendar() -> None:
    always = rules(weekly("always", EVERY_DAY, "12:00", "12:00"))
    assert period_at(always, None, UTC, datetime(1, 1, 1, 11, tzinfo=UTC).timestamp()) == ""
    assert period_at(always, None, UTC, datetime(1, 1, 1, 13, tzinfo=UTC).timestamp()) == "always"
    assert period_at(always, None, UTC, datetime(9999, 12, 31, 23, tzinfo=UTC).timestamp()) == "always"


def test_a_schedule_obeys_the_revision_in_force() -> None:
    old, new = rules(weekly("old", EVERY_DAY, "00:00", "24:00")), rules(weekly("new", EVERY_DAY, "00:00", "24:00"))
    schedule = Schedule("acme", "hours", ((100.0, old), (200.0, new)))
    assert [schedule.rules_at(now) for now in (99.9, 100.0, 199.9, 200.0)] == [None, old, old, new]


def test_a_moment_is_described() -> None:
    open_ = rules()
    now = datetime(2026, 9, 30, 19, 12, tzinfo=UTC).timestamp()

    def told(**days: Day) -> str:
        return describe(open_, Calendar("", "cn", {date(2026, 10, 1): day for day in days.values()}), SHANGHAI, now)

    assert describe(open_, None, SHANGHAI, now) == told() == "Thursday 2026-10-01 03:12 Asia/Shanghai"
    assert told(day=holiday("国庆节")) == "Thursday 2026-10-01 03:12 Asia/Shanghai, holiday 国庆节"
    assert told(day=holiday()) == "Thursday 2026-10-01 03:12 Asia/Shanghai, holiday"
    assert told(day=workday(3)) == "Thursday 2026-10-01 03:12 Asia/Shanghai, make-up workday as Wednesday"


@pytest.mark.parametrize(
    "text", ["", "9:00", "24:00", "09:60", "09.00", "0900", "-1:00", "09:00:00", "٠٩:٠٠", " 09:00", "09:00\n"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="as 09:00"):
        parse_time(text)


def test_times_and_dates_are_parsed() -> None:
    assert [parse_time("00:00"), parse_time("23:59"), parse_time("24:00", end=True)] == [0, 1439, 1440]
    assert parse_date("2028-02-29") == date(2028, 2, 29)


@pytest.mark.parametrize(
    "text", ["", "2026-2-1", "20260201", "2026-02-01T00:00", "2026-W05-1", "２026-02-01", "2026-02-01\n"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        parse_date(text)


@pytest.mark.parametrize("text", ["2027-02-29", "2026-13-01", "2026-04-31", "0000-01-01"])
def test_a_day_that_never_is_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such day"):
        parse_date(text)
