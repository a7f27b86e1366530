"""Schedules of tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import schedules_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation
from signalbox.provisioning import flow_references, references, validate_schedules
from signalbox.provisioning.versioned import Versioned, contents_in_use
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


def calendars_of(rule: schedules_pb2.Schedule, now: datetime) -> set[str]:
    """Ids of the calendars that a schedule needs from ``now`` on, its draft's too."""
    return {rules.calendar for rules in contents_in_use(rule, Schedules.content, now)} - {""}


class Schedules(Versioned[schedules_pb2.Schedule]):
    """All schedules. One that a flow uses cannot be deleted."""

    resource = "schedule"
    message = schedules_pb2.Schedule
    content = "rules"

    def _violations(self, rule: schedules_pb2.Schedule) -> Iterable[FieldViolation]:
        yield from validate_schedules.schedule(rule)
        yield from self._draft_violations(rule)

    def _content_violations(self, content: Any, path: str) -> Iterable[FieldViolation]:
        return validate_schedules.rules(content, path)

    async def _missing(self, rule: schedules_pb2.Schedule, content: Any, path: str) -> Iterable[FieldViolation]:
        if not content.calendar:
            return []
        # One after the other: reading the operator's makes the write depend on it.
        for owner in (rule.tenant, ""):
            if await self._store.get(keys.calendar(owner, content.calendar)) is not None:
                return []
        reason = f"neither tenant {rule.tenant} nor the operator has a calendar {content.calendar}"
        return [FieldViolation(f"{path}.calendar", reason)]

    def _index(self, rule: schedules_pb2.Schedule) -> Sequence[Put]:
        named = [("calendar", id) for id in calendars_of(rule, self._clock())]
        return [Put(keys.schedule_index(rule.tenant, rule.id), references.index(named))]

    async def _user(self, rule: schedules_pb2.Schedule) -> str:
        return await flow_references.user(self._store, Kind.SCHEDULE, rule.tenant, rule.id, self._clock())
