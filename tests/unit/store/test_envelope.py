"""What is sealed is read again from anywhere, and nothing else is; keys of tenants are made once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import inventory_pb2
from signalbox.errors import ConfigurationError, ContentLostError, ObjectsUnavailableError
from signalbox.settings import ObjectsSettings
from signalbox.store import envelope, keys
from signalbox.store.base import Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.envelope import (
    HEADER,
    PIECE,
    SEALED_PIECE,
    MasterKeys,
    TenantKeys,
    Vault,
)
from signalbox.store.memory import MemoryStore
from signalbox.store.objectstore import ObjectStore
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "documents/acme/x"


class Sealing:
    """A vault over a folder, and the file of its one object."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.folder = folder
        self.vault = self.with_master("a" * 40)

    def with_master(self, *secrets: str) -> Vault:
        objects = ObjectStore.open(ObjectsSettings(location=str(self.folder)))
        return Vault.over(objects, self.store, MasterKeys(*secrets))

    async def put(self, content: bytes, name: str = NAME, tenant: str = "acme") -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, len(content), 10_000):
                yield content[begin : begin + 10_000]

        await self.vault.put(tenant, name, pieces())

    async def get(self, offset: int = 0, name: str = NAME, tenant: str = "acme", vault: Vault | None = None) -> bytes:
        return b"".join([piece async for piece in (vault or self.vault).get(tenant, name, offset)])

    def file(self, name: str = NAME) -> Path:
        return self.folder / name


