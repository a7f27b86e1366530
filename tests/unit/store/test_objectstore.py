"""Objects in a folder: whole or not at all. What a bucket does besides is tested against one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from signalbox.errors import ConfigurationError, ObjectsUnavailableError
from signalbox.settings import ObjectsSettings, S3Settings
from signalbox.store.objectstore import ObjectMissingError, ObjectStore
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LARGE = 12 * 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "objects"


@pytest.fixture
def objects(folder: Path) -> ObjectStore:
    return ObjectStore.open(ObjectsSettings(location=str(folder)))


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def read(objects: ObjectStore, name: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in objects.get(name, start, end)])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_an_object_is_stored_read_in_parts_and_deleted(objects: ObjectStore, folder: Path) -> None:
    await objects.put("a/b/c", pieces(b"0123", b"456789"))
    assert await read(objects, "a/b/c") == b"0123456789"
    assert await read(objects, "a/b/c", 7) == b"789"
    assert await read(objects, "a/b/c", 2, 5) == b"234"
    assert await objects.head("a/b/c") == 10
    await objects.delete("a/b/c")
    await objects.delete("a/b/c")
    await objects.delete("never/there")
    for missing in (objects.head("a/b/c"), read(objects, "a/b/c")):
        with pytest.raises(ObjectMissingError, match="a/b/c"):
            await missing
    assert files(folder) == []


async def test_what_is_not_whole_is_never_there(objects: ObjectStore, folder: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * LARGE
        with pytest.raises(ObjectMissingError):
            await objects.head("a")
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await objects.put("a", failing())
    assert files(folder) == []


async def test_who_is_cancelled_while_storing_leaves_nothing(objects: ObjectStore, folder: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * LARGE
        await asyncio.Event().wait()

    storing = asyncio.create_task(objects.put("a", endless()))
    await until(lambda: files(folder) == ["a#1"], "something to be written")
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert files(folder) == []


async def test_what_a_killed_process_has_left_is_deleted_with_the_object(objects: ObjectStore, folder: Path) -> None:
    for name in ("a#1", "a#2", "ab#1"):
        (folder / name).write_bytes(b"x")
    await objects.delete("a")
    assert files(folder) == ["ab#1"]


async def test_a_folder_that_cannot_be_written_is_unavailable(objects: ObjectStore, folder: Path) -> None:
    (folder / "a").write_bytes(b"a file in the place of a folder")
    with pytest.raises(ObjectsUnavailableError):
        await objects.put("a/b", pieces(*[b"x" * 1024 * 1024] * 100))
    with pytest.raises(ObjectsUnavailableError):
        await read(objects, "a", 1000)


def test_a_folder_is_for_its_owner_alone(objects: ObjectStore, folder: Path) -> None:
    assert folder.stat().st_mode & 0o077 == 0


def test_what_cannot_be_opened_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"objects\.location"):
        ObjectStore.open(ObjectsSettings(location=str(tmp_path / "file" / "x")))
    s3 = S3Settings(access_key_id="x", secret_key_file=tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"objects\.s3\.secret_key_file"):
        ObjectStore.open(ObjectsSettings(location="s3://bucket", s3=s3))
    with pytest.raises(ConfigurationError, match=r"objects\.location"):
        ObjectStore.open(ObjectsSettings(location="s3://"))
    with pytest.raises(ValidationError, match="access_key_id and secret_key_file go together"):
        S3Settings(access_key_id="x")
