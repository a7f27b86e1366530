"""Calendars: holidays and make-up workdays, of the operator or of a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import schedules_pb2
from signalbox.provisioning import validate_schedules
from signalbox.provisioning.collection import Shared
from signalbox.provisioning.schedules import calendars_of
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class Calendars(Shared[schedules_pb2.Calendar]):
    """All calendars. One that a schedule uses cannot be deleted."""

    resource = "calendar"
    message = schedules_pb2.Calendar

    def _violations(self, rule: schedules_pb2.Calendar) -> Iterable[FieldViolation]:
        return validate_schedules.calendar(rule)

    async def _user_of(self, tenant: str, id: str) -> str:
        for entry in (await self._store.list(keys.schedule_index(tenant))).entries:
            if f"{self.resource}:{id}" not in entry.value.decode().split():
                continue
            schedule = keys.last_part(entry.key)
            # The index names what was used when it was written: some of it may be superseded by now.
            stored = await self._store.get(keys.schedule(tenant, schedule))
            if stored and id in calendars_of(codec.decode(schedules_pb2.Schedule, stored), self._clock()):
                return f"schedule {tenant}/{schedule}"
        return ""
