"""What waits for the audit log, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.provisioning.audit import outbox
from signalbox.store import keys
from signalbox.store.base import Delete

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.api.types.v1 import audit_pb2
    from signalbox.store.base import Store

Told = tuple[str, str, str, str]
"""Kind, tenant and id of an object, and what became of it."""


async def waiting(store: Store) -> Sequence[audit_pb2.AuditRecord]:
    """The records in the outbox, in the order of their revisions."""
    entries = sorted((await store.list(keys.AUDIT_OUTBOX)).entries, key=lambda one: one.create_revision)
    return [record for one in entries for record in outbox.records(one.key, one.create_revision, one.value)]


async def forget(store: Store) -> None:
    """Empty the outbox."""
    for one in (await store.list(keys.AUDIT_OUTBOX)).entries:
        await store.commit([], [Delete(one.key)])


def told(records: Iterable[audit_pb2.AuditRecord]) -> list[Told]:
    """What records tell of."""
    return [_told(record.change) for record in records]


def _told(change: Any) -> Told:
    if change.HasField("entries"):
        did = f"+{change.entries.added} -{change.entries.removed}"
    else:
        did = {(0, 0): "read", (0, 1): "created", (1, 1): "changed", (1, 0): "deleted"}[
            change.HasField("before"), change.HasField("after")
        ]
    return change.kind, change.tenant, change.id, did
