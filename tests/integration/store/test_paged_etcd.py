"""Pages in a real etcd, written and read by several processes' stores at once."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from signalbox.store.base import Compare, Delete, Put
from signalbox.store.page import MAX_ITEMS, Page
from signalbox.store.paged import PagedStore
from support.stores import PAGED, open_etcd, watch_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signalbox.store.base import Change, Entry
    from signalbox.store.etcd import EtcdStore
    from support.etcd import EtcdServer


@pytest.fixture
async def plain(etcd_server: EtcdServer, request: pytest.FixtureRequest) -> AsyncIterator[EtcdStore]:
    store = open_etcd(etcd_server, prefix=f"/{request.node.name}/")
    yield store
    await store.close()


@pytest.fixture
async def stores(
    etcd_server: EtcdServer, plain: EtcdStore, request: pytest.FixtureRequest
) -> AsyncIterator[Sequence[PagedStore]]:
    """As three processes have them: no turns are taken between them."""
    opened = [PagedStore(open_etcd(etcd_server, prefix=f"/{request.node.name}/"), PAGED) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


def replayed(changes: Sequence[Change]) -> dict[str, Entry]:
    """What somebody knows who has followed all changes."""
    known: dict[str, Entry] = {}
    for change in changes:
        if change.entry is None:
            # Nobody is told of the end of what was not there.
            del known[change.key]
        else:
            known[change.key] = change.entry
    return known


async def test_50_writers_of_neighbours_all_get_through(stores: Sequence[PagedStore], plain: EtcdStore) -> None:
    start = await plain.revision() + 1

    async def write(number: int) -> None:
        for n in range(8):
            # Everybody's next key lies beside everybody else's.
            await stores[number % 3].commit([Compare(f"p/{n}-{number:02d}", 0)], [Put(f"p/{n}-{number:02d}", b"v")])

    await asyncio.gather(*(write(number) for number in range(50)))
    listing = await stores[0].list("p/")
    assert [entry.key for entry in listing.entries] == [f"p/{n}-{number:02d}" for n in range(8) for number in range(50)]
    pages = (await plain.list("p/")).entries
    assert 400 / MAX_ITEMS <= len(pages) <= 2 * 400 / MAX_ITEMS
    seen = await watch_until(stores[1], "p/", start, lambda seen: seen[-1].revision == listing.revision)
    assert len(seen) == 400
    assert list(dict(sorted(replayed(seen).items())).values()) == listing.entries


async def test_two_writers_that_divide_the_same_page(stores: Sequence[PagedStore], plain: EtcdStore) -> None:
    for turn in range(5):
        prefix = "qrstu"[turn] + "/"
        await stores[0].commit([], [Put(f"{prefix}{n:03d}", b"v") for n in range(MAX_ITEMS)])
        await asyncio.gather(
            *(store.commit([], [Put(f"{prefix}{n:03d}{at}", b"v")]) for at, store in enumerate(stores) for n in (5, 90))
        )
        entries = (await plain.list(prefix)).entries
        assert len(entries) == 2
        assert sum(len(Page.decode(prefix, entry).entries()) for entry in entries) == MAX_ITEMS + 6
        assert len((await stores[0].list(prefix)).entries) == MAX_ITEMS + 6


async def test_what_is_read_while_pages_come_and_go_is_whole(stores: Sequence[PagedStore], plain: EtcdStore) -> None:
    """Pairs of keys, far from each other, are put and deleted together: no reader ever sees one of them."""
    start = await plain.revision() + 1
    stop = asyncio.Event()

    def pair(n: int) -> tuple[str, str]:
        return f"p/{n:03d}", f"p/{999 - n:03d}"

    async def write(store: PagedStore, seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            some = dice.sample(range(500), 30)
            value = bytes(dice.randrange(300))
            put = dice.random() < 0.5
            await store.commit([], [Put(k, value) if put else Delete(k) for n in some for k in pair(n)])

    async def read(store: PagedStore) -> None:
        for _ in range(25):
            entries = {entry.key: entry for entry in (await store.list("p/")).entries}
            assert list(entries) == sorted(entries)
            for n in range(500):
                one, other = (entries.get(key) for key in pair(n))
                assert (one and one.revision) == (other and other.revision)
            wanted = [key for n in random.sample(range(500), 50) for key in pair(n)]
            found = await store.get_many(wanted)
            for one, other in zip(found[::2], found[1::2], strict=True):
                assert (one and one.revision) == (other and other.revision)
            # Pages of a list are read one after the other: in order, and none twice.
            seen: list[str] = []
            while some := await store.page("p/", seen[-1] if seen else "", 40):
                seen += [entry.key for entry in some]
            assert seen == sorted(set(seen))

    writers = [asyncio.create_task(write(store, seed)) for seed, store in enumerate(stores[:2])]
    await asyncio.gather(read(stores[2]), read(stores[2]))
    stop.set()
    await asyncio.gather(*writers)
    listing = await stores[2].list("p/")
    await stores[2].commit([], [Put("p/end", b"")])
    seen = await watch_until(stores[2], "p/", start, lambda seen: seen[-1].key == "p/end")
    known = replayed(seen)
    assert known.pop("p/end")
    assert [known[key] for key in sorted(known)] == listing.entries
    while left := await stores[0].page("p/", "", 128):
        await stores[0].commit([], [Delete(entry.key) for entry in left])
    assert len((await plain.list("p/")).entries) == 1
