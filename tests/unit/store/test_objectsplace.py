"""Another object store than the one that content was put into is noticed, whoever died while it was marked."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import ObjectsUnavailableError, StoreUnavailableError
from signalbox.settings import ObjectsSettings
from signalbox.store import keys, objectsplace
from signalbox.store.base import Delete
from signalbox.store.memory import MemoryStore
from signalbox.store.objectsplace import ObjectsPlace
from signalbox.store.objectstore import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.store.base import Compare, Put


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def place(store: MemoryStore, folder: Path) -> ObjectsPlace:
    return ObjectsPlace(store, ObjectStore.open(ObjectsSettings(location=str(folder))))


def mark(folder: Path) -> Path:
    return folder / objectsplace.NAME


async def test_the_first_that_is_used_is_the_one(store: MemoryStore, tmp_path: Path) -> None:
    await place(store, tmp_path / "one").check()
    await place(store, tmp_path / "one").check()
    with pytest.raises(ObjectsUnavailableError, match="not the object store"):
        await place(store, tmp_path / "two").check()
    assert not mark(tmp_path / "two").exists(), "it is not made another one"
    await asyncio.to_thread(shutil.move, mark(tmp_path / "one"), mark(tmp_path / "two"))
    await place(store, tmp_path / "two").check()
    with pytest.raises(ObjectsUnavailableError, match="not the object store"):
        await place(store, tmp_path / "one").check()


async def test_one_that_another_cluster_has_marked_is_taken_as_it_is(store: MemoryStore, tmp_path: Path) -> None:
    await place(store, tmp_path).check()
    before = mark(tmp_path).read_bytes()
    await store.commit([], [Delete(keys.OBJECTS_ID)])
    await place(store, tmp_path).check()
    assert mark(tmp_path).read_bytes() == before


async def test_of_several_who_come_first_all_get_the_same(store: MemoryStore, tmp_path: Path) -> None:
    await asyncio.gather(*(place(store, tmp_path).check() for _ in range(6)))
    await place(store, tmp_path).check()


@pytest.mark.parametrize("commits", [0, 1])
async def test_who_dies_while_it_is_marked_is_followed_by_another(tmp_path: Path, commits: int) -> None:
    class Dying(MemoryStore):
        """Answers so many commits."""

        left = commits

        async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
            if not self.left:
                raise StoreUnavailableError("dead")
            self.left -= 1
            return await super().commit(compares, writes)

    store = Dying()
    with pytest.raises(StoreUnavailableError):
        await place(store, tmp_path).check()
    store.left = 10
    await place(store, tmp_path).check()
    mark(tmp_path).unlink()
    with pytest.raises(ObjectsUnavailableError, match="not the object store"):
        await place(store, tmp_path).check()
