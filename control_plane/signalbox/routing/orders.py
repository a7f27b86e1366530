"""``RecordOrder``: what operators did to calls at an edge, on its way into the audit log.

Who keeps the log takes it out of the store (``docs/design/audit.md``). The key is made of the order's id, so that what
an edge tells again stays one entry for as long as it waits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

METHOD = "HangUp"
MAX_TEXT = 128

_ID = re.compile(r"[0-9a-f]{16,64}")


async def record(request: routing_pb2.RecordOrderRequest, store: Store) -> None:
    """Put an order into the outbox of the audit log.

    Raises InvalidFieldError, StoreUnavailableError, StoreFullError.
    """
    if violations := [*_violations(request)]:
        raise InvalidFieldError(*violations)
    actor = audit_pb2.AuditActor(name=request.actor, role=types_pb2.ROLE_OPERATOR, peer=f"edge {request.edge}")
    entry = audit_pb2.AuditEntry(
        origin=audit_pb2.AuditRecord(time=request.time, actor=actor, method=METHOD),
        changes=[audit_pb2.AuditChange(kind="call", id=request.call_id, ended=True)],
    )
    value = entry.SerializeToString()
    await store.commit([], [Put(keys.audit_entry(request.id, len(value)), value)])
    logger.info("order_recorded", edge=request.edge, call_id=request.call_id, actor=request.actor)


def _violations(request: routing_pb2.RecordOrderRequest) -> Iterator[FieldViolation]:
    if not _ID.fullmatch(request.id):
        yield FieldViolation("id", "must be 16 to 64 characters of 0-9a-f")
    for field in ("edge", "call_id", "actor"):
        if not 0 < len(getattr(request, field)) <= MAX_TEXT:
            yield FieldViolation(field, f"must be 1 to {MAX_TEXT} characters")
    try:
        request.time.ToNanoseconds()
    except ValueError:
        yield FieldViolation("time", "is no time")
