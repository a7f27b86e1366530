"""Which recordings there are, in SQLite or PostgreSQL. All methods raise DatabaseUnavailableError.

A recording is *promised*, then *stored* or *missing*; what is missing may be stored after all, and what is stored be
replaced if more was captured of the call. Only the latest attempt stores. Nothing turns back, also when it is told
again: of a recording that was deleted a mark stays for ``MARK_DAYS``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.api.types.v1 import recordings_pb2
from signalbox.api.types.v1.recordings_pb2 import Recording, RecordingEvent
from signalbox.catalog import captures, rows, search
from signalbox.catalog.captures import Fit
from signalbox.catalog.database import Database
from signalbox.catalog.rows import Found, Position, Query
from signalbox.catalog.tables import DELETED, MISSING, PROMISED, STORED, events, recordings
from signalbox.errors import EtagMismatchError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from signalbox.api.recording.v1.recording_pb2 import Capture, Promise
    from signalbox.settings.shared import DatabaseSettings

__all__ = ["Begun", "Catalog", "Found", "Position", "Query"]

MARK_DAYS = 30
"""How long it is known that a recording was deleted: who tells of the call again hears that nothing is left to do."""
DAY_MS = 86_400_000
MARKS_AT_ONCE = 10_000
"""So many marks are removed at once."""

EVENTS_LOCK = 0x5349_474E_0002
"""Advisory lock of PostgreSQL under which events are numbered and committed."""

_c = recordings.c
_UNSTORED = sa.and_(_c.state.in_((PROMISED, MISSING)), sa.not_(_c.deleting))
_THERE = sa.and_(_c.state != DELETED, sa.not_(_c.deleting))
_UNHELD = sa.not_(_c.legal_hold)


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt to store a recording: its number, 1 and up."""

    attempt: int
    stored: Recording | None
    """Not None: there is nothing to store. Of one that was deleted only the call id is known."""
    object: str = ""
    """The audio that is stored now, also if it is to be replaced."""
    tidied: int = 0
    """Attempts up to this one have left nothing."""
    severed: bool = False
    """More was captured than is stored, and what that was made of is gone: the capture is not to be confirmed."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Catalog:
    """The recordings of all tenants."""

    def __init__(self, database: Database, now_ms: Callable[[], int] = _now_ms) -> None:
        self.database = database
        self._now_ms = now_ms
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    @classmethod
    async def open(cls, settings: DatabaseSettings) -> Catalog:
        """The database of the settings; its tables are made or brought up to date. Raises ConfigurationError."""
        return cls(await Database.open(settings))

    async def close(self) -> None:
        """Close the connections."""
        await self.database.close()

    async def ping(self) -> None:
        """Ask the database whether it is there."""
        async with self.database.reading() as connection:
            await connection.execute(sa.select(1))

    # --- Recorders ---------------------------------------------------------------------------------------------------

    async def promise(self, promises: Sequence[Promise]) -> None:
        """Take promises in. One that is known, whatever became of it, is left as it is. Raises InvalidFieldError."""
        for index, one in enumerate(promises):
            rows.check(one.facts, one.sequence, f"promises[{index}].facts")
        if not promises:
            return
        # In one order for all, or two that tell the same promises at once wait for each other.
        ordered = sorted(promises, key=lambda one: one.facts.call_id)
        async with self.database.writing() as connection:
            await connection.execute(
                self._insert(recordings).on_conflict_do_nothing(index_elements=[_c.call_id]),
                [rows.promised(one.facts, one.proxy, one.sequence) for one in ordered],
            )

    async def facts(self, call_id: str) -> CallFacts | None:
        """The facts of a call as they were promised."""
        async with self.database.reading() as connection:
            found = await connection.scalar(
                sa.select(_c.facts).where(_c.call_id == rows.text(call_id), _c.state != DELETED)
            )
        return None if found is None else CallFacts.FromString(found)

    async def begin(self, facts: CallFacts, capture: Capture | None = None) -> Begun:
        """The next attempt to store a call's recording, which need not have been promised. Raises InvalidFieldError.

        Of one that is stored there is another attempt if ``capture`` has all that it was made of, and more.
        """
        rows.check(facts)
        async with self.database.writing() as connection:
            await connection.execute(
                self._insert(recordings)
                .values(rows.promised(facts))
                .on_conflict_do_nothing(index_elements=[_c.call_id])
            )
            row = (await connection.execute(search.begun(facts.call_id))).one()
            stored = row.state == STORED and not row.deleting
            fit = captures.compare(row.capture, capture) if stored and capture is not None else Fit.COVERED
            if fit is Fit.GROWN or (row.state in (PROMISED, MISSING) and not row.deleting):
                attempt = row.attempt + 1
                await connection.execute(
                    sa.update(recordings).where(_c.call_id == facts.call_id).values(attempt=attempt)
                )
                return Begun(attempt, None, row.object, row.tidied)
        known = Recording(call_id=row.call_id) if row.state == DELETED else rows.recording(row)
        return Begun(row.attempt, known, row.object, row.tidied, fit is Fit.SEVERED)

    async def tidied(self, call_id: str, attempt: int) -> None:
        """Attempts up to this one have left nothing in the object store."""
        async with self.database.writing() as connection:
            await connection.execute(
                sa.update(recordings)
                .where(_c.call_id == call_id, _c.tidied < attempt, _c.attempt >= attempt)
                .values(tidied=attempt)
            )

    async def finish(self, recording: Recording, attempt: int, object: str, capture: Capture | None = None) -> bool:
        """The recording is in the object store, its audio under this name. The latest attempt may say so again.

        ``capture``: what it was made of. False: there is a later attempt, or the recording was stored or deleted.
        """
        stored = Recording()
        stored.CopyFrom(recording)
        stored.state = recordings_pb2.RECORDING_STATE_STORED
        values = {**rows.changed(stored), "object": object, "kept": attempt, "version": _c.version + 1}
        values["capture"] = captures.summary(capture) if capture is not None else None
        mine = sa.and_(_c.call_id == recording.call_id, _c.attempt == attempt)
        open_ = sa.or_(_UNSTORED, sa.and_(_c.state == STORED, _c.kept < attempt, sa.not_(_c.deleting)))
        async with self.database.writing() as connection:
            changed = await connection.execute(sa.update(recordings).where(mine, open_).values(values))
            if not changed.rowcount:
                again = sa.select(_c.call_id).where(mine, _c.state == STORED, _c.object == object)
                return await connection.scalar(again) is not None
            kind = recordings_pb2.RECORDING_EVENT_KIND_STORED
            await self.append(connection, kind, stored.tenant, stored.call_id, "", ", ".join(stored.reasons))
        return True

    async def flaw(self, call_id: str, reason: str) -> bool:
        """Something of a call is not in its recording, which is stored. False: it is not stored, or that is known."""
        async with self.database.writing() as connection:
            asked = search.whole().where(_c.call_id == call_id, _c.state == STORED, sa.not_(_c.deleting))
            row = (await connection.execute(asked.with_for_update())).one_or_none()
            if row is None:
                return False
            recording = Recording.FromString(row.recording)
            if reason in recording.reasons:
                return False
            recording.partial = True
            recording.reasons.append(reason)
            values = {**rows.changed(recording), "version": _c.version + 1}
            await connection.execute(sa.update(recordings).where(_c.call_id == call_id).values(values))
            kind = recordings_pb2.RECORDING_EVENT_KIND_STORED
            await self.append(connection, kind, row.tenant, call_id, "", ", ".join(recording.reasons))
        return True

    async def missing(self, call_id: str, reasons: Sequence[str], expire_ms: int | None = None) -> bool:
        """Nothing was captured of a call, or it is lost. ``expire_ms``: when the row is deleted; None: never.

        False: it is not promised, or not any more.
        """
        async with self.database.writing() as connection:
            asked = search.whole().where(_c.call_id == call_id, _c.state == PROMISED, sa.not_(_c.deleting))
            row = (await connection.execute(asked.with_for_update())).one_or_none()
            if row is None:
                return False
            recording = Recording.FromString(row.recording)
            recording.state = recordings_pb2.RECORDING_STATE_MISSING
            recording.reasons[:] = reasons
            if expire_ms is not None:
                recording.expire_time.FromMilliseconds(expire_ms)
            values = {**rows.changed(recording), "version": _c.version + 1}
            await connection.execute(sa.update(recordings).where(_c.call_id == call_id).values(values))
            kind = recordings_pb2.RECORDING_EVENT_KIND_MISSING
            await self.append(connection, kind, row.tenant, call_id, "", ", ".join(reasons))
        return True

    async def promised(self, node: int, before_ms: int, after: str, limit: int) -> list[str]:
        """Ids of calls answered before a time whose promise is open at a media node, in their order, after an id."""
        async with self.database.reading() as connection:
            return list(await connection.scalars(search.promised(node, before_ms, after, limit)))

    async def nodes(self) -> list[int]:
        """Media nodes that promises are open at."""
        async with self.database.reading() as connection:
            return list(await connection.scalars(search.nodes()))

    # --- Provisioning ------------------------------------------------------------------------------------------------

    async def find(self, query: Query, limit: int, after: Position | None) -> list[Recording]:
        """Recordings, the latest answer first, of one moment by call id, that follow a position."""
        async with self.database.reading() as connection:
            return [rows.recording(row) for row in await connection.execute(search.find(query, limit, after))]

    async def get(self, call_id: str, tenant: str = "", *, doomed: bool = False) -> Found | None:
        """The recording of a call; None if it is unknown, another tenant's, or being deleted and not ``doomed``."""
        asked = search.whole().where(_c.call_id == rows.text(call_id), _c.state != DELETED if doomed else _THERE)
        if tenant:
            asked = asked.where(_c.tenant == rows.text(tenant))
        async with self.database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else rows.found(row)

    async def hold(self, found: Found, hold: bool, actor: str) -> Recording:
        """Set or lift the legal hold. Raises EtagMismatchError if the version is another one, NotFoundError."""
        call_id = found.recording.call_id
        async with self.database.writing() as connection:
            asked = search.whole().where(_c.call_id == call_id, _THERE)
            row = (await connection.execute(asked.with_for_update())).one_or_none()
            if row is None:
                raise NotFoundError("recording", call_id)
            if row.version != found.version:
                raise EtagMismatchError("recording", call_id, str(found.version), str(row.version))
            recording = rows.recording(row)
            if row.legal_hold == hold:
                return recording
            version = row.version + 1
            await connection.execute(
                sa.update(recordings).where(_c.call_id == call_id).values(legal_hold=hold, version=version)
            )
            kind = recordings_pb2.RECORDING_EVENT_KIND_HOLD_CHANGED
            await self.append(connection, kind, row.tenant, call_id, actor, "set" if hold else "lifted")
        recording.legal_hold, recording.etag = hold, str(version)
        return recording

    async def due(self, now_ms: int, limit: int) -> list[Found]:
        """Recordings to be deleted: first those whose deletion has begun, then those whose time is over."""
        async with self.database.writing() as connection:
            await connection.execute(search.forget_marks(now_ms, MARKS_AT_ONCE))
            return [rows.found(row) for row in await connection.execute(search.due(now_ms, limit))]

    async def doom(self, found: Found) -> bool:
        """Begin to delete a recording: nobody is given it any more. Its version stays. Once begun it is to be ended.

        False: it is held, not that version any more, or still promised.
        """
        async with self.database.writing() as connection:
            changed = await connection.execute(
                sa.update(recordings)
                .where(*self._deletable(found), _c.state.in_((STORED, MISSING)))
                .values(deleting=True, expire_ms=0)
            )
        return bool(changed.rowcount)

    async def forget(self, found: Found, actor: str, detail: str) -> bool:
        """The objects are gone: delete the row, all but the mark. False: it is held, or another version.

        The mark has the number of attempts: one that is at it still may leave something yet.
        """
        values: dict[str, Any] = {
            **rows.promised(CallFacts(call_id=found.recording.call_id)),
            "state": DELETED,
            "recording": b"",
            "facts": b"",
            "capture": None,
            "expire_ms": self._now_ms() + MARK_DAYS * DAY_MS,
        }
        del values["attempt"]
        async with self.database.writing() as connection:
            changed = await connection.execute(
                sa.update(recordings).where(*self._deletable(found), _c.state != DELETED).values(values)
            )
            if not changed.rowcount:
                return False
            kind = recordings_pb2.RECORDING_EVENT_KIND_DELETED
            await self.append(connection, kind, found.recording.tenant, found.recording.call_id, actor, detail)
        return True

    async def event(
        self, kind: recordings_pb2.RecordingEventKind.ValueType, tenant: str, call_id: str, actor: str, detail: str
    ) -> None:
        """Note what happened to a recording."""
        async with self.database.writing() as connection:
            await self.append(connection, kind, tenant, call_id, actor, detail)

    async def events(self, tenant: str, call_id: str, after: int, limit: int) -> list[RecordingEvent]:
        """Events after a sequence, the oldest first; none with a lower sequence comes later. Empty: of all."""
        async with self.database.reading() as connection:
            found = await connection.execute(search.events_after(tenant, call_id, after, limit))
            return [rows.event(row) for row in found]

    # --- Both --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _deletable(found: Found) -> tuple[sa.ColumnElement[bool], ...]:
        return _c.call_id == found.recording.call_id, _c.version == found.version, _UNHELD

    async def append(
        self,
        connection: AsyncConnection,
        kind: recordings_pb2.RecordingEventKind.ValueType,
        tenant: str,
        call_id: str,
        actor: str,
        detail: str,
    ) -> None:
        """Add an event; the last thing that a transaction does.

        Sequences are committed in their order, so that who reads on from the last one misses none. SQLite has one
        writer anyway; in PostgreSQL the lock is held until the commit is done.
        """
        if not self.database.is_sqlite:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(EVENTS_LOCK)))
        await connection.execute(
            sa.insert(events).values(
                time_ms=self._now_ms(),
                tenant=rows.text(tenant),
                call_id=rows.text(call_id),
                kind=kind,
                actor=rows.text(actor),
                detail=rows.text(detail),
            )
        )
