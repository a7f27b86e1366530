"""A prefix followed for ever."""

from __future__ import annotations

import asyncio
import contextlib
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from signalbox.store.base import Change, Delete, Entry, Listing, Put
from signalbox.store.memory import MemoryStore
from signalbox.store.mirror import Mirror
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Copy:
    """What the owner of a mirror keeps."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.resets: list[int] = []
        self.revisions: list[int] = []

    async def reset(self, listing: Listing) -> None:
        self.resets.append(listing.revision)
        self.entries = {entry.key: entry for entry in listing.entries}

    async def change(self, changes: Sequence[Change], revision: int) -> None:
        self.revisions.append(revision)
        for change in changes:
            if change.entry:
                self.entries[change.key] = change.entry
            else:
                del self.entries[change.key]


@pytest.fixture
def store() -> MemoryStore:
    """An empty store that tells its progress often."""
    return MemoryStore(progress_interval_s=0.05)


@asynccontextmanager
async def following(
    store: MemoryStore, copy: Copy, *, start_revision: int = 0, cluster: int = 1, far_behind: int = 5_000
) -> AsyncIterator[Mirror]:
    """A mirror that runs meanwhile."""
    mirror = Mirror(
        store,
        "p/",
        on_reset=copy.reset,
        on_changes=copy.change,
        start=(cluster, start_revision),
        far_behind=far_behind,
        retry_s=0.01,
    )
    task = asyncio.create_task(mirror.run())
    try:
        yield mirror
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def assert_same(store: MemoryStore, copy: Copy, mirror: Mirror) -> None:
    """The copy becomes what the store has."""
    listing = await store.list("p/")
    await until(lambda: mirror.revision >= listing.revision)
    assert copy.entries == {entry.key: entry for entry in listing.entries}


async def put(store: MemoryStore, *keys: str) -> int:
    return await store.commit([], [Put(key, b"v") for key in keys])


async def test_it_lists_once_and_then_follows(store: MemoryStore) -> None:
    await put(store, "p/a", "p/b", "q")
    copy = Copy()
    async with following(store, copy) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        assert copy.resets == [2]
        await put(store, "p/c")
        await store.commit([], [Delete("p/a")])
        await put(store, "q2")
        await assert_same(store, copy, mirror)
        assert set(copy.entries) == {"p/b", "p/c"}
        assert copy.resets == [2]
        assert copy.revisions == sorted(copy.revisions)


async def test_from_a_snapshot_it_gets_only_what_has_changed_since(store: MemoryStore) -> None:
    start = await put(store, "p/a")
    copy = Copy()
    await copy.reset(await store.list("p/"))
    await put(store, "p/b")
    async with following(store, copy, start_revision=start) as mirror:
        await assert_same(store, copy, mirror)
        await asyncio.wait_for(mirror.synced.wait(), 5)
    assert copy.resets == [start]


async def test_an_old_snapshot_is_listed_anew(store: MemoryStore) -> None:
    start = await put(store, "p/a")
    await store.commit([], [Delete("p/a")])
    store.compact(await put(store, "p/b"))
    copy = Copy()
    async with following(store, copy, start_revision=start) as mirror:
        await assert_same(store, copy, mirror)
    assert len(copy.resets) == 1


async def test_a_snapshot_from_a_future_that_never_came_is_listed_anew(store: MemoryStore) -> None:
    copy = Copy()
    async with following(store, copy, start_revision=1_000) as mirror:
        await until(lambda: copy.resets)
        await put(store, "p/a")
        await assert_same(store, copy, mirror)


async def test_what_is_known_of_another_cluster_is_listed_anew_whatever_its_revision(store: MemoryStore) -> None:
    start = await put(store, "p/a", "p/b")
    copy = Copy()
    await copy.reset(await store.list("p/"))
    await put(store, "p/c")
    async with following(store, copy, start_revision=start, cluster=2) as mirror:
        await assert_same(store, copy, mirror)
    assert len(copy.resets) == 2


async def test_a_store_that_is_exchanged_under_a_watch_is_listed_anew(store: MemoryStore) -> None:
    copy = Copy()
    async with following(store, copy) as mirror:
        await put(store, "p/a")
        await assert_same(store, copy, mirror)
        store.cluster_id = 2
        await put(store, "p/b")
        await until(lambda: len(copy.resets) == 2)
        await assert_same(store, copy, mirror)


async def test_far_behind_it_lists_instead_of_catching_up(store: MemoryStore) -> None:
    start = await put(store, "p/a")
    for n in range(20):
        await put(store, f"p/{n}")
    near, far = Copy(), Copy()
    async with following(store, near, start_revision=start, far_behind=20) as mirror:
        await until(lambda: mirror.revision == start + 20)
    async with following(store, far, start_revision=start, far_behind=19) as mirror:
        await until(lambda: mirror.revision == start + 20)
    assert (near.resets, far.resets) == ([], [start + 20])


async def test_it_goes_on_where_it_was_when_the_store_comes_back(store: MemoryStore) -> None:
    copy = Copy()
    async with following(store, copy) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        store.available = False
        await until(lambda: not mirror.available)
        store.available = True
        await put(store, "p/b")
        await assert_same(store, copy, mirror)
        assert mirror.available
    assert len(copy.resets) == 1


async def test_a_compaction_while_it_was_away_makes_it_list(store: MemoryStore) -> None:
    copy = Copy()
    await put(store, "p/a")
    async with following(store, copy) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        store.available = False
        await until(lambda: not mirror.available)
        store.available = True
        await store.commit([], [Delete("p/a")])
        await put(store, "p/b")
        store.compact(await put(store, "p/c"))
        await assert_same(store, copy, mirror)
    assert len(copy.resets) == 2


async def test_a_store_that_is_away_at_the_start_is_waited_for(store: MemoryStore) -> None:
    store.available = False
    copy = Copy()
    async with following(store, copy) as mirror:
        await asyncio.sleep(0.1)
        assert (mirror.available, mirror.synced.is_set(), mirror.age_s()) == (False, False, math.inf)
        store.available = True
        await asyncio.wait_for(mirror.synced.wait(), 5)
        assert mirror.available


async def test_the_age_stays_small_while_all_is_quiet_and_grows_while_the_store_is_away(store: MemoryStore) -> None:
    async with following(store, Copy()) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        await asyncio.sleep(0.5)
        assert mirror.age_s() < 0.4
        store.available = False
        await until(lambda: mirror.age_s() > 0.5)
        store.available = True
        await until(lambda: mirror.age_s() < 0.2)


async def test_an_error_of_the_owner_ends_it(store: MemoryStore) -> None:
    async def fail(listing: Listing) -> None:
        raise KeyError("a defect")

    mirror = Mirror(store, "p/", on_reset=fail, on_changes=Copy().change)
    with pytest.raises(KeyError):
        await asyncio.wait_for(mirror.run(), 5)
