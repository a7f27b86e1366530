"""docs/rules/schedules.md: its objects are written and activated, and its tables are what calls obey."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.protobuf import json_format
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import schedules_pb2, types_pb2
from signalbox.commands import documents
from signalbox.domain.schedules import Calendar, period_at
from signalbox.provisioning import validate_schedules
from signalbox.provisioning.calendars import Calendars
from signalbox.provisioning.schedules import Schedules
from signalbox.routing import convert_schedules
from signalbox.store.memory import MemoryStore
from support.schedules import World, create_tenant

if TYPE_CHECKING:
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "rules" / "schedules.md"
TEXT = PAGE.read_text()
SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")


def blocks(kind: str) -> list[str]:
    """The bodies of the page's blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def rows(header: str) -> list[list[str]]:
    """The rows of all tables with a header, cell by cell."""
    found = re.findall(rf"^\| {header} \|\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for table in found for line in table.splitlines()]


def objects() -> list[dict[str, Any]]:
    return documents.read(io.StringIO("---\n".join(blocks("yaml"))))


def the_calendar() -> schedules_pb2.Calendar:
    fields = {name: value for name, value in objects()[0].items() if name != "kind"}
    return json_format.ParseDict(fields, schedules_pb2.Calendar())


async def period(store: MemoryStore, id: str, now: datetime) -> str:
    """The period of a schedule of the page; its revision in force counts."""
    world = World(store)
    schedule = convert_schedules.schedule(await world.schedule("get", schedules_pb2.Schedule(tenant="acme", id=id)))
    rules = schedule.revisions[-1][1]
    calendar: Calendar | None = None
    if rules.calendar:
        stored = await world.calendar("get", schedules_pb2.Calendar(id=rules.calendar))
        calendar = convert_schedules.calendar(stored)
    return period_at(rules, calendar, SHANGHAI, now.timestamp())


@pytest.fixture
async def store() -> MemoryStore:
    """Everything that is on the page."""
    store = MemoryStore()
    await create_tenant(store)
    world = World(store)
    for fields in objects():
        kind = {"Calendar": Calendars, "Schedule": Schedules}[fields.pop("kind")]
        rule: Any = json_format.ParseDict(fields, kind.message())
        await world.step(kind, "create", rule)
        if kind is Schedules:
            await world.schedule("activate", pb.ActivateScheduleRequest(tenant=rule.tenant, id=rule.id))
    return store


async def test_the_tables_are_what_calls_obey(store: MemoryStore) -> None:
    table = rows(r"at \| period \| because")
    assert len(table) > 15
    for at, expected, _ in table:
        weekday, _, shown = at.partition(" ")
        now = datetime.fromisoformat(shown).replace(tzinfo=SHANGHAI)
        assert f"{now:%a}" == weekday, at
        assert await period(store, "hours", now) == expected, at


async def test_the_table_of_changed_clocks_is_what_calls_obey(store: MemoryStore) -> None:
    table = rows(r"UTC \| in Berlin \| period")
    assert len(table) > 5
    for at, shown, expected in table:
        now = datetime.fromisoformat(at).replace(tzinfo=UTC)
        assert f"{now.astimezone(BERLIN):%H:%M}" == shown, at
        assert await period(store, "berlin", now) == expected, at


def test_the_calendar_is_as_announced() -> None:
    days = the_calendar().days
    holidays = Counter(day.name for day in days if day.kind == schedules_pb2.DAY_KIND_HOLIDAY)
    assert holidays == {"元旦": 3, "春节": 9, "清明节": 3, "劳动节": 5, "端午节": 3, "中秋节": 3, "国庆节": 7}
    workdays = [date.fromisoformat(day.date) for day in days if day.kind == schedules_pb2.DAY_KIND_WORKDAY]
    assert [f"{day:%m-%d %a}" for day in workdays] == [
        "01-04 Sun",
        "02-14 Sat",
        "02-28 Sat",
        "05-09 Sat",
        "09-20 Sun",
        "10-10 Sat",
    ]


def test_what_is_refused_is_what_is_said() -> None:
    [given], [told] = blocks("yaml refused"), blocks("text")
    rules = json_format.ParseDict(documents.read(io.StringIO(given))[0], schedules_pb2.ScheduleRules())
    found = [f"{one.field}: {one.reason}" for one in validate_schedules.rules(rules, "schedule.draft")]
    assert "\n".join(found) + "\n" == told


def test_the_example_prints_what_it_says(service: Service) -> None:
    [example] = blocks("python")
    printed = io.StringIO()
    with grpc.insecure_channel(service.address) as channel, contextlib.redirect_stdout(printed):
        api = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        exec(compile(example, str(PAGE), "exec"), {"channel": channel})
    assert printed.getvalue().splitlines() == re.findall(r"^# prints (.*)$", example, re.MULTILINE)
