"""Keepers of an audit log, what they keep, and how they die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import audit_pb2
from signalbox.errors import StoreUnavailableError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit.index import Query
from signalbox.provisioning.audit.keeper import Keeper
from signalbox.provisioning.audit.outbox import Origin, Outbox
from signalbox.settings import AuditSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.store.base import Compare, Delete, Put
    from signalbox.store.memory import MemoryStore


ALL = Query()


class Death(BaseException):
    """The process is killed."""


class Mortal:
    """A store whose user may die just before or just after a commit, or lose its answer."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.next = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        what, self.next = self.next, ""
        if what == "before":
            raise Death
        if what == "unreachable":
            raise StoreUnavailableError("no answer")
        revision = await self.store.commit(compares, writes)
        if what == "after":
            raise Death
        if what == "unknown":
            raise StoreUnavailableError("the answer is lost")
        return revision


def keeper(store: Any, directory: Path, outbox: Outbox | None = None, **settings: Any) -> Keeper:
    return Keeper(store, AuditSettings(directory=directory, **settings), outbox or Outbox())


async def write(store: Any, *ids: str, outbox: Outbox | None = None) -> None:
    """Commits that each change an object."""
    outbox = outbox or Outbox()
    origin = Origin(outbox, Principal(OPERATOR, actor="certificate ops", peer="ipv4:192.0.2.1:1"), "UpdateLine")
    for id in ids:
        entry = outbox.entry(origin, [audit_pb2.AuditChange(kind="line", tenant="acme", id=id)])
        await store.commit([], [entry])


async def ids(keeper: Keeper, query: Query = ALL) -> list[str]:
    """Ids of the objects of all records, the first first."""
    found, _ = await keeper.find(query, None, 100_000)
    return [record.change.id for record in reversed(found)]


def die(keeper: Keeper) -> None:
    """The process is gone, its locks with it."""
    if keeper._log is not None:
        keeper._log.close()
