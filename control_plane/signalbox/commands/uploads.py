"""``signalbox inventory documents``: documents of applications, up and down."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import documents_pb2_grpc
from signalbox.api.types.v1 import inventory_pb2
from signalbox.commands import sending
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.fetching import TRANSFER_S, fetch
from signalbox.commands.output import Format, clean, output_option, print_messages, print_table
from signalbox.commands.retrying import retries, streamed
from signalbox.commands.stocktext import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import grpc

PAGE_SIZE = 1_000
KINDS = {
    "business-licence": inventory_pb2.DOCUMENT_KIND_BUSINESS_LICENCE,
    "legal-person-id": inventory_pb2.DOCUMENT_KIND_LEGAL_PERSON_ID,
    "signed-order": inventory_pb2.DOCUMENT_KIND_SIGNED_ORDER,
    "other": inventory_pb2.DOCUMENT_KIND_OTHER,
}
_COLUMNS = ("id", "document", "file", "bytes", "uses", "deleted (UTC)")

File = tuple[str, Path]
"""A kind, as the options have it, and a file."""


def short_kind(kind: inventory_pb2.DocumentKind.ValueType) -> str:
    """A kind of documents as the options have it."""
    return next((name for name, value in KINDS.items() if value == kind), str(kind))


class FileType(click.ParamType[File]):
    """KIND=FILE."""

    name = "kind=file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> File:
        """Fails unless the kind is one, and the file is there."""
        if isinstance(value, tuple):
            return value
        kind, _, path = str(value).partition("=")
        if kind not in KINDS or not path:
            self.fail(f"{value!r}: KIND=FILE is expected, the kind one of {', '.join(KINDS)}", param, ctx)
        if not Path(path).is_file():
            self.fail(f"{path}: no such file", param, ctx)
        return kind, Path(path)


FILE = FileType()


@click.group("documents")
def documents() -> None:
    """Documents of applications: upload, show, fetch and delete them."""


_tenant_option = click.option("--tenant", required=True, help="Tenant whose documents they are.")


@documents.command("upload")
@click.argument("files", type=FILE, metavar="KIND=FILE...", nargs=-1, required=True)
@_tenant_option
@retries
@connects_to("provisioning")
@output_option
def _upload(
    files: Sequence[File], tenant: str, retry_for: float, connection: Connection, output_format: Format
) -> None:
    """Upload files: PDF, PNG or JPEG of at most 20 MiB each.

    KIND is business-licence, legal-person-id, signed-order or other. What is there already is not sent again.
    """
    _print([upload(connection, tenant, kind, file, retry_for) for kind, file in files], output_format)


@documents.command("list")
@_tenant_option
@connects_to("provisioning")
@output_option
def _list(tenant: str, connection: Connection, output_format: Format) -> None:
    """Show the documents of a tenant, and when they are deleted."""
    with connection.channel() as channel, told():
        _print(list(_listed(channel, tenant, connection.timeout_s)), output_format)


@documents.command("get")
@click.argument("id")
@_tenant_option
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes; must not be there.  [default: the document's file name, here, unless it begins with a dot]",
)
@retries
@connects_to("provisioning")
def _get(id: str, tenant: str, to: Path | None, retry_for: float, connection: Connection) -> None:
    """Fetch a document. That you did is recorded.

    What was interrupted goes on where it was. The file is there when it is whole, and has the SHA-256 of what was
    uploaded.
    """
    with connection.channel() as channel, told():
        stub = documents_pb2_grpc.DocumentServiceStub(channel)
        document = stub.GetDocument(pb.GetDocumentRequest(tenant=tenant, id=id), timeout=connection.timeout_s)
    target = to or _named(document)
    part = target.with_name(f"{target.name}.{id}.part")

    def open_(channel: grpc.Channel, offset: int) -> Iterable[pb.DownloadDocumentResponse]:
        asked = pb.DownloadDocumentRequest(tenant=tenant, id=id, offset=offset)
        return documents_pb2_grpc.DocumentServiceStub(channel).DownloadDocument(asked, timeout=TRANSFER_S)

    fetch(connection, target, part, document.size_bytes, document.sha256.hex(), open_, retry_for)


@documents.command("delete")
@click.argument("id")
@_tenant_option
@connects_to("provisioning")
def _delete(id: str, tenant: str, connection: Connection) -> None:
    """Delete a document that no application needs: its content is gone."""
    with connection.channel() as channel, told():
        stub = documents_pb2_grpc.DocumentServiceStub(channel)
        stub.DeleteDocument(pb.DeleteDocumentRequest(tenant=tenant, id=id), timeout=TRANSFER_S)
    click.echo(f"deleted document {id}")


def upload(connection: Connection, tenant: str, kind: str, file: Path, retry_s: float) -> inventory_pb2.Document:
    """Upload a file; a refusal is told and ends the command."""
    content = sending.content_of(file)
    document = inventory_pb2.Document(
        tenant=tenant,
        kind=KINDS[kind],
        file_name=file.name,
        media_type=mimetypes.guess_type(file.name)[0] or "",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
    )

    def open_(channel: grpc.Channel) -> Iterable[inventory_pb2.Document]:
        first = pb.UploadDocumentRequest(document=document)
        sent = sending.requests(file.name, content, first, lambda piece: pb.UploadDocumentRequest(content=piece))
        return [documents_pb2_grpc.DocumentServiceStub(channel).UploadDocument(sent, timeout=TRANSFER_S)]

    with told():
        (made,) = streamed(connection, open_, retry_s)
    return made


def _named(document: inventory_pb2.Document) -> Path:
    """Here, by the name that whoever uploaded it gave it. Raises UsageError for one that other programs may obey."""
    if document.file_name.startswith("."):
        raise click.UsageError(f"{clean(document.file_name)} is the name of a hidden file: name another with --to")
    return Path(document.file_name)


def _listed(channel: grpc.Channel, tenant: str, timeout_s: float) -> Iterator[inventory_pb2.Document]:
    stub, token = documents_pb2_grpc.DocumentServiceStub(channel), ""
    while True:
        request = pb.ListDocumentsRequest(tenant=tenant, page_size=PAGE_SIZE, page_token=token)
        page = stub.ListDocuments(request, timeout=timeout_s)
        yield from page.documents
        token = page.next_page_token
        if not token:
            return


def _print(found: Sequence[inventory_pb2.Document], output_format: Format) -> None:
    if output_format == "table":
        print_table(_COLUMNS, map(_row, found))
    else:
        print_messages(found, output_format)


def _row(one: inventory_pb2.Document) -> Sequence[str]:
    end = moment(one.delete_time) if one.HasField("delete_time") else ""
    return one.id, short_kind(one.kind), clean(one.file_name), str(one.size_bytes), str(one.uses), end
