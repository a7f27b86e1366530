"""What is known of documents, and which applications name them.

A document counts the applications that name it and the numbers that these led to. While it has some it stays; when the
last is gone it stays for a time, and then it is deleted. All of that happens in the commits of the transitions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.types.v1 import inventory_pb2
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.store import codec, keys
from signalbox.store.base import Compare, Delete, Put
from signalbox.store.inventory import Page, events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.writer import Reader
    from signalbox.store.base import Entry

RESOURCE = "document"
ID_DIGITS = 32
DAY_S = 24 * 3600
RETENTION_S = 730 * DAY_S

_FILLED = ("file_name", "sha256", "size_bytes", "media_type")
"""Fields that a document has from its upload."""


def identity(kind: inventory_pb2.DocumentKind.ValueType, sha256: bytes) -> str:
    """The id of a document of this kind and content."""
    return hashlib.sha256(bytes([kind]) + sha256).hexdigest()[:ID_DIGITS]


async def read(store: Reader, tenant: str, id: str) -> inventory_pb2.Document | None:
    """A document as it is stored, with its etag; None: there is none. Raises DamagedValueError."""
    entry = await store.get(keys.document(tenant, id))
    return codec.decode(inventory_pb2.Document, entry) if entry else None


def shown(document: inventory_pb2.Document) -> inventory_pb2.Document:
    """A document as the API tells it."""
    told = inventory_pb2.Document()
    told.CopyFrom(document)
    told.ClearField("object")
    return told


def writes(before: inventory_pb2.Document | None, after: inventory_pb2.Document | None) -> Sequence[Put | Delete]:
    """What makes one document of another, or of none: itself, and the key that says when it is to be deleted."""
    made: dict[str, Put | Delete] = {}
    if before is not None:
        made |= {key: Delete(key) for key in (codec.key_of(before), *_due(before))}
    if after is not None:
        made |= {key: Put(key, b"") for key in _due(after)}
        key = codec.key_of(after)
        made[key] = Put(key, codec.encode(after))
    return list(made.values())


def _due(document: inventory_pb2.Document) -> Sequence[str]:
    if not document.HasField("delete_time"):
        return ()
    name = f"{document.tenant}/{document.id}"
    return (keys.due(keys.DOCUMENTS_DUE, document.delete_time.seconds, name),)


async def change(draft: Draft, before: inventory_pb2.Document, after: inventory_pb2.Document | None) -> None:
    """Write a document that was read, or none in its place; it must be the same when this is committed."""
    draft.add([Compare(codec.key_of(before), int(before.etag))], writes(before, after))
    count = await Count.read(draft, before.tenant)
    # Below 0 it is newer than the document that was read: then the commit fails, and all is read again.
    count.unnamed = max(0, count.unnamed + _unnamed(after) - _unnamed(before))
    draft.add(*count.step())


def _unnamed(document: inventory_pb2.Document | None) -> int:
    return int(document is not None and not document.judged)


class Count:
    """How many documents a tenant has that no application has named."""

    def __init__(self, tenant: str, entry: Entry | None) -> None:
        self._key = keys.document_count(tenant)
        self._revision = entry.revision if entry else 0
        self._was = codec.parse(inventory_pb2.TenantDocuments, entry).unnamed if entry else 0
        self.unnamed = self._was

    @classmethod
    async def read(cls, store: Reader, tenant: str) -> Count:
        """As it is now. Raises DamagedValueError."""
        return cls(tenant, await store.get(keys.document_count(tenant)))

    def step(self) -> tuple[Sequence[Compare], Sequence[Put | Delete]]:
        """What is compared and written if it has changed."""
        if self.unnamed == self._was:
            return [], []
        value = inventory_pb2.TenantDocuments(unnamed=self.unnamed).SerializeToString()
        write = Put(self._key, value) if self.unnamed else Delete(self._key)
        return [Compare(self._key, self._revision)], [write]


async def resolved(
    store: Reader, tenant: str, given: Sequence[inventory_pb2.NumberDocument]
) -> Sequence[inventory_pb2.NumberDocument]:
    """The documents of an application, those that were uploaded with all that is known of them.

    Raises InvalidFieldError for what the tenant has not uploaded, or not so.
    """
    violations: list[FieldViolation] = []
    found: list[inventory_pb2.NumberDocument] = []
    for position, one in enumerate(given):
        path = f"documents[{position}]"
        document = await read(store, tenant, one.id) if one.id else None
        if not one.id:
            found.append(one)
        elif document is None or document.deleting:
            violations.append(FieldViolation(f"{path}.id", "does not exist"))
        else:
            made = inventory_pb2.NumberDocument(
                kind=document.kind, id=document.id, **{name: getattr(document, name) for name in _FILLED}
            )
            for name in ("kind", *_FILLED):
                value = getattr(one, name)
                if value and value != getattr(made, name):
                    violations.append(FieldViolation(f"{path}.{name}", "is not that of the uploaded document"))
            found.append(made)
    if violations:
        raise InvalidFieldError(*violations)
    return found


async def attach(draft: Draft, tenant: str, named: Sequence[inventory_pb2.NumberDocument]) -> None:
    """Count an application that names these documents: they stay."""
    for document in await _stored(draft, tenant, named):
        after = inventory_pb2.Document()
        after.CopyFrom(document)
        after.uses += 1
        after.judged = True
        after.ClearField("delete_time")
        await change(draft, document, after)


async def detach(draft: Draft, tenant: str, named: Sequence[inventory_pb2.NumberDocument], until: int) -> None:
    """An application is over, or the number that it led to. ``until``: how long its documents stay then, seconds since
    the epoch."""
    for document in await _stored(draft, tenant, named):
        after = inventory_pb2.Document()
        after.CopyFrom(document)
        # At 0 the document is newer than the number that was read: then the commit fails, and all is read again.
        after.uses = max(0, after.uses - 1)
        if not after.uses:
            after.delete_time.CopyFrom(Timestamp(seconds=until))
        await change(draft, document, after)


async def _stored(
    draft: Draft, tenant: str, named: Sequence[inventory_pb2.NumberDocument]
) -> Sequence[inventory_pb2.Document]:
    found = [await read(draft, tenant, one.id) for one in named if one.id]
    return [document for document in found if document is not None]


async def of_number(store: Reader, number: str, tenant: str) -> Sequence[inventory_pb2.NumberDocument]:
    """The documents of the last application of a number by the tenant that has it."""
    async for _, _, event in backwards(store, number, ""):
        if event.tenant != tenant:
            break
        if event.transition == inventory_pb2.INVENTORY_TRANSITION_APPLY:
            return event.documents
    return ()


async def backwards(
    store: Reader, number: str, before: str
) -> AsyncGenerator[tuple[int, int, inventory_pb2.NumberEvent], None]:
    """The events of a number with their places, from the latest on, or from the one before a place."""
    if before:
        last, limit = (int(part) for part in before.split("."))
    else:
        last, limit = Page(number[:-2], await store.get(keys.inventory_page(number))).chunk, -1
    for chunk in range(last, -1, -1):
        entry = await store.get(keys.number_log(number, chunk))
        stored = list(enumerate(events(entry))) if entry else []
        if chunk == last and limit >= 0:
            stored = stored[:limit]
        for position, event in reversed(stored):
            if event.number == number:
                yield chunk, position, event
