"""Takes a document in: checks it while it comes, stores its content, and then that it is there."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError, SignalboxError
from signalbox.provisioning import requestids, taking
from signalbox.provisioning import validate as common
from signalbox.provisioning.draft import PENDING, Draft
from signalbox.provisioning.inventory import attachments, validate
from signalbox.provisioning.writer import Plan
from signalbox.store import keys
from signalbox.store.base import Compare, Delete, Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.inventory.disposal import Disposal
    from signalbox.provisioning.writes import Writes
    from signalbox.settings import DocumentsSettings
    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

logger = structlog.get_logger(__name__)

HOUR_S = 3600
ABANDONED_S = 3600
"""Content that no document has got so long after its upload began is deleted; more than taking.UPLOAD_S."""
AT_ONCE = 16
"""Uploads that a process takes in at once; others wait. Each may take as much memory as a document has bytes."""
AT_ONCE_TENANT = 4
"""Those of one tenant: however slow its uploads are, there is room for others'."""

_BEGINNINGS = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
_BEGINNING_BYTES = max(map(len, _BEGINNINGS))


class _GoneError(Exception):
    """The document that was there is being deleted, or is there no more."""


@dataclass
class _Content:
    """The content of an upload, checked as it comes."""

    given: inventory_pb2.Document
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def checked(self, requests: AsyncIterator[pb.UploadDocumentRequest]) -> AsyncGenerator[bytes, None]:
        """The bytes. Raises InvalidFieldError for what must not be stored, at the latest in place of their end."""
        beginning = b""
        async for request in requests:
            if request.HasField("document"):
                raise InvalidFieldError(FieldViolation("document", "must be in the first request only"))
            taking.check_piece(request.content)
            self.size += len(request.content)
            self.digest.update(request.content)
            if self.size > validate.DOCUMENT_BYTES_MAX:
                raise InvalidFieldError(FieldViolation("content", f"is more than {validate.DOCUMENT_BYTES_MAX} bytes"))
            if len(beginning) < _BEGINNING_BYTES:
                beginning += request.content
                if len(beginning) < _BEGINNING_BYTES:
                    continue
                self._judge(beginning)
                yield beginning
            else:
                yield request.content
        if len(beginning) < _BEGINNING_BYTES:
            self._judge(beginning)
            yield beginning
        self._compare()

    def _judge(self, beginning: bytes) -> None:
        """By what it is, not by what it is called."""
        if not beginning:
            raise InvalidFieldError(FieldViolation("content", "is required"))
        found = next((kind for magic, kind in _BEGINNINGS.items() if beginning.startswith(magic)), "")
        if not found:
            raise InvalidFieldError(FieldViolation("content", "begins as neither PDF, PNG nor JPEG does"))
        if found != self.given.media_type:
            raise InvalidFieldError(FieldViolation("document.media_type", f"the content is {found}"))

    def _compare(self) -> None:
        common.require(taking.contradicted(self.given, self.size, self.digest.digest(), "document"))


