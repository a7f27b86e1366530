"""Documents of a real process over etcd and a folder: whole or not there, whatever is killed when."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import documents_pb2_grpc, provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.settings import EtcdSettings
from signalbox.store import codec, keys
from signalbox.store.etcd import EtcdStore
from support.documents import PDF, parts, sha256
from support.provisioning import Refusal
from support.stores import until

from .conftest import DEADLINE_S, ProvisioningProcess
from .test_command import signalbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.etcd import EtcdServer

MIB = 1024 * 1024


@pytest.fixture
def own(tmp_path: Path, own_etcd: EtcdServer) -> Iterator[ProvisioningProcess]:
    """A service of one's own, with tenant acme."""
    process = ProvisioningProcess(tmp_path, own_etcd.endpoint)
    start(process)
    with process.channel() as channel:
        request = provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme"))
        process.stub(channel).CreateTenant(request, timeout=10)
    yield process
    process.end()


def start(process: ProvisioningProcess) -> None:
    process.start()
    process.wait_until(ready=True)


def kill(process: ProvisioningProcess) -> None:
    assert process.process is not None
    process.process.kill()
    process.process.wait()


def document(number: int) -> bytes:
    """One of several, larger than what is written at once."""
    return PDF + random.Random(number).randbytes(6 * MIB)


def download(stub: documents_pb2_grpc.DocumentServiceStub, id: str) -> bytes:
    request = pb.DownloadDocumentRequest(tenant="acme", id=id)
    return b"".join(one.content for one in stub.DownloadDocument(request, timeout=30))


async def test_a_process_killed_amid_uploads_has_stored_all_or_nothing_of_each(
    own: ProvisioningProcess, own_etcd: EtcdServer
) -> None:
    contents = [document(number) for number in range(6)]
    told: dict[int, str] = {}
    hold = threading.Event()

    def slowly(number: int) -> Iterator[pb.UploadDocumentRequest]:
        for position, one in enumerate(parts(contents[number], size=MIB)):
            if number >= 3 and position == 6:
                # All but the last part.
                hold.wait(DEADLINE_S)
            yield one

    with own.channel() as channel:
        stub = documents_pb2_grpc.DocumentServiceStub(channel)
        calls = [stub.UploadDocument.future(slowly(number), timeout=60) for number in range(6)]
        for number in range(3):
            told[number] = calls[number].result().id
        await until(lambda: len(begun(own.directory)) == 3, "something to be written", DEADLINE_S)
        kill(own)
        hold.set()
        assert {call.code() for call in calls[3:]} == {grpc.StatusCode.UNAVAILABLE}
    start(own)
    with own.channel() as channel:
        stub = documents_pb2_grpc.DocumentServiceStub(channel)
        listed = stub.ListDocuments(pb.ListDocumentsRequest(tenant="acme"), timeout=10).documents
        assert {one.id for one in listed} == set(told.values())
        for number, id in told.items():
            assert download(stub, id) == contents[number]
        await everything_is_known(own, own_etcd)
        for number in range(6):
            made = stub.UploadDocument(parts(contents[number], size=MIB), timeout=60)
            assert made.sha256 == sha256(contents[number])
            assert download(stub, made.id) == contents[number]


def begun(directory: Path) -> list[Path]:
    """Objects that are being written."""
    return list((directory / "objects").rglob("*#*"))


async def everything_is_known(own: ProvisioningProcess, etcd: EtcdServer) -> None:
    """All that lies in the folder is a document's, or is noted to be swept."""
    store = EtcdStore.open(EtcdSettings(endpoints=[etcd.endpoint]))
    try:
        documents = (await store.list(keys.DOCUMENTS)).entries
        known = {codec.decode(inventory_pb2.Document, entry).object for entry in documents}
        noted = {keys.due_parts(keys.UPLOADS, one.key)[1] for one in (await store.list(keys.UPLOADS)).entries}
    finally:
        await store.close()
    folder = own.directory / "objects"
    there = {
        str(path.relative_to(folder)).partition("#")[0] for path in (folder / "documents").rglob("*") if path.is_file()
    }
    assert known <= there
    assert there - known == noted


def test_another_master_key_neither_reads_nor_writes(own: ProvisioningProcess) -> None:
    with own.channel() as channel:
        id = documents_pb2_grpc.DocumentServiceStub(channel).UploadDocument(parts(PDF), timeout=10).id
    kill(own)
    key = own.directory / "objects.key"
    right = key.read_text()
    key.write_text("another" * 6)
    start(own)
    with own.channel() as channel:
        stub = documents_pb2_grpc.DocumentServiceStub(channel)
        for call in (
            lambda: download(stub, id),
            lambda: stub.UploadDocument(parts(b"%PDF-2.0 another", media_type="application/pdf"), timeout=10),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            refusal = Refusal()
            refusal.take(caught.value)  # type: ignore[arg-type]
            assert refusal.reason == "CONTENT_LOST"
            assert "is under master key" in refusal.message
    kill(own)
    key.write_text(right)
    start(own)
    with own.channel() as channel:
        assert download(documents_pb2_grpc.DocumentServiceStub(channel), id) == PDF


def test_a_document_goes_up_and_comes_down_by_the_command(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "licence.pdf").write_bytes(document(1))
    assert signalbox(directory, "tenants create papers").returncode == 0
    done = signalbox(directory, f"inventory documents upload --tenant papers other={tmp_path}/licence.pdf -o json")
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    done = signalbox(directory, f"inventory documents get --tenant papers {made['id']} --to {tmp_path}/copy.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.pdf").read_bytes() == document(1)
    records = json.loads(signalbox(directory, f"audit list --kind document --id {made['id']} -o json").stdout)
    assert [one["method"] for one in records] == ["DownloadDocument", "UploadDocument"]
    assert records[0]["change"]["read"] is True
    assert records[0]["actor"]["name"] == "certificate client"
