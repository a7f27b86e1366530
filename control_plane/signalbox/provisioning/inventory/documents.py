"""The RPCs of ``DocumentService``."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from google.protobuf import empty_pb2

from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.types.v1 import audit_pb2, inventory_pb2
from signalbox.errors import FieldViolation, InUseError, InvalidFieldError, NotFoundError, PermissionRefusedError
from signalbox.provisioning import pagetoken
from signalbox.provisioning import validate as common
from signalbox.provisioning.access import Rule, reads, writes
from signalbox.provisioning.audit import outbox
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.inventory import attachments, validate
from signalbox.provisioning.inventory.disposal import Disposal
from signalbox.provisioning.inventory.uploading import Uploads
from signalbox.provisioning.listing import page_size
from signalbox.provisioning.serving import Served, Stream, Unary
from signalbox.provisioning.writer import repeat
from signalbox.provisioning.writes import Writes
from signalbox.settings import DocumentsSettings
from signalbox.store import codec, keys
from signalbox.store.base import Compare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from google.protobuf.descriptor import MethodDescriptor

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["DocumentService"]
SERVICE = _DESCRIPTOR.full_name
METHODS: dict[str, MethodDescriptor] = dict(_DESCRIPTOR.methods_by_name)

TABLE: dict[str, Rule] = {
    "UploadDocument": writes("document.tenant"),
    # A person's identity card is not for everybody who may look at rules.
    "DownloadDocument": writes(),
    "GetDocument": reads(),
    "ListDocuments": reads(),
    "DeleteDocument": writes(),
}


class DocumentService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        authenticator: Authenticator,
        settings: DocumentsSettings | None = None,
        clock: Clock = utc_now,
    ) -> None:
        settings = settings or DocumentsSettings()
        self._store = store
        self._vault = vault
        self.disposal = Disposal(store, vault, clock)
        """To be run beside the service."""
        uploads = Uploads(store, vault, Writes(store), self.disposal, clock, settings)
        unary: dict[str, Unary] = {
            "GetDocument": self._get,
            "ListDocuments": self._list,
            "DeleteDocument": self._delete,
        }
        streams: dict[str, Stream] = {"UploadDocument": uploads, "DownloadDocument": self._download}
        super().__init__(_DESCRIPTOR, TABLE, authenticator, unary, streams)

    async def _get(self, principal: Principal, request: pb.GetDocumentRequest) -> inventory_pb2.Document:
        common.require(validate.document(request.tenant, request.id))
        return attachments.shown(await self._there(request.tenant, request.id))

    async def _there(self, tenant: str, id: str) -> inventory_pb2.Document:
        found = await attachments.read(self._store, tenant, id)
        if found is None or found.deleting:
            raise NotFoundError(attachments.RESOURCE, id)
        return found

    async def _list(self, principal: Principal, request: pb.ListDocumentsRequest) -> pb.ListDocumentsResponse:
        common.require(common.identifier(request.tenant, "tenant"))
        after = pagetoken.decode("ListDocuments", request.tenant, request.page_token)
        size = page_size(request.page_size)
        begin = keys.document(request.tenant, after) if after else ""
        entries = await self._store.page(keys.document(request.tenant), begin, size + 1)
        if not entries and not after and await self._store.get(keys.tenant(request.tenant)) is None:
            raise NotFoundError("tenant", request.tenant)
        found = [codec.decode(inventory_pb2.Document, entry) for entry in entries[:size]]
        token = pagetoken.encode("ListDocuments", request.tenant, found[-1].id) if len(entries) > size else ""
        told = [attachments.shown(one) for one in found if not one.deleting]
        return pb.ListDocumentsResponse(documents=told, next_page_token=token)

    async def _delete(self, principal: Principal, request: pb.DeleteDocumentRequest) -> empty_pb2.Empty:
        common.require(validate.document(request.tenant, request.id))

        def check(document: inventory_pb2.Document) -> None:
            if document.uses:
                raise InUseError(attachments.RESOURCE, document.id, f"{document.uses} applications or numbers")
            if document.judged and not principal.is_operator:
                raise PermissionRefusedError("DeleteDocument")

        await self.disposal.delete(request.tenant, request.id, check)
        return empty_pb2.Empty()

    async def _download(
        self, principal: Principal, request: pb.DownloadDocumentRequest
    ) -> AsyncGenerator[pb.DownloadDocumentResponse, None]:
        common.require(validate.document(request.tenant, request.id))
        document = await self._recorded(request)
        yield pb.DownloadDocumentResponse(document=attachments.shown(document))
        async with aclosing(self._vault.get(document.tenant, document.object, request.offset)) as content:
            async for piece in content:
                yield pb.DownloadDocumentResponse(content=piece)

    async def _recorded(self, request: pb.DownloadDocumentRequest) -> inventory_pb2.Document:
        """The document, once the audit log is sure to tell that it was read."""

        async def attempt() -> inventory_pb2.Document:
            document = await self._there(request.tenant, request.id)
            if request.offset > document.size_bytes:
                raise InvalidFieldError(FieldViolation("offset", f"must be at most {document.size_bytes}"))
            read = audit_pb2.AuditChange(kind=attachments.RESOURCE, tenant=document.tenant, id=document.id, read=True)
            unchanged = Compare(codec.key_of(document), int(document.etag))
            await self._store.commit([unchanged], [outbox.origin().entry([read])])
            return document

        return await repeat(attempt)
