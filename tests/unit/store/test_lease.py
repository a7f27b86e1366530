"""A registration: a key that lives with its owner."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import StoreUnavailableError
from signalbox.store.base import Delete, Put
from signalbox.store.lease import Registration
from signalbox.store.memory import MemoryStore
from structlog.testing import capture_logs
from support.stores import until, watch_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.base import Entry

KEY = "live/media/m1"


@asynccontextmanager
async def running(registration: Registration) -> AsyncIterator[None]:
    """The registration runs meanwhile."""
    task = asyncio.create_task(registration.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    """An empty store."""
    store = MemoryStore()
    yield store
    await store.close()


def mine(entry: Entry) -> bool:
    """What this owner puts."""
    return entry.value.startswith(b"mine")


async def value(store: MemoryStore) -> bytes | None:
    entry = await store.get(KEY)
    return entry.value if entry else None


async def test_the_key_outlives_its_time_while_it_is_renewed(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 1, renew_s=0.1)
    async with running(registration):
        await registration.registered.wait()
        entry = await store.get(KEY)
        await asyncio.sleep(1.5)
        assert await store.get(KEY) == entry
        assert registration.registered.is_set()


async def test_the_key_goes_when_its_owner_has_died(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 1)
    async with running(registration):
        await registration.registered.wait()
    assert await value(store) == b"1"
    (change,) = await watch_until(store, KEY, await store.revision() + 1, bool)
    assert change.entry is None


async def test_a_new_value_is_put_at_once_and_the_same_one_never(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 60)
    async with running(registration):
        await registration.registered.wait()
        before = await store.revision()
        registration.update(b"1")
        assert registration.registered.is_set()
        registration.update(b"2")
        assert not registration.registered.is_set()
        await registration.registered.wait()
        assert await value(store) == b"2"
        assert await store.revision() == before + 1


async def test_a_lost_lease_is_replaced(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 60, renew_s=0.05)
    async with running(registration):
        await registration.registered.wait()
        start = await store.revision() + 1
        store.expire_lease(1)
        gone, back = await watch_until(store, KEY, start, lambda seen: len(seen) == 2)
        assert (gone.entry, back.entry and back.entry.value) == (None, b"1")
        await registration.withdraw()


async def test_it_registers_when_the_store_comes_back_with_the_newest_value(store: MemoryStore) -> None:
    store.available = False
    registration = Registration(store, KEY, b"1", 1, renew_s=0.05)
    async with running(registration):
        await asyncio.sleep(0.2)
        assert not registration.registered.is_set()
        registration.update(b"2")
        store.available = True
        await asyncio.wait_for(registration.registered.wait(), 5)
        assert await value(store) == b"2"
        store.available = False
        await until(lambda: not registration.registered.is_set())
        store.available, store.full = True, True
        registration.update(b"3")
        await asyncio.sleep(0.2)
        assert not registration.registered.is_set()
        store.full = False
        await asyncio.wait_for(registration.registered.wait(), 5)
        assert await value(store) == b"3"


async def test_what_another_owner_has_put_meanwhile_is_left_alone_until_it_goes(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"mine", 60, renew_s=0.02, ours=mine)
    async with running(registration):
        await registration.registered.wait()
        store.expire_lease(1)
        await store.commit([], [Put(KEY, b"theirs")])
        with capture_logs() as logs:
            await until(lambda: not registration.registered.is_set())
            registration.update(b"mine, too")
            await until(lambda: any(log["event"] == "registration_failed" for log in logs))
            await asyncio.sleep(0.1)
        assert await value(store) == b"theirs"
        assert not registration.registered.is_set()
        # It is told once.
        (log,) = [log for log in logs if log["event"] == "registration_failed"]
        assert log["error"] == f"{KEY} is the entry of another one"
        await store.commit([], [Delete(KEY)])
        await asyncio.wait_for(registration.registered.wait(), 5)
        assert await value(store) == b"mine, too"


async def test_one_of_our_own_from_before_is_replaced(store: MemoryStore) -> None:
    await store.commit([], [Put(KEY, b"mine, before")])
    registration = Registration(store, KEY, b"mine", 60, renew_s=0.02, ours=mine)
    async with running(registration):
        await asyncio.wait_for(registration.registered.wait(), 5)
    assert await value(store) == b"mine"


async def test_withdrawing_deletes_the_key_at_once(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 60)
    async with running(registration):
        await registration.registered.wait()
    await registration.withdraw()
    assert await value(store) is None
    assert not registration.registered.is_set()
    await registration.withdraw()


async def test_withdrawing_while_the_store_is_away_says_so(store: MemoryStore) -> None:
    registration = Registration(store, KEY, b"1", 60)
    async with running(registration):
        await registration.registered.wait()
    store.available = False
    with pytest.raises(StoreUnavailableError):
        await registration.withdraw()
