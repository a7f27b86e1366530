"""Documents come in whole or not at all, are what they say they are, and are shown to whom they concern."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.provisioning import taking
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.inventory import uploading, validate
from signalbox.provisioning.inventory.documents import METHODS, TABLE
from signalbox.settings import DocumentsSettings
from signalbox.store import keys
from support.audit import forget, told, waiting
from support.documents import CARD, JPEG, LICENCE, PDF, PNG, check_counts, papers, parts, sha256
from support.provisioning import As, invalid, key, reason_of, refused
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from signalbox.api.types.v1 import inventory_pb2
    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.documents import Papers


@pytest.fixture
async def api(store: MemoryStore, clock: Clock, tmp_path: Path) -> AsyncIterator[Papers]:
    async with papers(store, tmp_path / "objects", clock) as made:
        await made.fill()
        yield made
        await check_counts(store)


async def test_what_was_uploaded_is_what_is_read(api: Papers) -> None:
    made = await api.upload(PDF, size=777)
    assert (made.tenant, made.kind, made.file_name, made.media_type) == (
        "acme",
        LICENCE,
        "licence.pdf",
        "application/pdf",
    )
    assert (made.size_bytes, made.sha256) == (len(PDF), sha256(PDF))
    assert (made.object, made.uses, made.judged) == ("", 0, False)
    assert await api.get(made.id) == made
    assert await api.download(made.id) == PDF
    (file,) = api.files()
    assert PDF[:100] not in file.read_bytes(), "it is encrypted"


@pytest.mark.parametrize("offset", [0, 1, 4999, len(PDF) - 1, len(PDF)])
async def test_a_download_begins_where_the_last_one_ended(api: Papers, offset: int) -> None:
    made = await api.upload(PDF)
    assert await api.download(made.id, offset) == PDF[offset:]


async def test_a_download_does_not_begin_beyond_the_end(api: Papers) -> None:
    made = await api.upload(PDF)
    with invalid() as refusal:
        await api.download(made.id, len(PDF) + 1)
    assert refusal.fields == {"offset": f"must be at most {len(PDF)}"}


@pytest.mark.parametrize(
    ("content", "fields", "wrong"),
    [
        (b"", {"size_bytes": 5}, {"content": "is required"}),
        (b"%PD", {}, {"content": "begins as neither PDF, PNG nor JPEG does"}),
        (b"MZ" + b"x" * 100, {}, {"content": "begins as neither PDF, PNG nor JPEG does"}),
        (PNG, {"media_type": "application/pdf"}, {"document.media_type": "the content is image/png"}),
        (PDF, {"size_bytes": 5}, {"document.size_bytes": f"the content has {len(PDF)} bytes"}),
        (PDF, {"sha256": b"x" * 32}, {"document.sha256": f"the content's is {sha256(PDF).hex()}"}),
        (PDF, {"sha256": b"x"}, {"document.sha256": "must be 32 bytes"}),
        (
            PDF,
            {"size_bytes": 0},
            {"document.size_bytes": "is required without document.sha256: one of them tells the end"},
        ),
        (PDF, {"size_bytes": 21 << 20}, {"document.size_bytes": "must be at most 20971520"}),
        (PDF, {"media_type": "text/html"}, {"document.media_type": "must be application/pdf, image/jpeg or image/png"}),
        (PDF, {"file_name": "../x.pdf"}, {"document.file_name": "must not have a path"}),
        (PDF, {"file_name": ""}, {"document.file_name": "must have 1 to 200 characters"}),
    ],
)
async def test_what_is_not_taken_is_named_and_leaves_nothing(
    api: Papers, content: bytes, fields: dict[str, Any], wrong: dict[str, str]
) -> None:
    with invalid() as refusal:
        await api.upload(content, **fields)
    assert refusal.fields == wrong
    assert api.files() == []
    assert not (await api.store.list(keys.DOCUMENTS)).entries


async def test_a_document_may_come_byte_by_byte(api: Papers) -> None:
    assert await api.download((await api.upload(PNG[:50], size=1, media_type="image/png")).id) == PNG[:50]


async def test_too_much_is_refused_before_it_has_all_come(api: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "DOCUMENT_BYTES_MAX", 5000)
    with invalid() as refusal:
        await api.upload(PDF, size_bytes=0, sha256=sha256(PDF))
    assert refusal.fields == {"content": "is more than 5000 bytes"}
    assert api.files() == []


async def test_messages_of_a_stream_have_their_order(api: Papers) -> None:
    head, part = next(parts(PDF)), pb.UploadDocumentRequest(content=PDF)
    for requests, wrong in (
        ([head, part, head], {"document": "must be in the first request only"}),
        ([head, pb.UploadDocumentRequest(content=b"x" * (taking.CHUNK_MAX + 1))], {"content"}),
        ([part], {"document.tenant", "document.file_name", "document.media_type", "document.size_bytes"}),
    ):
        with invalid() as refusal:
            await api.api.UploadDocument(requests)
        assert refusal.fields.keys() == set(wrong)
    assert api.files() == []


async def test_a_client_that_goes_away_leaves_nothing(api: Papers) -> None:
    call = api.api.UploadDocument()
    await call.write(next(parts(PDF)))
    await call.write(pb.UploadDocumentRequest(content=PDF[:2000]))
    await until(lambda: len(api.files()) == 1, "something to be begun")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: api.files() == [], "what was begun to be cleared up")
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.get("0" * 32)


async def test_an_upload_that_takes_too_long_is_given_up(api: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "UPLOAD_S", 0.2)
    call = api.api.UploadDocument()
    await call.write(next(parts(PDF)))
    with invalid() as refusal:
        await call
    assert refusal.fields == {"content": "was not taken in within 0 s"}


async def test_slow_uploads_of_a_tenant_leave_room_for_others(api: Papers) -> None:
    slow = [api.api.UploadDocument() for _ in range(uploading.AT_ONCE)]
    for call in slow:
        await call.write(next(parts(PDF)))
        await call.write(pb.UploadDocumentRequest(content=PDF))
    await until(lambda: len(api.files()) == uploading.AT_ONCE_TENANT, "as many as are taken in of a tenant")
    async with asyncio.timeout(10):
        await api.upload(PDF, tenant="best")
    for call in slow:
        await call.done_writing()
    assert len({(await call).id for call in slow}) == 1


async def test_an_upload_that_waits_too_long_for_its_turn_is_given_up(
    api: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [api.api.UploadDocument() for _ in range(uploading.AT_ONCE_TENANT)]
    for call in slow:
        await call.write(next(parts(PDF)))
        await call.write(pb.UploadDocumentRequest(content=PDF[:2000]))
    await until(lambda: len(api.files()) == len(slow), "all to be begun")
    monkeypatch.setattr(taking, "UPLOAD_S", 0.2)
    with invalid() as refusal:
        async with asyncio.timeout(10):
            await api.upload(PNG)
    assert refusal.fields == {"content": "was not taken in within 0 s"}
    for call in slow:
        call.cancel()
    await until(lambda: api.files() == [], "what was begun to be cleared up")


async def test_the_same_document_is_there_once(api: Papers, clock: Clock) -> None:
    first = await api.upload(PDF)
    clock.advance(100)
    again = await api.upload(PDF, file_name="other.pdf")
    assert (again.id, again.file_name) == (first.id, "licence.pdf")
    assert again.delete_time.seconds == first.delete_time.seconds + 100, "it stays as if it were new"
    assert (await api.upload(PDF, kind=CARD)).id != first.id, "of another kind it is another"
    assert len(await listed(api)) == 2


async def test_what_is_there_need_not_be_sent_again(api: Papers) -> None:
    first = await api.upload(PDF)

    def only_described() -> Iterator[pb.UploadDocumentRequest]:
        yield next(parts(PDF, sha256=sha256(PDF)))

    assert (await api.api.UploadDocument(only_described())).id == first.id
    assert len(api.files()) == 1
    for fields in ({"size_bytes": 5}, {"media_type": "image/png"}):
        with invalid() as refusal:
            await api.upload(PDF, **{"sha256": sha256(PDF), "media_type": "application/pdf", **fields})
        assert list(refusal.fields) == [f"document.{name}" for name in fields]


async def test_a_request_that_comes_again_gets_the_first_answer(api: Papers) -> None:
    first = await api.upload(PDF, request_id="a")
    assert await api.upload(PDF, request_id="a") == first
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"):
        await api.upload(PNG, request_id="a")
    assert len(await listed(api)) == 1


async def test_several_who_upload_the_same_all_get_it(api: Papers) -> None:
    made = await asyncio.gather(*(api.upload(PDF) for _ in range(6)))
    assert len({one.id for one in made}) == 1
    assert await api.download(made[0].id) == PDF


async def test_nobody_fills_the_store_with_what_nobody_needs(store: MemoryStore, clock: Clock, tmp_path: Path) -> None:
    async with papers(store, tmp_path / "objects", clock, DocumentsSettings(unused_max=2)) as made:
        await made.fill()
        first = await made.upload(PDF, kind=LICENCE)
        await made.upload(PDF, kind=CARD)
        with invalid() as refusal:
            await made.upload(PNG)
        assert refusal.fields == {
            "document.tenant": "has 2 documents that no application has named; at most 2",
        }
        assert len(made.files()) == 2
        await made.upload(PDF, tenant="best")
        await made.api.DeleteDocument(pb.DeleteDocumentRequest(tenant="acme", id=first.id))
        await made.upload(PNG)
        await check_counts(store)


async def test_those_who_upload_at_once_do_not_pass_the_limit(store: MemoryStore, clock: Clock, tmp_path: Path) -> None:
    async with papers(store, tmp_path / "objects", clock, DocumentsSettings(unused_max=2)) as made:
        await made.fill()
        told = await asyncio.gather(*(reason_of(made.upload(PDF + bytes([n]), size=10_000)) for n in range(5)))
        assert sorted(told) == ["INVALID_FIELD"] * 3 + ["OK"] * 2
        await check_counts(store)


async def test_a_tenant_that_is_not_there_uploads_nothing(api: Papers) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.upload(PDF, tenant="nobody")
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.api.ListDocuments(pb.ListDocumentsRequest(tenant="nobody"))
    assert api.files() == []


async def test_a_tenant_with_documents_is_not_deleted(api: Papers) -> None:
    made = await api.upload(PDF)
    delete = provisioning_pb2.DeleteTenantRequest(id="acme")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.rules.DeleteTenant(delete)
    await api.api.DeleteDocument(pb.DeleteDocumentRequest(tenant="acme", id=made.id))
    assert api.files() == []
    await api.rules.DeleteTenant(delete)


async def listed(api: Papers, size: int = 2) -> list[inventory_pb2.Document]:
    found: list[inventory_pb2.Document] = []
    token = ""
    while True:
        page = await api.api.ListDocuments(pb.ListDocumentsRequest(tenant="acme", page_size=size, page_token=token))
        found += page.documents
        token = page.next_page_token
        if not token:
            return found


async def test_documents_are_listed_page_by_page(api: Papers) -> None:
    made = [await api.upload(content, kind=kind) for content in (PDF, PNG, JPEG) for kind in (LICENCE, CARD)]
    await api.upload(PDF, tenant="best")
    for size in (1, 2, 5, 6, 100):
        assert await listed(api, size) == sorted(made, key=lambda one: one.id)
    with invalid():
        await api.api.ListDocuments(pb.ListDocumentsRequest(tenant="acme", page_token="x"))


async def test_every_access_has_its_record(api: Papers) -> None:
    await forget(api.store)
    made = await api.upload(PDF)
    await api.get(made.id)
    await api.download(made.id)
    await api.download(made.id, 100)
    caller = As(api.api, await key(api.rules, "acme", READER, "looks"))  # type: ignore[arg-type]
    assert await reason_of(caller.GetDocument(pb.GetDocumentRequest(tenant="acme", id=made.id))) == "OK"
    await api.api.DeleteDocument(pb.DeleteDocumentRequest(tenant="acme", id=made.id))
    records = [one for one in await waiting(api.store) if one.change.kind == "document"]
    assert told(records) == [
        ("document", "acme", made.id, did) for did in ("created", "read", "read", "changed", "deleted")
    ]
    assert [one.method for one in records[:3]] == ["UploadDocument", "DownloadDocument", "DownloadDocument"]


async def test_who_is_not_recorded_is_not_shown_anything(api: Papers) -> None:
    made = await api.upload(PDF)
    api.service.outbox._waiting = api.service.outbox._max
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "AUDIT_FULL"):
        await api.download(made.id)


async def test_content_that_is_lost_or_changed_is_told_as_such(api: Papers) -> None:
    made = await api.upload(PDF)
    (file,) = api.files()
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with refused(grpc.StatusCode.DATA_LOSS, "CONTENT_LOST"):
        await api.download(made.id)
    file.unlink()
    with refused(grpc.StatusCode.DATA_LOSS, "CONTENT_LOST"):
        await api.download(made.id)


@pytest.mark.parametrize("fields", [{}, {"sha256": sha256(PDF)}])
async def test_content_that_was_lost_may_be_uploaded_again(api: Papers, fields: dict[str, Any]) -> None:
    made = await api.upload(PDF)
    api.files()[0].unlink()
    again = await api.upload(PDF, **fields)
    assert (again.id, again.create_time) == (made.id, made.create_time)
    assert await api.download(made.id) == PDF
    assert len(api.files()) == 1


ID = "0" * 32
CASES = {
    "UploadDocument": ({OPERATOR, ADMINISTRATOR}, None),
    "DownloadDocument": ({OPERATOR, ADMINISTRATOR}, pb.DownloadDocumentRequest),
    "GetDocument": ({OPERATOR, ADMINISTRATOR, READER}, pb.GetDocumentRequest),
    "ListDocuments": ({OPERATOR, ADMINISTRATOR, READER}, pb.ListDocumentsRequest),
    "DeleteDocument": ({OPERATOR, ADMINISTRATOR}, pb.DeleteDocumentRequest),
}


def test_every_method_is_listed() -> None:
    assert set(CASES) == set(METHODS) == set(TABLE)


async def called(api: Any, method: str, tenant: str) -> str:
    kind: Any = CASES[method][1]
    if method == "UploadDocument":
        return await reason_of(api.UploadDocument(parts(PDF, tenant=tenant)))
    request = kind(tenant=tenant) if method == "ListDocuments" else kind(tenant=tenant, id=ID)
    call = getattr(api, method)(request)
    return await reason_of(anext(aiter(call)) if method == "DownloadDocument" else call)


@pytest.mark.parametrize("method", CASES)
async def test_who_may_call_it(api: Papers, method: str) -> None:
    for role, tenant in ((OPERATOR, ""), (ADMINISTRATOR, "acme"), (READER, "acme")):
        caller = As(api.api, await key(api.rules, tenant, role, f"k{role}"))  # type: ignore[arg-type]
        met = await called(caller, method, "acme")
        assert (met == "PERMISSION_REFUSED") is (role not in CASES[method][0]), (role, met)
        if role != OPERATOR:
            assert await called(caller, method, "best") == "PERMISSION_REFUSED"
            assert await called(caller, method, "") == "PERMISSION_REFUSED"
    assert await called(As(api.api, "sb.acme.x.y"), method, "acme") == "CREDENTIALS_REFUSED"  # type: ignore[arg-type]
