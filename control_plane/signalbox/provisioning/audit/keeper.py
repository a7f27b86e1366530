"""Takes entries out of the outbox into the log, and answers questions from it. docs/design/audit.md says why so.

Every replica runs one: it writes down refusals and knows how much waits. The one whose log it is also ships.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from signalbox.api.types.v1 import audit_pb2
from signalbox.errors import AuditUnavailableError, SignalboxError, StoreUnavailableError
from signalbox.provisioning.audit import log as files
from signalbox.provisioning.audit import outbox, verify
from signalbox.provisioning.audit.chain import NO_HASH
from signalbox.provisioning.audit.index import IndexFailedError
from signalbox.provisioning.audit.log import AuditLog, LogDamagedError, LogLockedError, LogUnwritableError, Tail
from signalbox.store import keys
from signalbox.store.base import MAX_OPERATIONS, Compare, CompareFailedError, Delete, Put
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from signalbox.provisioning.audit.index import Query
    from signalbox.provisioning.audit.outbox import Outbox
    from signalbox.provisioning.audit.verify import Verdict
    from signalbox.settings import AuditSettings
    from signalbox.store.base import Entry, Store

logger = structlog.get_logger(__name__)

INTERVAL_S = 1.0
BATCH_BYTES = 1_000_000
READ_BYTES = 4_000_000
"""While less waits all of it is read at once, else batch by batch."""
BATCH_ENTRIES = MAX_OPERATIONS - 2
RETENTION_INTERVAL_S = 600.0
P = ParamSpec("P")
T = TypeVar("T")

DAY_NS = 24 * 3600 * 10**9

KEEPS = Gauge("signalbox_audit_keeps_log", "1 if this replica keeps the audit log.")
FAULT = Gauge("signalbox_audit_log_fault", "1 while this replica should write the audit log and cannot.")
RECORDS = Counter("signalbox_audit_records_total", "Records that this replica has appended to the audit log.")


class ElsewhereError(SignalboxError):
    """The log is another replica's. Nothing is wrong."""


