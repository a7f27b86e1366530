"""Another cluster of etcd in the place of the one whose rules are in the map."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from signalbox.routing import keeper
from signalbox.store.paged import PagedStore
from support import routing
from support.following import (
    DIGITS,
    Following,
    Watched,
    fill,
    following,
)
from support.routing import put
from support.stores import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def exchange(store: Watched) -> None:
    """Put another cluster in the place of the store, whose pages have the same revisions and other content."""
    other = Watched()
    other.cluster_id = store.cluster_id + 1
    paged = PagedStore(other)
    for n in range(0, 300, 60):
        await put(paged, *(routing.number(digits, ("line-7",)) for digits in DIGITS[n : n + 60]))
        await put(paged, *(routing.line(f"line-{one}", concurrent_calls=5) for one in range(n, n + 60)))
    for name in ("_entries", "_past", "_history", "_revision", "cluster_id"):
        setattr(store, name, getattr(other, name))
    store._wake()


async def anew(*followed: Following) -> None:
    await until(lambda: all(one.book.rules.line("acme", "line-0").concurrent_calls == 5 for one in followed), "it")
    for one in followed:
        await one.reached()
        await one.assert_right()


async def test_revisions_of_another_cluster_prove_nothing(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await fill(paged)
    before = await store.revision()
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        await exchange(store)
        assert await store.revision() == before
        await anew(followed)
        await put(paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)))
        await followed.mapped()
        await followed.assert_right()


async def test_who_does_not_write_waits_for_a_map_of_the_cluster_that_is_there(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    """The map is brought from elsewhere, for a process opens a file once only."""
    await fill(paged)
    async with following(store, tmp_path) as writer:
        await writer.mapped()
    (tmp_path / "reader").mkdir()
    shutil.copy(tmp_path / "rules.map", tmp_path / "reader/rules.map")
    async with following(store, tmp_path / "reader", write=False) as reader:
        assert reader.directory.map_revision > 0
        await exchange(store)
        async with following(store, tmp_path) as writer:
            await anew(writer)
            await writer.mapped()
        shutil.copy(tmp_path / "rules.map", tmp_path / "reader/new")
        # As set_aside makes room for a new one.
        (tmp_path / "reader/rules.map-lock").unlink()
        (tmp_path / "reader/new").replace(tmp_path / "reader/rules.map")
        await anew(reader)
        assert reader.directory.unwritten == 0


async def test_a_map_of_another_cluster_is_made_anew(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    await exchange(store)
    async with following(store, tmp_path) as followed:
        await anew(followed)
        await followed.mapped()
        assert followed.directory.map_cluster == store.cluster_id
    store.fetched.clear()
    async with following(store, tmp_path) as followed:
        assert store.fetched == []
        await followed.assert_right()


async def test_without_a_writer_a_map_of_another_cluster_is_not_used(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALONE_S", 0.1)
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    async with following(store, tmp_path, write=False) as late:
        await exchange(store)
        await anew(late)
    async with following(store, tmp_path, write=False) as later:
        await anew(later)
