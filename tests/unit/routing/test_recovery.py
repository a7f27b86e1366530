"""Memory maps that somebody else writes, that are lost while in use, or that can be made at last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import lmdb
import pytest
from signalbox.routing import keeper
from signalbox.store import mapplace
from signalbox.store.mapfile import DirectoryError
from signalbox.store.mapplace import condemn, lock
from signalbox.store.paged import PagedStore
from support import routing
from support.following import DIGITS, Watched, fill, following
from support.routing import put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.base import Revisions


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TURN_S", 0.01), ("CARRY_S", 0.02), ("KNOWN_S", 0.1), ("WAIT_S", 0.01), ("AGAIN_S", 0.1)):
        monkeypatch.setattr(keeper, name, seconds)
    monkeypatch.setattr(mapplace, "TRIES", 1)


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    store = Watched()
    yield store
    await store.close()


@pytest.fixture
def paged(store: Watched) -> PagedStore:
    return PagedStore(store)


async def test_who_finds_the_map_being_written_writes_it_when_the_other_is_gone(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    busy = lock(tmp_path / "rules.map")
    async with following(store, tmp_path) as followed:
        assert followed.directory.writer is None
        await put(paged, routing.number(DIGITS[3], ("line-2",)))
        await followed.reached()
        await followed.assert_right()
        os.close(busy)
        await until(lambda: followed.directory.writer is not None, "the lock")
        await followed.mapped()
        await followed.assert_right()


async def test_a_map_that_is_lost_while_it_is_written_is_made_anew(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        assert followed.replica.ready
        condemn(tmp_path / "rules.map", DirectoryError("a record can't be read"))
        writer = followed.directory.writer
        assert writer is not None
        write = writer._write

        def panic(*_: object) -> None:
            monkeypatch.setattr(writer, "_write", write)
            raise lmdb.PanicError("the disk failed")

        monkeypatch.setattr(writer, "_write", panic)
        await put(paged, routing.number(DIGITS[3], ("line-2",)))
        await until(lambda: writer.lost, "the loss")
        assert not followed.replica.ready
        await until(lambda: followed.replica.ready, "a new map")
        await followed.mapped()
        await followed.assert_right()


async def test_what_changes_while_a_map_is_made_at_last_is_obeyed(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(paged)
    place = tmp_path / "blocked"
    place.write_bytes(b"")
    revisions = store.revisions

    async def changed(prefix: str) -> Revisions:
        if "numbers" in prefix and not place.is_file():
            monkeypatch.setattr(store, "revisions", revisions)
            await put(paged, routing.number(DIGITS[3], ("line-2",)))
        return await revisions(prefix)

    async with following(store, place) as followed:
        assert followed.directory.map_revision == 0
        store.held.clear()
        monkeypatch.setattr(store, "revisions", changed)
        place.unlink()
        await until(lambda: followed.directory.writer is not None and followed.keeper._finished, "the map")
        store.held.set()
        await followed.mapped()
        await followed.assert_right()


async def test_what_rests_on_a_directory_is_forgotten_when_it_is_replaced(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        for _ in range(2):
            followed.book.rules.remember("acme", "key", "found")
        assert followed.book.rules.recall("acme", "key") == "found"
        await followed.keeper.list("rules/")
        assert followed.book.rules.recall("acme", "key") is None
