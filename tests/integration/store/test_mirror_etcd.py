"""The mirror of a real etcd through its crises, and what a replica does at its start."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox.store import snapshot
from signalbox.store.base import Delete, Put
from signalbox.store.lease import Registration
from signalbox.store.mirror import Mirror
from support.stores import DEADLINE_S, open_etcd, until, written
from support.tcp import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from signalbox.store.base import Change, Entry, Listing, Store
    from support.etcd import EtcdServer


class Follower(Mirror):
    """A mirror with its owner in one."""

    def __init__(self, store: Store, *, start: tuple[int, int] = (0, 0), far_behind: int = 5_000) -> None:
        super().__init__(
            store,
            "p/",
            on_reset=self.reset,
            on_changes=self.change,
            start=start,
            far_behind=far_behind,
            retry_s=0.05,
        )
        self.entries: dict[str, Entry] = {}
        self.resets = 0

    async def reset(self, listing: Listing) -> None:
        self.resets += 1
        self.entries = {entry.key: entry for entry in listing.entries}

    async def change(self, changes: Sequence[Change], revision: int) -> None:
        for change in changes:
            if change.entry:
                self.entries[change.key] = change.entry
            else:
                del self.entries[change.key]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def agrees(self, store: Store) -> None:
        """The copy becomes the same as the store."""
        listing = await store.list("p/")
        await until(lambda: self.revision >= listing.revision)
        assert self.entries == {entry.key: entry for entry in listing.entries}


async def test_cut_restart_and_compaction(own_etcd: EtcdServer) -> None:
    async with Relay(own_etcd.endpoint) as relay:
        writer = open_etcd(own_etcd, prefix="/m/")
        reader = open_etcd(own_etcd, endpoints=[relay.endpoint], prefix="/m/", request_timeout_s=0.5)
        await writer.commit([], [Put(f"p/{n}", b"0") for n in range(100)])
        follower = Follower(reader)
        async with follower.running():
            await asyncio.wait_for(follower.synced.wait(), DEADLINE_S)
            for n in range(200):
                await writer.commit([], [Put(f"p/{n + 100}", b"1"), Delete(f"p/{n // 2}")])
                if n % 50 == 25:
                    relay.cut()
            await follower.agrees(writer)
            await asyncio.to_thread(own_etcd.restart)
            await written(writer, Put("p/after", b"1"))
            await follower.agrees(writer)
            assert follower.resets == 1
            relay.freeze()
            await until(lambda: not follower.available)
            await writer.commit([], [Delete("p/after")])
            last = await writer.commit([], [Put("p/last", b"1")])
            await asyncio.to_thread(own_etcd.etcdctl, "compact", str(last))
            relay.thaw()
            relay.cut()
            await follower.agrees(writer)
            assert follower.resets == 2
            assert follower.age_s() < DEADLINE_S
        await reader.close()
        await writer.close()


async def test_far_behind_it_lists(etcd_server: EtcdServer) -> None:
    store = open_etcd(etcd_server)
    start = await store.commit([], [Put("p/a", b"0")])
    for n in range(101):
        await store.commit([], [Put("p/a", b"%d" % n)])
    for far_behind, resets in ((101, 0), (100, 1)):
        follower = Follower(store, start=(await store.cluster(), start), far_behind=far_behind)
        async with follower.running():
            await follower.agrees(store)
        assert follower.resets == resets
    await store.close()


async def test_a_replica_starts_from_its_snapshot_and_catches_up(etcd_server: EtcdServer, tmp_path: Path) -> None:
    store = open_etcd(etcd_server)
    await store.commit([], [Put(f"p/{n}", b"0") for n in range(100)])
    listing = await store.list("p/")
    await asyncio.to_thread(snapshot.save, tmp_path / "snapshot", listing.entries, listing.revision)
    await store.commit([], [Put("p/1", b"1"), Delete("p/2")])
    loaded = snapshot.load(tmp_path / "snapshot")
    assert loaded == listing
    follower = Follower(store, start=(await store.cluster(), loaded.revision))
    follower.entries = {entry.key: entry for entry in loaded.entries}
    async with follower.running():
        await asyncio.wait_for(follower.synced.wait(), DEADLINE_S)
        await follower.agrees(store)
    assert follower.resets == 0
    await store.close()


async def test_a_registration_survives_a_restart_of_etcd(own_etcd: EtcdServer) -> None:
    store = open_etcd(own_etcd)
    registration = Registration(store, "p/me", b"1", 5, renew_s=0.1)
    follower = Follower(store)
    task = asyncio.create_task(registration.run())
    async with follower.running():
        await until(lambda: "p/me" in follower.entries)
        await asyncio.to_thread(own_etcd.restart)
        registration.update(b"2")
        await until(lambda: follower.entries["p/me"].value == b"2")
        task.cancel()
        await registration.withdraw()
        await until(lambda: "p/me" not in follower.entries)
    await store.close()