@pytest.fixture
def sealing(tmp_path: Path) -> Sealing:
    return Sealing(tmp_path / "objects")


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7])
async def test_what_was_sealed_is_read_from_anywhere(sealing: Sealing, size: int) -> None:
    content = os.urandom(size)
    await sealing.put(content)
    wanted = {0, 1, size // 2, PIECE - 1, PIECE, PIECE + 1, size - 1, size}
    for offset in wanted.intersection(range(size + 1)):
        assert await sealing.get(offset) == content[offset:], offset
    pieces = max(1, -(-size // PIECE))
    assert sealing.file().stat().st_size == HEADER + size + 16 * pieces


async def test_the_same_content_is_sealed_differently_each_time(sealing: Sealing) -> None:
    await sealing.put(b"x" * 1000)
    first = sealing.file().read_bytes()
    await sealing.put(b"x" * 1000)
    assert sealing.file().read_bytes()[HEADER:] != first[HEADER:]


@pytest.mark.parametrize("place", [0, 10, HEADER, HEADER + PIECE, HEADER + SEALED_PIECE + 5, -1])
async def test_a_bit_that_was_changed_is_noticed(sealing: Sealing, place: int) -> None:
    await sealing.put(os.urandom(3 * PIECE))
    content = bytearray(sealing.file().read_bytes())
    content[place] ^= 1
    sealing.file().write_bytes(content)
    with pytest.raises(ContentLostError):
        await sealing.get()


@pytest.mark.parametrize("left", [0, 10, HEADER, HEADER + 10, HEADER + SEALED_PIECE, HEADER + 2 * SEALED_PIECE + 50])
async def test_an_end_that_was_cut_off_is_noticed(sealing: Sealing, left: int) -> None:
    await sealing.put(os.urandom(3 * PIECE))
    sealing.file().write_bytes(sealing.file().read_bytes()[:left])
    for offset in (0, 2 * PIECE + 100, 3 * PIECE):
        with pytest.raises(ContentLostError):
            await sealing.get(offset)


async def test_pieces_that_were_exchanged_are_noticed(sealing: Sealing) -> None:
    await sealing.put(os.urandom(3 * PIECE))
    content = sealing.file().read_bytes()
    one, two = (content[HEADER + n * SEALED_PIECE : HEADER + (n + 1) * SEALED_PIECE] for n in (0, 1))
    sealing.file().write_bytes(content[:HEADER] + two + one + content[HEADER + 2 * SEALED_PIECE :])
    with pytest.raises(ContentLostError):
        await sealing.get()


async def test_an_object_in_the_place_of_another_is_noticed(sealing: Sealing) -> None:
    await sealing.put(b"mine")
    await sealing.put(b"yours", name="documents/acme/y")
    sealing.file().write_bytes(sealing.file("documents/acme/y").read_bytes())
    with pytest.raises(ContentLostError):
        await sealing.get()


async def test_each_tenant_has_a_key_of_its_own(sealing: Sealing) -> None:
    await sealing.put(b"mine")
    await sealing.put(b"yours", name="documents/best/x", tenant="best")
    with pytest.raises(ContentLostError):
        await sealing.get(tenant="best")
    with pytest.raises(ContentLostError, match="it is gone"):
        await sealing.get(tenant="nobody")


async def test_another_master_key_opens_nothing(sealing: Sealing) -> None:
    await sealing.put(b"mine")
    with pytest.raises(ContentLostError, match="it is under master key"):
        await sealing.get(vault=sealing.with_master("b" * 40))
    assert await sealing.get(vault=sealing.with_master("a" * 40)) == b"mine"


async def test_a_key_that_was_moved_or_changed_opens_nothing(sealing: Sealing) -> None:
    await sealing.put(b"mine")
    entry = await sealing.store.get(keys.data_key("acme"))
    assert entry is not None
    await sealing.store.commit([], [Put(keys.data_key("best"), entry.value)])
    with pytest.raises(ContentLostError, match="it was changed"):
        await sealing.get(tenant="best")
    wrapped = inventory_pb2.WrappedKey.FromString(entry.value)
    wrapped.nonce = b""
    await sealing.store.commit([], [Put(keys.data_key("acme"), wrapped.SerializeToString())])
    with pytest.raises(ContentLostError, match="it was changed"):
        await sealing.get()


async def test_of_several_who_need_a_key_first_all_get_the_same(sealing: Sealing) -> None:
    made = await asyncio.gather(*(TenantKeys(sealing.store, MasterKeys("a" * 40)).made("acme") for _ in range(5)))
    assert len(set(made)) == 1


async def test_a_new_master_key_takes_over_from_the_earlier_one(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "PAGE", 2)
    for tenant in ("acme", "best", "chang", "dong", "east"):
        await sealing.put(tenant.encode(), name=f"documents/{tenant}/x", tenant=tenant)
    assert await sealing.vault.rewrap() == 0, "there is one"
    both = sealing.with_master("b" * 40, "a" * 40)
    await sealing.put(b"new", name="documents/fang/x", tenant="fang")
    assert await sealing.get(vault=both, name="documents/best/x", tenant="best") == b"best"
    assert sum(await asyncio.gather(both.rewrap(), sealing.with_master("b" * 40, "a" * 40).rewrap())) == 6
    assert await both.rewrap() == 0
    for tenant in ("acme", "best", "chang", "dong", "east"):
        alone = sealing.with_master("b" * 40)
        assert await sealing.get(vault=alone, name=f"documents/{tenant}/x", tenant=tenant) == tenant.encode()
    with pytest.raises(ContentLostError, match="it is under master key"):
        await sealing.get()


async def test_a_key_that_cannot_be_read_does_not_keep_others_under_the_earlier_master_key(sealing: Sealing) -> None:
    for tenant in ("acme", "best", "chang", "dong"):
        await sealing.put(tenant.encode(), name=f"documents/{tenant}/x", tenant=tenant)
    foreign = MasterKeys("c" * 40).present.wrap("chang", bytes(32)).SerializeToString()
    damaged, strange = keys.data_key("acme"), keys.data_key("chang")
    await sealing.store.commit([], [Put(damaged, b"\xff"), Put(strange, foreign)])
    with capture_logs() as logs:
        assert await sealing.with_master("b" * 40, "a" * 40).rewrap() == 2
    assert [(log["event"], log["key"]) for log in logs] == [
        ("data_key_not_rewrapped", damaged), ("data_key_not_rewrapped", strange),
    ]  # fmt: skip
    alone = sealing.with_master("b" * 40)
    assert await sealing.get(vault=alone, name="documents/dong/x", tenant="dong") == b"dong"
    entry = await sealing.store.get(strange)
    assert entry is not None
    assert entry.value == foreign
    for use in (sealing.get(), sealing.put(b"new")):
        with pytest.raises(DamagedValueError, match=damaged):
            await use


async def test_what_is_still_there_is_not_deleted(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: ObjectStore, name: str) -> None:
        pass

    await sealing.put(b"mine")
    monkeypatch.setattr(ObjectStore, "delete", nothing)
    with pytest.raises(ObjectsUnavailableError, match="is still there"):
        await sealing.vault.delete(NAME)
    monkeypatch.undo()
    await sealing.vault.delete(NAME)
    assert not await sealing.vault.holds(NAME)


def test_the_master_key_is_made_once_and_is_no_short_word(tmp_path: Path) -> None:
    file = tmp_path / "objects.key"
    first = MasterKeys.read(file)
    assert (first.present.id, first.several) == (MasterKeys.read(file).present.id, False)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("b" * 40 + "\n" + file.read_text())
    assert MasterKeys.read(file).several
    assert MasterKeys.read(file).present.id != first.present.id
    for bad in ("secret\n", "b" * 40 + "\nsecret\n"):
        file.write_text(bad)
        with pytest.raises(ConfigurationError, match="at least 32 characters"):
            MasterKeys.read(file)
