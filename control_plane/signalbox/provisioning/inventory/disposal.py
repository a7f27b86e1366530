"""Deletes documents: those that somebody wants deleted, those whose time has come, and content that none ever got.

A document is marked first, so that no application names it any more; then its content goes, and last what is known of
it. That has a record in the audit log, which so means that the content is gone. Whoever dies on the way leaves the rest
to the next sweep, of any replica.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.types.v1 import inventory_pb2
from signalbox.errors import NotFoundError, ObjectsUnavailableError, SignalboxError, StoreUnavailableError
from signalbox.provisioning.draft import Draft, Transactions
from signalbox.provisioning.inventory import attachments
from signalbox.provisioning.sweeping import sweeping
from signalbox.store import keys
from signalbox.store.base import Compare, CompareFailedError, Delete, Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from signalbox.provisioning.collection import Clock
    from signalbox.store.base import Entry, Store
    from signalbox.store.envelope import Vault

logger = structlog.get_logger(__name__)

INTERVAL_S = 30.0
AT_ONCE = 100
"""Keys that are read at once."""
_DOOMED = b"doomed"
"""Value of an upload's key once no document can get the content any more."""


class Disposal:
    """Deletes documents and their content."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._transactions = Transactions(store)
        self._vault = vault
        self._clock = clock
        self._interval_s = interval_s

    async def delete(self, tenant: str, id: str, check: Callable[[inventory_pb2.Document], None]) -> None:
        """Delete a document: its content is gone when this returns.

        ``check`` raises what speaks against it. Raises NotFoundError, ObjectsUnavailableError, and what the
        store raises.
        """

        async def mark(draft: Draft) -> inventory_pb2.Document:
            document = await attachments.read(draft, tenant, id)
            if document is None:
                raise NotFoundError(attachments.RESOURCE, id)
            if document.deleting:
                return document
            check(document)
            marked = inventory_pb2.Document()
            marked.CopyFrom(document)
            marked.deleting = True
            marked.delete_time.CopyFrom(Timestamp(seconds=self._now()))
            await attachments.change(draft, document, marked)
            return marked

        document, _ = await self._transactions.run(mark)
        await self._vault.delete(document.object)

        async def forget(draft: Draft) -> None:
            found = await attachments.read(draft, tenant, id)
            # Another replica may have been faster.
            if found is not None and found.object == document.object:
                await attachments.change(draft, found, None)
                draft.log("document_deleted", 0, tenant=tenant, document=id)

        await self._transactions.run(forget)

    async def finish(self, tenant: str, id: str) -> None:
        """Delete a document whose deletion has begun, if there is one. Raises as delete."""

        def check(document: inventory_pb2.Document) -> None:
            raise NotFoundError(attachments.RESOURCE, id)

        with suppress(NotFoundError):
            await self.delete(tenant, id, check)

    async def abandon(self, noted: Compare) -> None:
        """Delete content that no document has got, if it is still so; ``noted``: the key that says so.

        Raises ObjectsUnavailableError and what the store raises.
        """
        with suppress(CompareFailedError):
            # From here on the upload, if it is still under way, fails when it is to be committed.
            revision = await self._store.commit([noted], [Put(noted.key, _DOOMED)])
            object = keys.due_parts(keys.UPLOADS, noted.key)[1]
            await self._vault.delete(object)
            await self._store.commit([Compare(noted.key, revision)], [Delete(noted.key)])
            logger.info("upload_abandoned", object=object)

    async def run(self) -> None:
        """Long-lived coroutine."""
        await sweeping(self.sweep, self._interval_s, "document_sweep_failed")

    async def sweep(self) -> int:
        """Delete all whose time has come; returns how many documents that were.

        Raises ObjectsUnavailableError and StoreUnavailableError; what else is wrong with one does not stop the others.
        """
        async for entry in self._due(keys.UPLOADS):
            with _others_go_on(entry.key):
                await self.abandon(Compare(entry.key, entry.revision))
        deleted = 0
        async for entry in self._due(keys.DOCUMENTS_DUE):
            time, name = keys.due_parts(keys.DOCUMENTS_DUE, entry.key)
            with _others_go_on(entry.key):
                deleted += await self._expire(time, *name.split("/"))
        if rewrapped := await self._vault.rewrap():
            logger.info("data_keys_rewrapped", tenants=rewrapped)
        return deleted

    async def _due(self, prefix: str) -> AsyncGenerator[Entry, None]:
        """What is to be deleted by now, the oldest first."""
        now, after = self._now(), ""
        while found := await self._store.page(prefix, after, AT_ONCE):
            for entry in found:
                if keys.due_parts(prefix, entry.key)[0] > now:
                    return
                yield entry
            after = found[-1].key

    async def _expire(self, time: int, tenant: str, id: str) -> bool:
        """Delete a document, if it is still to be deleted at that time; says whether it was there."""

        def check(document: inventory_pb2.Document) -> None:
            if document.uses or document.delete_time.seconds != time:
                raise NotFoundError(attachments.RESOURCE, id)

        with suppress(NotFoundError):
            await self.delete(tenant, id, check)
            return True
        return False

    def _now(self) -> int:
        return int(self._clock().timestamp())


@contextmanager
def _others_go_on(key: str) -> Iterator[None]:
    """What is wrong with one is told, and does not stop the others."""
    try:
        yield
    except (ObjectsUnavailableError, StoreUnavailableError):
        raise
    except SignalboxError as error:
        logger.error("document_not_deleted", key=key, error=str(error))