class Keeper:
    """See the module. ``store`` is that of whole entries, without pages."""

    def __init__(self, store: Store, settings: AuditSettings, waiting: Outbox) -> None:
        self._store = store
        self._settings = settings
        self._outbox = waiting
        self._log: AuditLog | None = None
        self._turn = asyncio.Lock()
        self._retention = asyncio.Lock()
        self._anchored = 0
        """Sequence of the record that the head names: what lies beyond it is not in the log yet."""
        self._told = ""
        self._elsewhere = ""
        self._retained_at = 0.0

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            await self.turn()
            await asyncio.sleep(INTERVAL_S)

    async def turn(self) -> None:
        """Everything once: refusals, how much waits, what is to be shipped, what is too old."""
        try:
            await self._outbox.flush(self._store)
            try:
                await self._ship_if_ours()
            finally:
                # Who ships has looked already.
                if self._log is None:
                    self._outbox.note((await self._store.revisions(keys.AUDIT_OUTBOX)).written)
            if time.monotonic() - self._retained_at > RETENTION_INTERVAL_S:
                self._retained_at = time.monotonic()
                await self._retain()
        except StoreUnavailableError as error:
            self._tell("audit_store_unavailable", str(error), fault=self._log is not None)
        except (LogDamagedError, LogUnwritableError, IndexFailedError, DamagedValueError, OSError) as error:
            self._tell("audit_log_fault", str(error), fault=True)
        except SignalboxError as error:
            self._tell("audit_log_waits", str(error), fault=self._log is not None)
        else:
            self._tell("", "", fault=False)

    async def close(self) -> None:
        """Write down what was refused, ship what waits, and leave the log to others."""
        with contextlib.suppress(SignalboxError, OSError):
            await self._outbox.flush(self._store, early=True)
            if self._log is not None:
                await self._ship_if_ours()
        async with self._turn:
            await self._release()

    async def find(self, query: Query, before: int | None, limit: int) -> tuple[Sequence[audit_pb2.AuditRecord], bool]:
        """Records (see AuditLog.find), and whether some are missing that wait. Raises AuditUnavailableError."""
        log, behind = await self._current()
        end = self._anchored + 1
        return await _asked(log.find, query, end if before is None else min(before, end), limit), behind

    async def get(self, sequence: int) -> audit_pb2.AuditRecord | None:
        """One record. Raises AuditUnavailableError."""
        log, _ = await self._current()
        return await _asked(log.get, sequence) if sequence <= self._anchored else None

    async def verify(self) -> Verdict:
        """Read all of the log. Raises AuditUnavailableError, StoreUnavailableError."""
        async with self._retention:
            missing: AuditUnavailableError | None = None
            try:
                await self._current()
            except AuditUnavailableError as error:
                # One that is too damaged to be opened is still to be looked at.
                missing = error
            entry, directory = await self._store.get(keys.AUDIT_HEAD), self._settings.directory
            if entry is None or directory is None or await _asked(files.identity, directory) != _head(entry).log:
                raise missing or AuditUnavailableError("the audit log is gone")
            return await _asked(verify.verify, directory, _head(entry))

    @property
    def keeps(self) -> bool:
        """True if the log is ours."""
        return self._log is not None

    async def _current(self) -> tuple[AuditLog, bool]:
        """The log with all that was committed before now; True if it could not be brought so far."""
        behind = False
        try:
            await self._outbox.flush(self._store)
            await self._ship_if_ours()
        except (SignalboxError, OSError) as error:
            logger.warning("audit_log_behind", error=str(error))
            behind = True
        if self._log is None:
            raise AuditUnavailableError("this replica does not keep the audit log, and reaches none that does")
        return self._log, behind

    def _tell(self, event: str, error: str, *, fault: bool) -> None:
        KEEPS.set(self._log is not None)
        FAULT.set(fault)
        if (event, error) != ("", "") and error != self._told:
            (logger.error if fault else logger.warning)(event, error=error)
        elif not error and self._told:
            logger.info("audit_log_well")
        self._told = error

    async def _ship_if_ours(self) -> None:
        directory = self._settings.directory
        if directory is not None:
            # Who asks may give up at any time. What a thread has begun then goes on, and keeps its turn.
            task = asyncio.create_task(self._ship_in_turn(directory), name="audit-ship")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(task)

    async def _ship_in_turn(self, directory: Path) -> None:
        async with self._turn:
            try:
                await self._ship(directory)
            except (ElsewhereError, LogLockedError) as error:
                await self._release()
                if self._elsewhere != str(error):
                    logger.info("audit_log_elsewhere", reason=str(error))
                self._elsewhere = str(error)
            except CompareFailedError:
                # Somebody else moved the head: looked at again the next time.
                await self._release()

    async def _release(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            await asyncio.to_thread(log.close)

    async def _ship(self, directory: Path) -> None:
        entry = await self._store.get(keys.AUDIT_HEAD)
        if entry is None:
            entry = await self._claim(directory)
        head, revision = _head(entry), entry.revision
        self._anchored = head.sequence
        log = await self._opened(directory, head)
        written, read = await self._waiting()
        self._outbox.note(written)
        await asyncio.to_thread(_take_back, log, head, set(map(outbox.commit_id, written)))
        for batch in _batches(written):
            found = [read[key] for key in batch] if read else await self._store.get_many(batch)
            entries = [one for one in found if one is not None]
            RECORDS.inc(await asyncio.to_thread(_append, log, entries))
            revision = await self._move(head, log.tail, revision, [Delete(one.key) for one in entries])

    async def _waiting(self) -> tuple[Mapping[str, int], Mapping[str, Entry]]:
        """The keys of the outbox with their revisions; and their entries, unless these are too many to be read at
        once."""
        if self._outbox.waiting > READ_BYTES:
            return (await self._store.revisions(keys.AUDIT_OUTBOX)).written, {}
        entries = {entry.key: entry for entry in (await self._store.list(keys.AUDIT_OUTBOX)).entries}
        return {key: entry.create_revision for key, entry in entries.items()}, entries

    async def _move(self, head: audit_pb2.AuditHead, tail: Tail, revision: int, deletes: Sequence[Delete]) -> int:
        head.sequence, head.sha256 = tail.sequence, tail.sha256
        put = Put(keys.AUDIT_HEAD, head.SerializeToString())
        revision = await self._store.commit([Compare(keys.AUDIT_HEAD, revision)], [put, *deletes])
        self._anchored = tail.sequence
        return revision

    async def _claim(self, directory: Path) -> Entry:
        """The store has no head: the log of who is first is that of the cluster."""
        log = await self._opened(directory, None)
        name = await asyncio.to_thread(files.identity, directory)
        first = await asyncio.to_thread(log.first)
        head = audit_pb2.AuditHead(
            log=name,
            first_sequence=first.sequence if first else 1,
            first_previous=first.previous if first else NO_HASH,
        )
        if log.tail.sequence:
            logger.warning("audit_head_was_missing", sequence=log.tail.sequence)
        await self._move(head, log.tail, 0, [])
        logger.info("audit_log_claimed", log=name)
        entry = await self._store.get(keys.AUDIT_HEAD)
        if entry is None:
            raise StoreUnavailableError("the audit log's head is gone as soon as it is written")
        return entry

    async def _opened(self, directory: Path, head: audit_pb2.AuditHead | None) -> AuditLog:
        log = self._log
        if log is None:
            self._log = log = await asyncio.to_thread(self._open, directory, head)
        return log

    def _open(self, directory: Path, head: audit_pb2.AuditHead | None) -> AuditLog:
        """Blocks. Raises ElsewhereError, and what AuditLog raises."""
        name = files.identity(directory)
        if head is not None and head.log != name:
            raise ElsewhereError("another replica keeps the audit log")
        return AuditLog(directory, self._settings.segment_mb * 1024 * 1024, head.sequence if head else 0)

    async def _retain(self) -> None:
        """Delete the segments that are too old, once the head says that the log begins after them."""
        log = self._log
        if log is None or not self._settings.retention_days:
            return
        async with self._retention, self._turn:
            before = time.time_ns() - self._settings.retention_days * DAY_NS
            first = await asyncio.to_thread(log.expired, before)
            entry = await self._store.get(keys.AUDIT_HEAD)
            if first is None or entry is None:
                return
            head = _head(entry)
            head.first_sequence, head.first_previous = first.sequence, first.previous
            await self._move(head, Tail(head.sequence, head.sha256), entry.revision, [])
            await asyncio.to_thread(log.drop, first.sequence)
            logger.info("audit_records_expired", before=first.sequence)


async def _asked(question: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a thread answers. Raises AuditUnavailableError if the log or its index is not readable."""
    try:
        return await asyncio.to_thread(question, *arguments, **named)
    except (LogDamagedError, IndexFailedError, OSError) as error:
        raise AuditUnavailableError(f"the audit log cannot be read: {error}") from error


def _head(entry: Entry) -> audit_pb2.AuditHead:
    head = audit_pb2.AuditHead()
    try:
        head.ParseFromString(entry.value)
    except DecodeError as error:
        raise DamagedValueError(entry.key, "no head of an audit log") from error
    return head


def _append(log: AuditLog, entries: Sequence[Entry]) -> int:
    """Append the records of entries of the outbox, and tell how many they are. Blocks. Raises LogUnwritableError."""
    records = [record for one in entries for record in outbox.records(one.key, one.create_revision, one.value)]
    log.append(records)
    return len(records)


def _take_back(log: AuditLog, head: audit_pb2.AuditHead, waiting: set[str]) -> None:
    """Cut records off that are beyond the head: who appended them died before the head was moved, so that they still
    wait and are appended again.

    Blocks. Raises LogDamagedError if the log has not the head's record, and for records beyond it of which the store
    knows nothing: they are not ours, or the store is older than the log.
    """
    if log.tail == Tail(head.sequence, head.sha256):
        return
    beyond = log.after(head.sequence)
    if not beyond or beyond[0].previous != head.sha256:
        raise LogDamagedError(
            f"record {head.sequence} is not there, or not what it was" if head.sequence else "it is another log"
        )
    for record in beyond:
        if record.commit not in waiting:
            raise LogDamagedError(
                f"the store's head is record {head.sequence}, and it knows nothing of {record.sequence}"
            )
    log.cut(head.sequence, head.sha256)


def _batches(written: Mapping[str, int]) -> Sequence[Sequence[str]]:
    """Keys of the outbox in the order of their revisions, in pieces that one commit deletes and one answer holds."""
    batches: list[list[str]] = []
    room = 0
    for key in sorted(written, key=lambda one: (written[one], one)):
        size = keys.audit_entry_size(key)
        if not batches or room < size or len(batches[-1]) >= BATCH_ENTRIES:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(key)
        room -= size
    return batches