class Uploads:
    """The handler of UploadDocument."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        writes: Writes,
        disposal: Disposal,
        clock: Clock,
        settings: DocumentsSettings,
    ) -> None:
        self._store = store
        self._vault = vault
        self._writes = writes
        self._disposal = disposal
        self._clock = clock
        self._unused_s = settings.unused_hours * HOUR_S
        self._unused_max = settings.unused_max
        self._places = taking.Places(AT_ONCE, AT_ONCE_TENANT)

    async def __call__(
        self, principal: Principal, requests: AsyncIterator[pb.UploadDocumentRequest]
    ) -> AsyncGenerator[inventory_pb2.Document, None]:
        """See the API's description. Raises InvalidFieldError, NotFoundError, and what the stores raise."""
        yield await taking.heard(self._take(principal, requests), requests)

    async def _take(
        self, principal: Principal, requests: AsyncIterator[pb.UploadDocumentRequest]
    ) -> inventory_pb2.Document:
        first = await anext(requests)
        requestids.check(first.request_id)
        common.require(validate.upload(first.document))
        given = first.document
        if await self._store.get(keys.tenant(given.tenant)) is None:
            raise NotFoundError("tenant", given.tenant)
        if given.sha256:
            with suppress(_GoneError):
                return await self._known(principal, first)
        self._admit(given.tenant, await attachments.Count.read(self._store, given.tenant))
        async with self._places.taken(given.tenant):
            return await self._stored(principal, first, requests)

    def _admit(self, tenant: str, count: attachments.Count) -> None:
        """Nobody fills the object store: raises InvalidFieldError if the tenant has too much that nobody needs."""
        if count.unnamed >= self._unused_max:
            reason = f"has {count.unnamed} documents that no application has named; at most {self._unused_max}"
            raise InvalidFieldError(FieldViolation("document.tenant", reason))

    async def _known(self, principal: Principal, first: pb.UploadDocumentRequest) -> inventory_pb2.Document:
        """A document that is there already, with its content. Raises _GoneError if it is not."""
        given = first.document
        found = await attachments.read(self._store, given.tenant, attachments.identity(given.kind, given.sha256))
        if found is None or found.deleting or not await self._vault.holds(found.object):
            raise _GoneError
        violations = []
        for name in ("size_bytes", "media_type"):
            if getattr(given, name) not in (0, getattr(found, name)):
                violations.append(FieldViolation(f"document.{name}", f"the content's is {getattr(found, name)}"))
        common.require(violations)
        return await self._commit(principal, first, found.size_bytes, given.sha256, None)

    async def _stored(
        self, principal: Principal, first: pb.UploadDocumentRequest, requests: AsyncIterator[pb.UploadDocumentRequest]
    ) -> inventory_pb2.Document:
        """A document whose content comes now."""
        given = first.document
        object = f"{keys.DOCUMENTS}{given.tenant}/{secrets.token_hex(16)}"
        # What must be deleted if this process dies is known before it is there.
        place = keys.due(keys.UPLOADS, int(self._clock().timestamp()) + ABANDONED_S, object)
        noted = Compare(place, await self._store.commit([], [Put(place, b"")]))
        content = _Content(given)
        rest = pb.UploadDocumentRequest(content=first.content)
        async with aclosing(content.checked(_with(rest, requests))) as pieces:
            await self._vault.put(given.tenant, object, pieces)
        digest = content.digest.digest()
        while True:
            try:
                made = await self._commit(principal, first, content.size, digest, (object, noted))
                break
            except _GoneError:
                # The same document is being deleted: that comes first.
                await self._disposal.finish(given.tenant, attachments.identity(given.kind, digest))
        if await self._store.get(place) is not None:
            # It was there already. What cannot be deleted now is swept.
            with suppress(SignalboxError):
                await self._disposal.abandon(noted)
        return made

    async def _commit(
        self,
        principal: Principal,
        first: pb.UploadDocumentRequest,
        size: int,
        digest: bytes,
        stored: tuple[str, Compare] | None,
    ) -> inventory_pb2.Document:
        """Make a document of what is known; ``stored``: the new object and its note, if there is one."""
        request = pb.UploadDocumentRequest(document=first.document, request_id=first.request_id)
        request.document.size_bytes, request.document.sha256 = size, digest
        given = request.document
        id = attachments.identity(given.kind, digest)

        async def work(draft: Draft) -> inventory_pb2.Document:
            async def plan() -> Plan[inventory_pb2.Document]:
                if await draft.get(keys.tenant(given.tenant)) is None:
                    raise NotFoundError("tenant", given.tenant)
                before = await attachments.read(draft, given.tenant, id)
                after = await self._made(given, id, before, stored)
                revision = int(before.etag) if before else 0
                compares = [Compare(keys.document(given.tenant, id), revision)]
                writes = [*attachments.writes(before, after)]
                if stored is not None and after.object == stored[0]:
                    compares.append(stored[1])
                    writes.append(Delete(stored[1].key))
                if before is None:
                    count = await attachments.Count.read(draft, given.tenant)
                    self._admit(given.tenant, count)
                    count.unnamed += 1
                    compared, counted = count.step()
                    compares += compared
                    writes += counted
                return Plan(after, compares, writes)

            made, _ = await draft.write(keys.tenant_fence(given.tenant), plan)
            draft.log("document_uploaded", 0, tenant=given.tenant, document=id)
            answer = attachments.shown(made)
            answer.etag = str(PENDING)
            return answer

        return await self._writes.run(principal, "UploadDocument", request, inventory_pb2.Document, work)

    async def _made(
        self,
        given: inventory_pb2.Document,
        id: str,
        before: inventory_pb2.Document | None,
        stored: tuple[str, Compare] | None,
    ) -> inventory_pb2.Document:
        """The document as it will be. Raises _GoneError."""
        now = self._clock()
        made = inventory_pb2.Document()
        if before is None:
            if stored is None:
                raise _GoneError
            for name in ("tenant", "kind", "file_name", "media_type", "size_bytes", "sha256"):
                setattr(made, name, getattr(given, name))
            made.id, made.object = id, stored[0]
            made.create_time.FromDatetime(now)
        elif before.deleting:
            raise _GoneError
        else:
            made.CopyFrom(before)
            if stored is not None and not await self._vault.holds(before.object):
                # The content was lost, and has come again: it has the same SHA-256.
                made.object = stored[0]
        if not made.judged:
            made.delete_time.CopyFrom(Timestamp(seconds=int(now.timestamp()) + self._unused_s))
        return made


async def _with(
    first: pb.UploadDocumentRequest, others: AsyncIterator[pb.UploadDocumentRequest]
) -> AsyncGenerator[pb.UploadDocumentRequest, None]:
    yield first
    async for one in others:
        yield one
