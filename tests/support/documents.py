"""The services that keep documents, in this process over any store, with a folder for content."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from signalbox import rpc
from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import documents_pb2_grpc, inventory_pb2_grpc, provisioning_pb2
from signalbox.api.provisioning.v1 import inventory_pb2 as stock
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.domain.inventory import State
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.inventory import attachments
from signalbox.provisioning.inventory.documents import DocumentService
from signalbox.provisioning.inventory.service import InventoryService
from signalbox.settings import DocumentsSettings, ObjectsSettings
from signalbox.store import codec, keys
from signalbox.store.envelope import MasterKeys, Vault
from signalbox.store.inventory import Page
from signalbox.store.objectstore import ObjectStore

from support import provisioning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from signalbox.store.base import Store

IN_USE = {State.APPLIED, State.APPROVED, State.ACTIVE, State.SUSPENDED}
RETENTION_S = 1000 * 24 * 3600
PDF = b"%PDF-1.7\n" + b"licence" * 1000
PNG = b"\x89PNG\r\n\x1a\n" + b"card" * 1000
JPEG = b"\xff\xd8\xff\xe0" + b"photo" * 1000
MEDIA_TYPES = {PDF: "application/pdf", PNG: "image/png", JPEG: "image/jpeg"}
LICENCE, CARD, ORDER = 1, 2, 3


def open_vault(store: Store, place: Path | ObjectsSettings, secret: str = "m" * 40) -> Vault:
    """A vault over a folder, or what settings say."""
    settings = place if isinstance(place, ObjectsSettings) else ObjectsSettings(location=str(place))
    objects = ObjectStore.open(settings)
    return Vault.over(objects, store, MasterKeys(secret))


def parts(content: bytes, size: int = 1000, request_id: str = "", **fields: Any) -> Iterator[pb.UploadDocumentRequest]:
    """The requests of an upload."""
    described = {
        "tenant": "acme",
        "kind": LICENCE,
        "file_name": "licence.pdf",
        "media_type": MEDIA_TYPES.get(content, "application/pdf"),
        "size_bytes": len(content),
        **fields,
    }
    yield pb.UploadDocumentRequest(document=inventory_pb2.Document(**described), request_id=request_id)
    for begin in range(0, len(content), size):
        yield pb.UploadDocumentRequest(content=content[begin : begin + size])


class Papers:
    """The services, with tenants acme and best and numbers 4001230000 to 4001230099."""

    def __init__(self, store: Store, folder: Path | None, service: DocumentService, channel: grpc.aio.Channel) -> None:
        self.store = store
        self.folder = folder
        self.service = service
        self.api = documents_pb2_grpc.DocumentServiceStub(channel)
        self.inventory = inventory_pb2_grpc.InventoryServiceStub(channel)
        self.rules = provisioning.Stub(channel)

    async def fill(self) -> None:
        """Create tenants and the range."""
        for tenant in ("acme", "best"):
            await self.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        made = inventory_pb2.NumberRange(id="main", first="4001230000", last="4001230099")
        await self.inventory.CreateNumberRange(stock.CreateNumberRangeRequest(number_range=made))

    async def upload(self, content: bytes = PDF, api: Any = None, **fields: Any) -> inventory_pb2.Document:
        """Upload a document."""
        found: inventory_pb2.Document = await (api or self.api).UploadDocument(parts(content, **fields))
        return found

    async def three(self, tenant: str = "acme") -> list[inventory_pb2.NumberDocument]:
        """What an application needs, uploaded."""
        return [
            inventory_pb2.NumberDocument(id=(await self.upload(content, kind=kind, tenant=tenant)).id)
            for kind, content in ((LICENCE, PDF), (CARD, PNG), (ORDER, JPEG))
        ]

    async def apply(self, number: str, documents: list[inventory_pb2.NumberDocument]) -> stock.InventoryNumber:
        """Reserve a number for acme, and apply for it."""
        await self.inventory.ReserveNumber(stock.ReserveNumberRequest(number=number, tenant="acme"))
        found: stock.InventoryNumber = await self.inventory.ApplyForNumber(
            stock.ApplyForNumberRequest(number=number, documents=documents)
        )
        return found

    async def get(self, id: str, tenant: str = "acme") -> inventory_pb2.Document:
        """What is known of a document."""
        found: inventory_pb2.Document = await self.api.GetDocument(pb.GetDocumentRequest(tenant=tenant, id=id))
        return found

    async def download(self, id: str, offset: int = 0, tenant: str = "acme", api: Any = None) -> bytes:
        """A document's content."""
        request = pb.DownloadDocumentRequest(tenant=tenant, id=id, offset=offset)
        return b"".join([one.content async for one in (api or self.api).DownloadDocument(request)])

    def files(self) -> list[Path]:
        """The documents that are in the folder."""
        assert self.folder is not None, "the content is elsewhere"
        return sorted(path for path in (self.folder / "documents").rglob("*") if path.is_file())


@asynccontextmanager
async def papers(
    store: Store,
    place: Path | ObjectsSettings,
    clock: Clock = utc_now,
    settings: DocumentsSettings | None = None,
) -> AsyncIterator[Papers]:
    """The services, whose callers are the operator unless they show an API key."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    service = DocumentService(store, open_vault(store, place), authenticator, settings, clock)
    service.add_to(server)
    InventoryService(store, authenticator, clock, RETENTION_S).add_to(server)
    provisioning.service(store, clock).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Papers(store, place if isinstance(place, Path) else None, service, channel)
    finally:
        await server.stop(None)


async def check_counts(store: Store) -> None:
    """What is counted of tenants' documents is what there is; what is due is due when the documents say so."""
    documents = [codec.decode(inventory_pb2.Document, entry) for entry in (await store.list(keys.DOCUMENTS)).entries]
    counts = Counter(one.tenant for one in documents if not one.judged)
    prefix = keys.document_count("")
    stored = {
        entry.key.removeprefix(prefix): inventory_pb2.TenantDocuments.FromString(entry.value).unnamed
        for entry in (await store.list(prefix)).entries
    }
    assert stored == counts
    due = {entry.key for entry in (await store.list(keys.DOCUMENTS_DUE)).entries}
    assert due == {
        keys.due(keys.DOCUMENTS_DUE, one.delete_time.seconds, f"{one.tenant}/{one.id}")
        for one in documents
        if one.HasField("delete_time")
    }
    assert all(one.HasField("delete_time") == (one.uses == 0) for one in documents)
    uses: Counter[tuple[str, str]] = Counter()
    for entry in (await store.list(keys.INVENTORY_PAGES)).entries:
        for number, holding in Page(keys.last_part(entry.key), entry).numbers():
            if holding.state in IN_USE:
                for named in await attachments.of_number(store, number, holding.tenant):
                    uses[holding.tenant, named.id] += 1
    assert {(one.tenant, one.id): one.uses for one in documents if one.uses} == {
        place: count for place, count in uses.items() if place[1]
    }


def sha256(content: bytes) -> bytes:
    """Its digest."""
    return hashlib.sha256(content).digest()
