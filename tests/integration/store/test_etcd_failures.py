"""The etcd store while connections break and servers die, come back, fill up or go back in time."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import StoreFullError, StoreUnavailableError
from signalbox.store.base import CompactedError, Delete, Put
from support.ports import free_port
from support.stores import DEADLINE_S, open_etcd, until, watch_until
from support.tcp import Relay

if TYPE_CHECKING:
    from signalbox.store.base import Change, Store
    from support.etcd import EtcdServer


async def put(store: Store, key: str, value: bytes = b"v") -> int:
    return await store.commit([], [Put(key, value)])


def assert_each_once(changes: list[Change], count: int) -> None:
    """The values 0 to count - 1 in order, each once."""
    assert [change.entry and int(change.entry.value) for change in changes] == list(range(count))


async def test_a_watch_survives_cuts_without_loss_or_repetition(etcd_server: EtcdServer) -> None:
    count = 1500
    async with Relay(etcd_server.endpoint) as relay:
        writer = open_etcd(etcd_server, prefix="/cut/")
        watcher = open_etcd(etcd_server, endpoints=[relay.endpoint], prefix="/cut/")
        start = await writer.revision() + 1
        watching = asyncio.create_task(watch_until(watcher, "p/", start, lambda seen: len(seen) >= count))
        for n in range(count):
            await put(writer, f"p/{n % 7}", b"%d" % n)
            if n % 300 == 150:
                relay.cut()
        assert_each_once(await watching, count)
        assert relay.connections > 2
        await watcher.close()
        await writer.close()


async def test_a_frozen_connection_is_noticed_and_replaced(etcd_server: EtcdServer) -> None:
    async with Relay(etcd_server.endpoint) as relay:
        writer = open_etcd(etcd_server, prefix="/frozen/")
        watcher = open_etcd(etcd_server, endpoints=[relay.endpoint], prefix="/frozen/", request_timeout_s=0.7)
        start = await writer.revision() + 1
        seen: list[Change] = []

        async def watch() -> None:
            async with aclosing(watcher.watch("p/", start)) as batches:
                async for changes, _ in batches:
                    seen.extend(changes)

        watching = asyncio.create_task(watch())
        await put(writer, "p/a", b"0")
        await until(lambda: len(seen) == 1)
        relay.freeze()
        await put(writer, "p/a", b"1")
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(watching, DEADLINE_S)
        with pytest.raises(StoreUnavailableError):
            await watcher.get("p/a")
        relay.thaw()
        relay.cut()
        assert_each_once([*seen, *await watch_until(watcher, "p/", seen[-1].revision + 1, bool)], 2)
        await watcher.close()
        await writer.close()


async def test_a_restart_of_the_server_interrupts_a_watch_only_briefly(own_etcd: EtcdServer) -> None:
    store = open_etcd(own_etcd)
    start = await store.revision() + 1
    watching = asyncio.create_task(watch_until(store, "p/", start, lambda seen: len(seen) == 2))
    await put(store, "p/a", b"0")
    own_etcd.kill()
    with pytest.raises(StoreUnavailableError):
        await store.get("p/a")
    await asyncio.to_thread(own_etcd.restart)
    await until_written(store, "p/a", b"1")
    assert_each_once(await watching, 2)
    await store.close()


async def until_written(store: Store, key: str, value: bytes) -> None:
    """Put, again while the store is away."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await put(store, key, value)
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_watch_gives_up_when_the_server_stays_away(own_etcd: EtcdServer) -> None:
    store = open_etcd(own_etcd, request_timeout_s=0.5)
    own_etcd.kill()
    async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", 1)) as batches:
        with pytest.raises(StoreUnavailableError):
            await anext(batches)
    for attempt in (
        store.get("a"),
        store.list(""),
        store.page("", "", 1),
        store.revision(),
        put(store, "a"),
        store.grant_lease(5),
        store.keep_lease(1),
        store.revoke_lease(1),
    ):
        with pytest.raises(StoreUnavailableError):
            await attempt
    await store.close()


async def test_a_server_that_lost_its_data_is_noticed_by_a_running_watch(own_etcd: EtcdServer) -> None:
    store = open_etcd(own_etcd)
    for n in range(20):
        await put(store, "p/a", b"%d" % n)
    watching = asyncio.create_task(watch_until(store, "p/", await store.revision() - 5, lambda seen: len(seen) > 6))
    await asyncio.sleep(0.1)
    own_etcd.kill()
    shutil.rmtree(own_etcd.data_dir)
    await asyncio.to_thread(own_etcd.restart)
    with pytest.raises(CompactedError):
        await watching
    await store.close()


