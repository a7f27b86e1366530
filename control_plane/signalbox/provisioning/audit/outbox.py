"""The outbox: where records wait in the store, put there by the very commit that they tell of.

Its keys end with the size of their entries, so that reading the keys alone tells how much waits.
"""

from __future__ import annotations

import asyncio
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Gauge

from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.errors import AuditFullError, HiddenError
from signalbox.provisioning.access import Principal
from signalbox.provisioning.audit import changes
from signalbox.provisioning.audit.refusals import Refusals
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from signalbox.errors import SignalboxError
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

ENTRY_BYTES_MAX = 512 * 1024
"""Largest entry."""
SHORT_ENTRY_BYTES_MAX = 64 * 1024
"""Largest entry of a commit that has no room for a larger one, if it makes few changes."""
FEW_CHANGES = 40
"""So many a request makes that people have written: it is not refused because its record is long."""
KEY_BYTES = 200
"""What a key costs the store besides its entry."""
MAX_MB = 64

_COMMIT_BYTES = 8
_TEXT_MAX = 200
"""Characters of a name that somebody gave who was refused."""

WAITING = Gauge("signalbox_audit_outbox_bytes", "Records that wait in the store for the audit log, bytes.")


class Outbox:
    """Makes entries, and knows how much waits."""

    def __init__(self, max_mb: int = MAX_MB, clock: Callable[[], datetime] | None = None) -> None:
        """``max_mb``: what may wait before writes are refused, MiB."""
        self._max = max_mb * 1024 * 1024
        self._clock = clock or _now
        self._waiting = 0
        self._flushing = asyncio.Lock()
        self._refusals = Refusals()
        self._unwritten: Sequence[audit_pb2.AuditRecord] = ()

    @property
    def waiting(self) -> int:
        """How much waited when it was looked at last, bytes."""
        return self._waiting

    def note(self, waiting: Iterable[str]) -> None:
        """Take over how much waits: the keys that are in the store."""
        self._waiting = sum(keys.audit_entry_size(key) + KEY_BYTES for key in waiting)
        WAITING.set(self._waiting)

    def entry(self, origin: Origin, made: Sequence[audit_pb2.AuditChange], room: int = ENTRY_BYTES_MAX) -> Put:
        """The write that goes with a commit that makes these changes; ``room``: of so many bytes at most.

        Raises AuditFullError.
        """
        if self._waiting >= self._max:
            raise AuditFullError(
                f"the audit log cannot be written, and {self._waiting >> 20} MiB of records wait for it: nothing is "
                "changed until it can"
            )
        entry = audit_pb2.AuditEntry(origin=self._record(origin))
        changes.shorten(made, room - entry.ByteSize())
        entry.changes.extend(made)
        return put(entry)

    def refused(self, origin: Origin, error: SignalboxError, request: Any) -> None:
        """Remember what was refused, to be written by :meth:`flush`. Never raises, never waits.

        ``request``: the message that says what was asked for, of an import its row.
        """
        record = self._record(origin)
        refusal = record.refusal
        refusal.tenant, refusal.id = named(request)
        hidden = isinstance(error, HiddenError)
        # What the caller was told is not why.
        reason = types_pb2.PERMISSION_REFUSED if hidden else error.reason
        refusal.reason, refusal.hidden = types_pb2.ErrorReason.Name(reason), hidden  # type: ignore[arg-type]
        self._refusals.add(record, self._clock())

    async def flush(self, store: Store, *, early: bool = False) -> None:
        """Put the refusals into the store whose time has come, with ``early`` all.

        Those that cannot be are kept for the next time. Raises StoreUnavailableError, StoreFullError.
        """
        async with self._flushing:
            while self._waiting < self._max:
                self._unwritten = self._unwritten or self._refusals.take(self._clock(), early=early)
                if not self._unwritten:
                    return
                await store.commit([], [put(audit_pb2.AuditEntry(refusals=self._unwritten))])
                self._unwritten = ()

    def _record(self, origin: Origin) -> audit_pb2.AuditRecord:
        principal = origin.principal
        record = audit_pb2.AuditRecord(
            actor=audit_pb2.AuditActor(
                name=principal.actor, role=principal.role, tenant=principal.tenant, peer=principal.peer
            ),
            method=origin.method,
            request_id=origin.request_id,
        )
        record.time.FromDatetime(self._clock())
        return record


@dataclass(frozen=True)
class Origin:
    """Which request what is done now is for."""

    outbox: Outbox
    principal: Principal
    method: str
    request_id: str = ""

    def entry(self, made: Sequence[audit_pb2.AuditChange], room: int = ENTRY_BYTES_MAX) -> Put:
        """See Outbox."""
        return self.outbox.entry(self, made, room)

    def refused(self, error: SignalboxError, request: Any) -> None:
        """See Outbox."""
        self.outbox.refused(self, error, request)


CLOCK = Principal(types_pb2.ROLE_UNSPECIFIED, actor="clock")
"""Does what nobody asks for: what is due."""

ORIGIN: ContextVar[Origin] = ContextVar("origin")
"""Set by who serves a request, so that no method has to think of it."""


def origin() -> Origin:
    """Which request what is done now is for; without one it is the clock's."""
    return ORIGIN.get(None) or Origin(Outbox(), CLOCK, "")


def named(request: Any) -> tuple[str, str]:
    """The tenant and the id that a request is about, as far as it says so."""
    inner = [value for field, value in request.ListFields() if field.message_type is not None and not field.is_repeated]
    found = {"tenant": "", "id": ""}
    for part in (request, *inner):
        fields = part.DESCRIPTOR.fields_by_name
        for name in ("tenant", "id", "call_id", "number", "list"):
            field = fields.get(name)
            if field is not None and field.type == field.TYPE_STRING and not field.is_repeated:
                wanted = "tenant" if name == "tenant" else "id"
                found[wanted] = found[wanted] or getattr(part, name)[:_TEXT_MAX]
    return found["tenant"], found["id"]


def commit_id(key: str) -> str:
    """Which commit an entry of the outbox is of."""
    return keys.last_part(key).partition("-")[0]


def records(key: str, revision: int, value: bytes) -> Sequence[audit_pb2.AuditRecord]:
    """The records of an entry of the outbox, yet without their places in the log."""
    try:
        entry = audit_pb2.AuditEntry.FromString(value)
    except DecodeError:
        # Nobody of ours has put it there. What it is cannot be told, but that it is.
        entry = audit_pb2.AuditEntry(changes=[changes.unknown(key, None, value)])
    made = []
    for change in entry.changes:
        record = audit_pb2.AuditRecord()
        record.CopyFrom(entry.origin)
        record.change.CopyFrom(change)
        record.revision = revision
        made.append(record)
    made += entry.refusals
    for record in made:
        record.commit = commit_id(key)
    return made


def put(entry: audit_pb2.AuditEntry) -> Put:
    """The write of an entry."""
    value = entry.SerializeToString()
    return Put(keys.audit_entry(secrets.token_hex(_COMMIT_BYTES), len(value)), value)


def _now() -> datetime:
    return datetime.now(UTC)
