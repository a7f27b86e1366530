"""Objects in a bucket, over the S3 protocol."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import ObjectsUnavailableError
from signalbox.settings import ObjectsSettings, S3Settings
from signalbox.store import objectstore
from signalbox.store.memory import MemoryStore
from signalbox.store.objectstore import ObjectMissingError, ObjectStore
from support.documents import PDF, papers
from support.ports import free_port
from support.s3 import S3Server, s3_server
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def objects(server: S3Server) -> ObjectStore:
    return ObjectStore.open(server.settings())


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def read(objects: ObjectStore, name: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in objects.get(name, start, end)])


@pytest.mark.parametrize("size", [1, 5 * MIB, 17 * MIB])
async def test_an_object_is_stored_read_in_parts_and_deleted(objects: ObjectStore, server: S3Server, size: int) -> None:
    content = os.urandom(size)
    await objects.put("a/b", pieces(*(content[at : at + MIB] for at in range(0, size, MIB))))
    assert server.names() == ["a/b"]
    assert await read(objects, "a/b") == content
    assert await read(objects, "a/b", size // 2) == content[size // 2 :]
    assert await read(objects, "a/b", 0, 1) == content[:1]
    assert await objects.head("a/b") == size
    await objects.delete("a/b")
    await objects.delete("a/b")
    for missing in (objects.head("a/b"), read(objects, "a/b")):
        with pytest.raises(ObjectMissingError):
            await missing
    assert server.names() == []


async def test_what_is_not_whole_is_never_there(objects: ObjectStore, server: S3Server) -> None:
    begun: list[str] = []

    async def failing() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * MIB
        await until(lambda: bool(server.begun()), "parts to arrive")
        begun.extend(server.begun())
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await objects.put("a", failing())
    assert begun == ["a"]
    assert (server.names(), server.begun()) == ([], [])


async def test_a_prefix_is_a_store_of_its_own(server: S3Server) -> None:
    one, two = (ObjectStore.open(server.settings(prefix)) for prefix in ("/one", "/two/deep"))
    await one.put("a", pieces(b"1"))
    await two.put("a", pieces(b"2"))
    assert server.names() == ["one/a", "two/deep/a"]
    assert (await read(one, "a"), await read(two, "a")) == (b"1", b"2")
    for store in (one, two):
        await store.delete("a")


async def test_a_server_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectstore, "RETRY_S", 0.5)
    s3 = S3Settings(endpoint=f"http://127.0.0.1:{free_port()}", timeout_s=1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    away = ObjectStore.open(ObjectsSettings(location="s3://papers", s3=s3))
    for call in (away.head("a"), away.delete("a"), read(away, "a"), away.put("a", pieces(b"x"))):
        with pytest.raises(ObjectsUnavailableError):
            await call


async def test_a_bucket_that_does_not_exist_is_unavailable(server: S3Server) -> None:
    settings = server.settings()
    objects = ObjectStore.open(settings.model_copy(update={"location": "s3://nowhere"}))
    with pytest.raises(ObjectsUnavailableError):
        await objects.put("a", pieces(b"x"))


async def test_documents_over_it(server: S3Server) -> None:
    async with papers(MemoryStore(), server.settings("/documents")) as made:
        await made.fill()
        one = await made.upload(PDF)
        assert await made.download(one.id) == PDF
        assert await made.download(one.id, 5000) == PDF[5000:]
        name, mark = server.names()
        assert name.startswith("documents/documents/acme/")
        await made.service.disposal.delete("acme", one.id, lambda document: None)
        assert server.names() == [mark] == ["documents/signalbox-objects"]