async def test_with_several_endpoints_the_death_of_one_is_hardly_noticed(etcd_cluster: list[EtcdServer]) -> None:
    store = open_etcd(*etcd_cluster)
    start = await store.revision() + 1
    count = 60
    watching = asyncio.create_task(watch_until(store, "p/", start, lambda seen: len(seen) >= count))
    for n in range(count):
        await until_written(store, f"p/{n:03d}", b"%d" % n)
        if n == 20:
            etcd_cluster[0].kill()
    changes = await watching
    # A write whose answer was lost is done again, so a value may be there twice; none is missing, none out of order.
    values = [int(change.entry.value) for change in changes if change.entry]
    assert values == sorted(values)
    assert set(values) == set(range(count))
    for _ in range(30):
        assert await store.get("p/000") is not None
    await store.close()


async def test_a_member_without_quorum_refuses_instead_of_waiting(etcd_cluster: list[EtcdServer]) -> None:
    store = open_etcd(etcd_cluster[0], request_timeout_s=1.0)
    assert await put(store, "a")
    etcd_cluster[1].kill()
    etcd_cluster[2].kill()
    with pytest.raises(StoreUnavailableError):
        await store.get("a")
    await store.close()


async def test_a_full_server_refuses_writes_and_serves_the_rest(own_etcd: EtcdServer) -> None:
    own_etcd.stop()
    own_etcd.quota_bytes = 16 * 1024 * 1024
    await asyncio.to_thread(own_etcd.start)
    store = open_etcd(own_etcd)
    lease = await store.grant_lease(60)

    async def fill() -> None:
        for n in range(100):
            await put(store, f"p/{n:03d}", bytes(1_000_000))

    with pytest.raises(StoreFullError):
        await fill()
    with pytest.raises(StoreFullError):
        await put(store, "small")
    assert await store.get("p/000") is not None
    await store.keep_lease(lease)
    await store.commit([], [Delete("p/000")])
    assert await store.get("p/000") is None
    await store.close()


async def test_a_listing_is_consistent_while_others_write(etcd_server: EtcdServer) -> None:
    store = open_etcd(etcd_server)
    count = 20_000
    names = [f"rules/numbers/{n % 100:02d}/{4_001_000_000 + n}" for n in range(count)]
    await asyncio.gather(
        *(store.commit([], [Put(name, b"x" * 100) for name in names[n : n + 128]]) for n in range(0, count, 128))
    )
    stop = asyncio.Event()

    async def write() -> None:
        # Two keys at the ends of the range, always written together: they must never be seen apart.
        n = 0
        while not stop.is_set():
            n += 1
            value = b"%d" % n
            await store.commit([], [Put("rules/numbers/00/0", value), Put("rules/numbers/99/9999999999", value)])

    writing = asyncio.create_task(write())
    await until_written(store, "rules/begun", b"")
    for _ in range(3):
        listing = await store.list("rules/")
        found = {entry.key: entry for entry in listing.entries}
        assert set(names) <= set(found)
        assert found["rules/numbers/00/0"].revision == found["rules/numbers/99/9999999999"].revision
        assert max(entry.revision for entry in listing.entries) <= listing.revision
    stop.set()
    await writing
    await store.close()


async def test_a_listing_begins_again_when_its_revision_is_forgotten(etcd_server: EtcdServer) -> None:
    store = open_etcd(etcd_server)
    names = [f"p/{n:05d}" for n in range(4_000)]
    for n in range(0, len(names), 128):
        await store.commit([], [Put(name, b"v") for name in names[n : n + 128]])
    pinned: list[int] = []
    read = store._range

    async def forget_once(request: object) -> object:
        if len(pinned) == 2:
            revision = await put(store, "q")
            await asyncio.to_thread(etcd_server.etcdctl, "compact", str(revision))
        pinned.append(request.revision)  # type: ignore[attr-defined]
        return await read(request)  # type: ignore[arg-type]

    store._range = forget_once  # type: ignore[method-assign,assignment]
    assert [entry.key for entry in (await store.list("p/")).entries] == names
    assert len(set(pinned)) == 3  # 0 to learn the revision, then the forgotten one, then the new one
    await store.close()


async def test_dns_names_are_resolved_and_a_dead_one_is_left(etcd_server: EtcdServer) -> None:
    endpoints = [f"localhost:{free_port()}", f"localhost:{etcd_server.port}"]
    store = open_etcd(etcd_server, endpoints=endpoints)
    assert await store.revision() > 0
    start = await put(store, "p/a", b"0")
    assert_each_once(await watch_until(store, "p/", start, bool), 1)
    await store.close()
