"""Calls go where the time says, and a schedule's revisions come in force and go."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.json_format import MessageToDict
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1.schedules_pb2 import Period
from support.company import dial
from support.schedules import WEEK, moment, rules, weekly

ZONE = ZoneInfo("Asia/Shanghai")
"""Of the tenants."""
ALWAYS = weekly("open", start="00:00", end="24:00")
LINES = ("desk", "holiday", "machine")


def days_around() -> list[str]:
    """Yesterday, today and tomorrow: whatever midnight passes during the test, it is one of these days."""
    now = datetime.now(ZONE)
    return [(now + timedelta(days=n)).date().isoformat() for n in (-1, 0, 1)]


def another_weekday() -> int:
    """A day of the week that none of these days is."""
    return WEEK[(datetime.now(ZONE).weekday() + 3) % 7]


def dated(first, last):
    """Period "holiday" by dates."""
    return Period(name="holiday", dates={"first_date": first, "last_date": last})


@pytest.fixture
async def shop(company):
    """Rings the desk in period "open", another line in period "holiday", else a machine. Returns what writes its rules
    and puts them in force, and the number."""
    await company.lines(*LINES)

    def obey(*periods, **fields):
        company.put("schedule", id="hours", draft=MessageToDict(rules(*periods, **fields)))

    obey(ALWAYS, dated("2000-01-01", "2000-01-01"))
    branches = [{"period": "open", "next": "desk"}, {"period": "holiday", "next": "holiday"}]
    hours = {"schedule": {"schedule": "hours", "branches": branches, "otherwise": "machine"}}
    company.flow("hours", hours=hours, **{line: dial(line) for line in LINES})
    return obey, company.number(flow="main")


def day_of(date, kind, **fields):
    """A day of a calendar."""
    return {"date": date, "kind": f"DAY_KIND_{kind}", **fields}


async def test_open_and_closed(company, shop):
    obey, number = shop
    assert await company.line_of(number) == "desk"
    obey(weekly("open", another_weekday(), start="00:00", end="24:00"))
    assert await company.line_of(number) == "machine"
    assert await company.line_of(number, proxy=2) == "machine"


async def test_a_holiday_and_its_hours(company, shop):
    obey, number = shop
    company.put("calendar", id="year", days=[])
    obey(ALWAYS, calendar="year")
    assert await company.line_of(number) == "desk"
    company.put("calendar", id="year", days=[day_of(date, "HOLIDAY", name="春节") for date in days_around()])
    assert await company.line_of(number) == "machine"
    holidays = Period(name="holiday", holidays={"names": ["春节"]})
    obey(ALWAYS, holidays, calendar="year")
    assert await company.line_of(number) == "holiday"


async def test_a_make_up_workday_is_as_the_day_that_it_stands_for(company, shop):
    obey, number = shop
    weekday = another_weekday()
    company.put("calendar", id="year", days=[])
    obey(weekly("open", weekday, start="00:00", end="24:00"), calendar="year")
    assert await company.line_of(number) == "machine"
    company.put("calendar", id="year", days=[day_of(date, "WORKDAY", works_as=weekday) for date in days_around()])
    assert await company.line_of(number) == "desk"


async def test_dates_go_before_the_week(company, shop):
    obey, number = shop
    first, _, last = days_around()
    obey(ALWAYS, dated(first, last))
    assert await company.line_of(number) == "holiday"


async def test_a_draft_is_obeyed_when_it_is_activated_and_a_rollback_brings_the_old_rules_back(company, shop):
    _, number = shop
    closed = {"tenant": company.id, "id": "hours", "draft": rules(weekly("open", another_weekday()))}
    edited = company.api.UpdateSchedule(pb.UpdateScheduleRequest(schedule=closed, update_mask={"paths": ["draft"]}))
    company.wrote(edited.etag)
    assert await company.line_of(number) == "desk"
    company.wrote(company.api.ActivateSchedule(pb.ActivateScheduleRequest(tenant=company.id, id="hours")).etag)
    assert await company.line_of(number) == "machine"
    back = pb.RollbackScheduleRequest(tenant=company.id, id="hours", revision=1)
    company.wrote(company.api.RollbackSchedule(back).etag)
    assert await company.line_of(number) == "desk"


async def test_a_flow_is_obeyed_when_it_is_activated_and_a_rollback_brings_the_old_one_back(company):
    await company.lines("old", "new")
    company.flow("old", old=dial("old"))
    number = company.number(flow="main")
    company.sync()
    draft = {"entry": "new", "nodes": [{"id": "new", "dial": {"lines": [{"line": "new"}]}}]}
    flow = {"tenant": company.id, "id": "main", "draft": draft}
    company.wrote(company.api.UpdateFlow(pb.UpdateFlowRequest(flow=flow, update_mask={"paths": ["draft"]})).etag)
    assert await company.line_of(number) == "old"
    company.wrote(company.api.ActivateFlow(pb.ActivateFlowRequest(tenant=company.id, id="main")).etag)
    assert await company.line_of(number) == "new"
    back = pb.RollbackFlowRequest(tenant=company.id, id="main", revision=1)
    company.wrote(company.api.RollbackFlow(back).etag)
    assert await company.line_of(number) == "old"


async def test_a_set_time_comes_in_force_by_itself(company, shop):
    _, number = shop
    company.sync()
    closed = {"tenant": company.id, "id": "hours", "draft": rules(weekly("open", another_weekday()))}
    company.api.UpdateSchedule(pb.UpdateScheduleRequest(schedule=closed, update_mask={"paths": ["draft"]}))
    change = datetime.now(UTC) + timedelta(seconds=3)
    later = pb.ActivateScheduleRequest(tenant=company.id, id="hours", activate_time=moment(change))
    company.wrote(company.api.ActivateSchedule(later).etag)
    company.sync()
    seen = {"desk": 0, "machine": 0}
    while not seen["machine"]:
        begun = time.time()
        line = await company.line_of(number, proxy=1 + sum(seen.values()) % 2)
        assert (line == "desk" and begun < change.timestamp()) or (
            line == "machine" and time.time() >= change.timestamp()
        )
        seen[line] += 1
        await asyncio.sleep(0.05)
    assert seen["desk"]
