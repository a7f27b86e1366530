"""Deletes recordings: those that the operator wants deleted, and those whose time has come.

1. A note in the store has the record that the audit log is to get: nothing is deleted that cannot be recorded.
2. The recording is marked: nobody is given it any more. One that is held is not marked, and stays.
3. Its objects are deleted, those of all attempts to store it, which the object store must confirm.
4. The record goes into the audit log, in the commit that turns the note into one that this is done. So there is one
   record, and it means that the content is gone.
5. What is known of the recording is forgotten, and the note taken away.

Whoever dies on the way leaves the rest to the next sweep, of any replica. A note that nobody needs ends with its lease.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge

from signalbox.api.types.v1 import audit_pb2, recordings_pb2
from signalbox.catalog import names
from signalbox.errors import InUseError, NotFoundError, ObjectsUnavailableError, OnHoldError
from signalbox.provisioning.audit import outbox
from signalbox.provisioning.recordings import records
from signalbox.provisioning.recordings.retention import ClockDoubtfulError, RetentionClock, elapsed_s
from signalbox.provisioning.requestids import Leases
from signalbox.provisioning.sweeping import sweeping
from signalbox.provisioning.writer import repeat
from signalbox.store import keys
from signalbox.store.base import Compare, CompareFailedError, Delete, LeaseLostError, Put
from signalbox.store.envelope import delete_all

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from signalbox.catalog.catalog import Catalog, Found
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

logger = structlog.get_logger(__name__)

INTERVAL_S = 30.0
AT_ONCE = 100
"""Recordings that are looked up at once."""
ATTEMPTS = 5

UNDELETED_MAX = 1_000
"""A sweep ends with an error when so many could not be deleted."""

SWEEPS = Counter(
    "signalbox_provisioning_recording_sweeps_total",
    "Sweeps for recordings whose time is over, by result: done, incomplete, clock (refused: it is doubtful), failed.",
    ["result"],
)
UNDELETED = Gauge(
    "signalbox_provisioning_recordings_undeleted",
    "Recordings that the object store would not delete though their time is over, as of this replica's last sweep.",
)

_BEGUN_MS = 0
"""Due at this time is what is being deleted already."""
_NOTHING = f"{names.FOLDER}/nothing"
"""There is no such object, so an object store that works deletes it."""
_DONE = b"done"
"""Value of a note once the record is in the audit log."""


class Disposal:
    """Deletes recordings and their content."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        catalog: Callable[[], Catalog],
        clock: Clock,
        interval_s: float = INTERVAL_S,
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        self._store = store
        self._vault = vault
        self._catalog = catalog
        self._clock = clock
        self._retention = RetentionClock(clock, elapsed)
        self._leases = Leases(store)
        self._interval_s = interval_s
        self._undeleted: Set[str] = frozenset()

    async def run(self) -> None:
        """Long-lived coroutine."""
        await sweeping(self.sweep, self._interval_s, "recording_sweep_failed")

    async def sweep(self) -> int:
        """Delete all whose time has come, and finish what was begun; returns how many recordings that were.

        Raises ClockDoubtfulError, ObjectsUnavailableError, DatabaseUnavailableError and what the store raises.
        """
        result = "failed"
        try:
            try:
                now_ms = await self._retention.now_ms(self._catalog())
            except ClockDoubtfulError:
                result = "clock"
                await self._sweep(_BEGUN_MS)
                raise
            deleted = await self._sweep(now_ms)
            result = "incomplete" if self._undeleted else "done"
            return deleted
        finally:
            SWEEPS.labels(result).inc()

    async def _sweep(self, now_ms: int) -> int:
        """One that cannot be deleted holds up no other, unless it is the object store that is away."""
        deleted, seen, stayed = 0, set[str](), set[str]()
        # What was begun comes first, so those that stay are in the way of the others.
        while found := await self._catalog().due(now_ms, AT_ONCE + len(seen) - deleted):
            fresh = [one for one in found if one.recording.call_id not in seen]
            if not fresh:
                break
            for one in fresh:
                seen.add(one.recording.call_id)
                try:
                    deleted += await self._delete(one, "", "its time was over")
                except ObjectsUnavailableError as error:
                    await self._vault.delete(_NOTHING)
                    stayed.add(one.recording.call_id)
                    self._tell(one.recording, error)
                    if len(stayed) >= UNDELETED_MAX:
                        UNDELETED.set(len(stayed))
                        raise
        self._undeleted = stayed
        UNDELETED.set(len(stayed))
        return deleted

    def _tell(self, recording: recordings_pb2.Recording, error: ObjectsUnavailableError) -> None:
        """Once of each while it lasts."""
        if recording.call_id not in self._undeleted:
            logger.error("recording_undeletable", tenant=recording.tenant, call_id=recording.call_id, error=str(error))

    async def delete(self, principal: Principal, tenant: str, call_id: str) -> None:
        """Delete a recording by order: its content is gone when this returns.

        Raises NotFoundError, OnHoldError, InUseError, ObjectsUnavailableError, DatabaseUnavailableError and what the
        store raises.
        """
        for attempt in range(ATTEMPTS):
            found = await self._catalog().get(call_id, tenant, doomed=True)
            if found is None and attempt:
                # A sweep was faster.
                return
            if found is None:
                raise NotFoundError(records.RESOURCE, call_id)
            if found.recording.legal_hold:
                raise OnHoldError(call_id)
            if found.recording.state == recordings_pb2.RECORDING_STATE_PROMISED:
                raise InUseError(records.RESOURCE, call_id, "its call, or the media node that captured it")
            if await self._delete(found, records.actor(principal), "by order"):
                return
        raise InUseError(records.RESOURCE, call_id, "others who change it")

    async def _delete(self, found: Found, actor: str, why: str) -> bool:
        """Delete one, or finish that; says whether it is gone by this. One that is held, or another by now, stays."""
        recording, catalog = found.recording, self._catalog()
        key = keys.recording_deletion(recording.call_id)
        noted = await self._noted(key, records.changed(recording, None))
        if not await catalog.doom(found):
            if noted:
                with suppress(CompareFailedError):
                    await self._store.commit([Compare(key, noted)], [Delete(key)])
            return False
        await self._delete_objects(found)
        if not await self._record(key):
            return False
        gone = await catalog.forget(found, actor, why)
        if gone:
            await self._store.commit([], [Delete(key)])
            logger.info("recording_deleted", tenant=recording.tenant, call_id=recording.call_id, why=why)
        return gone

    async def _delete_objects(self, found: Found) -> None:
        """Those of all attempts: one that was killed, or overtaken, may have left what it had of the recording."""
        of_attempts = chain.from_iterable(names.left(found.recording, n + 1) for n in range(found.attempt))
        stored = (found.object, names.metadata(found.object)) if found.object else ()
        await delete_all(self._vault, dict.fromkeys((*stored, *of_attempts)))

    async def _noted(self, key: str, change: audit_pb2.AuditChange) -> int:
        """Note what the audit log is to get, unless that has been done; the revision of the note, 0: it was there.

        Raises AuditFullError.
        """

        async def attempt() -> int:
            if await self._store.get(key) is not None:
                return 0
            return await self._put(key, 0, outbox.origin().entry([change]).value)

        return await repeat(attempt)

    async def _record(self, key: str) -> bool:
        """Put what was noted into the audit log, unless that has been done. False: another one has come to the end."""

        async def attempt() -> bool:
            entry = await self._store.get(key)
            if entry is None or entry.value == _DONE:
                return entry is not None
            record = audit_pb2.AuditEntry.FromString(entry.value)
            record.origin.time.FromDatetime(self._clock())
            await self._put(key, entry.revision, _DONE, outbox.put(record))
            return True

        return await repeat(attempt)

    async def _put(self, key: str, revision: int, value: bytes, *more: Put) -> int:
        """Write a note in place of that of a revision, under a lease, with whatever goes with it."""
        try:
            note = Put(key, value, await self._leases.current())
            return await self._store.commit([Compare(key, revision)], [note, *more])
        except LeaseLostError:
            self._leases.lost()
            raise
