"""Calendars and schedules written in steps of their own, and examples of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import schedules_pb2, types_pb2
from signalbox.provisioning.calendars import Calendars
from signalbox.provisioning.draft import Transactions
from signalbox.provisioning.schedules import Schedules
from signalbox.store import codec, keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.store.base import Store

HOLIDAY, WORKDAY = schedules_pb2.DAY_KIND_HOLIDAY, schedules_pb2.DAY_KIND_WORKDAY
WEEK = schedules_pb2.Weekday.values()[1:]


def day(date: str = "2026-10-01", kind: Any = HOLIDAY, **fields: Any) -> schedules_pb2.CalendarDay:
    """A day of a calendar."""
    return schedules_pb2.CalendarDay(date=date, kind=kind, **fields)


def calendar(id: str = "cn", tenant: str = "", *days: schedules_pb2.CalendarDay) -> schedules_pb2.Calendar:
    """A calendar, by default the operator's with one holiday."""
    return schedules_pb2.Calendar(tenant=tenant, id=id, days=days or [day()])


def weekly(name: str, *days: Any, start: str = "09:00", end: str = "18:00") -> schedules_pb2.Period:
    """Weekly hours, by default on every day."""
    hours = schedules_pb2.WeeklyHours(days=days or WEEK, start_time=start, end_time=end)
    return schedules_pb2.Period(name=name, weekly=hours)


def rules(*periods: schedules_pb2.Period, calendar: str = "", time_zone: str = "") -> schedules_pb2.ScheduleRules:
    """Rules of a schedule, by default with period "open"."""
    return schedules_pb2.ScheduleRules(time_zone=time_zone, calendar=calendar, periods=periods or [weekly("open")])


def schedule(id: str = "hours", tenant: str = "acme", **fields: Any) -> schedules_pb2.Schedule:
    """A schedule with a draft."""
    return schedules_pb2.Schedule(**{"tenant": tenant, "id": id, "draft": rules(), **fields})


async def create_tenant(store: Store, id: str = "acme") -> None:
    """Put a tenant there."""
    await store.commit([], [Put(keys.tenant(id), codec.encode(types_pb2.Tenant(id=id)))])


def moment(time: datetime) -> Any:
    """A time as messages have it."""
    stamp = schedules_pb2.ScheduleRevision()
    stamp.activate_time.FromDatetime(time)
    return stamp.activate_time


class World:
    """Every method of both collections, each a step of its own."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.store = store
        self._clock = clock
        self._steps = Transactions(store)

    async def step(self, kind: type[Any], method: str, *arguments: Any) -> Any:
        """Call a method of a collection; what it writes is committed at once."""
        result, revision = await self._steps.run(
            lambda draft: getattr(kind(draft, draft, self._clock), method)(*arguments)
        )
        if revision and result is not None:
            result.etag = str(revision)
        return result

    async def calendar(self, method: str, *arguments: Any) -> Any:
        """Call a method of Calendars."""
        return await self.step(Calendars, method, *arguments)

    async def schedule(self, method: str, *arguments: Any) -> Any:
        """Call a method of Schedules."""
        return await self.step(Schedules, method, *arguments)

    async def activate(self, time: datetime | None = None, etag: str = "") -> schedules_pb2.Schedule:
        """Activate acme/hours."""
        request = pb.ActivateScheduleRequest(tenant="acme", id="hours", etag=etag)
        if time is not None:
            request.activate_time.FromDatetime(time)
        result: schedules_pb2.Schedule = await self.schedule("activate", request)
        return result

    async def rollback(self, revision: int, etag: str = "") -> schedules_pb2.Schedule:
        """Roll acme/hours back."""
        request = pb.RollbackScheduleRequest(tenant="acme", id="hours", revision=revision, etag=etag)
        result: schedules_pb2.Schedule = await self.schedule("rollback", request)
        return result

    async def edit(self, draft: schedules_pb2.ScheduleRules, etag: str = "") -> schedules_pb2.Schedule:
        """Replace the draft of acme/hours."""
        result: schedules_pb2.Schedule = await self.schedule(
            "update",
            schedule(draft=draft, etag=etag),
            pb.UpdateScheduleRequest(update_mask={"paths": ["draft"]}).update_mask,
        )
        return result
