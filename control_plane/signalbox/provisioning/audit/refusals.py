"""Refused requests on their way into the log: told at once, and those like them once a minute, with their number.

Like each other are refusals of one actor, by one method, about one object; of somebody unknown those from one host. Who
tries many things in a minute has all beyond PLACES of them told together. So nobody can fill the log, whatever he
sends: an actor has at most PLACES + 1 records at once and as many more each minute. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import Counter

from signalbox.api.types.v1 import audit_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

PERIOD = timedelta(minutes=1)
PLACES = 20
"""So many methods and objects, or hosts, of an actor are told apart within a period."""
ACTORS = 500
"""So many actors are; further ones are only counted."""
BATCH = 100
"""Records that are written at once."""

REFUSED = Counter("signalbox_provisioning_refused_total", "Requests and rows refused for want of rights.", ["reason"])
UNRECORDED = Counter("signalbox_audit_refusals_unrecorded_total", "Refused requests that have no record: too many.")

_UNKNOWN = types_pb2.ErrorReason.Name(types_pb2.CREDENTIALS_REFUSED)
_Place = tuple[str, ...]


@dataclass
class _Series:
    """Refusals that are like each other. ``record`` is of those that are not written yet."""

    due: datetime
    record: audit_pb2.AuditRecord | None = None


class Refusals:
    """Those that are to be written."""

    def __init__(self) -> None:
        self._actors: dict[_Place, dict[_Place, _Series]] = {}
        self._unrecorded = 0

    def add(self, record: audit_pb2.AuditRecord, now: datetime) -> None:
        """Count a refusal. Its record is changed to what may be kept of it."""
        REFUSED.labels(record.refusal.reason).inc()
        actor, place = _place(record)
        if actor not in self._actors and len(self._actors) >= ACTORS:
            self._forget(now)
            if len(self._actors) >= ACTORS:
                self._unrecorded += 1
                UNRECORDED.inc()
                return
        all = self._actors.setdefault(actor, {})
        if place not in all and len(all) >= PLACES:
            place = ()
            for field in ("tenant", "id"):
                record.refusal.ClearField(field)
            record.ClearField("method")
        series = all.setdefault(place, _Series(now))
        if series.record is None:
            series.record = record
            record.refusal.unrecorded, self._unrecorded = self._unrecorded, 0
        refusal = series.record.refusal
        refusal.times += 1
        if refusal.times > 1:
            refusal.last_time.FromDatetime(now)

    def take(self, now: datetime, *, early: bool = False) -> Sequence[audit_pb2.AuditRecord]:
        """Some records whose time has come, to be written; with ``early`` also those whose time has not."""
        self._forget(now)
        taken: list[audit_pb2.AuditRecord] = []
        for series in (one for all in self._actors.values() for one in all.values()):
            if series.record is not None and (early or series.due <= now) and len(taken) < BATCH:
                taken.append(series.record)
                series.record, series.due = None, now + PERIOD
        return taken

    def _forget(self, now: datetime) -> None:
        """Who has not been refused for a period is as new."""
        for actor, all in list(self._actors.items()):
            for place, series in list(all.items()):
                if series.record is None and series.due <= now:
                    del all[place]
            if not all:
                del self._actors[actor]


def _place(record: audit_pb2.AuditRecord) -> tuple[_Place, _Place]:
    """Whose refusal it is, and where."""
    actor, refusal = record.actor, record.refusal
    if refusal.reason == _UNKNOWN:
        # What it asked about is any text that somebody unknown has made up.
        for field in ("tenant", "id"):
            refusal.ClearField(field)
        record.ClearField("request_id")
        return ("",), (record.method, actor.peer.rpartition(":")[0])
    return (actor.name, actor.tenant), (record.method, refusal.tenant, refusal.id)
