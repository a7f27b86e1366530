"""A worker's entry in the store."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ConfigurationError
from signalbox.ivr import registration as module
from signalbox.ivr.registration import Entry
from signalbox.store import keys, lease
from signalbox.store.memory import MemoryStore
from structlog.testing import capture_logs
from support.routing import delete, put, voice
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = keys.live_voice("ivr-1")


CHANGES = ((10, 10), (19, 10), (20, 20), (1000, 1000), (999, 999), (990, 999), (989, 989), (1, 1), (0, 0))
"""Calls, and what is told of them, of 1,000 that there may be."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(module, "LOAD_S", 0.02)
    monkeypatch.setattr(module, "RETRY_S", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lease of a minute."""
    monkeypatch.setattr(module, "EXPIRY_S", -59.9)


class Load:
    """How many calls there are, as a test says."""

    calls = 0

    def __call__(self) -> int:
        return self.calls


def entry_of(store: MemoryStore, load: Load | None = None, capacity: int = 1000) -> Entry:
    worker = routing_pb2.VoiceWorker(id="ivr-1", sip_address="192.0.2.1:5070", capacity=capacity, draining=True)
    return Entry(store, worker, 60, load or Load())


async def stored(store: MemoryStore) -> routing_pb2.VoiceWorker | None:
    entry = await store.get(KEY)
    return routing_pb2.VoiceWorker.FromString(entry.value) if entry else None


async def until_stored(store: MemoryStore, worker: routing_pb2.VoiceWorker | None) -> None:
    async with asyncio.timeout(15):
        while await stored(store) != worker:  # noqa: ASYNC110, only asking tells
            await asyncio.sleep(0.005)


@asynccontextmanager
async def registered(entry: Entry) -> AsyncIterator[None]:
    await entry.claim()
    task = asyncio.create_task(entry.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_takes_calls_when_it_says_so_and_none_when_it_drains() -> None:
    store = MemoryStore()
    entry = entry_of(store)
    assert not entry.registered
    async with registered(entry):
        await until_stored(store, voice(1, capacity=1000, draining=True))
        entry.open()
        await until_stored(store, voice(1, capacity=1000))
        await until(lambda: entry.registered)
        entry.drain()
        await until_stored(store, voice(1, capacity=1000, draining=True))
        assert entry.draining
    await entry.withdraw()
    assert await stored(store) is None


async def test_a_change_of_a_hundredth_is_told_and_whether_it_is_empty_or_full() -> None:
    store, load = MemoryStore(), Load()
    entry = entry_of(store, load)
    async with registered(entry):
        entry.open()
        for calls, told in (
            (10, 10),
            (19, 10),
            (20, 20),
            (1000, 1000),
            (999, 999),
            (990, 999),
            (989, 989),
            (1, 1),
            (0, 0),
        ):
            load.calls = calls
            if told == calls:
                await until_stored(store, voice(1, capacity=1000, calls=told))
            else:
                await asyncio.sleep(0.2)
                assert await stored(store) == voice(1, capacity=1000, calls=told)


@pytest.mark.usefixtures("impatient")
async def test_another_worker_under_the_same_id_ends_the_start() -> None:
    store = MemoryStore()
    await put(store, voice(1, sip_address="192.0.2.9:5060"))
    with pytest.raises(ConfigurationError, match=r"ivr\.id: ivr-1 is the id of the worker at 192\.0\.2\.9:5060"):
        async with asyncio.timeout(15):
            await entry_of(store).claim()
    found = await stored(store)
    assert found is not None
    assert found.sip_address == "192.0.2.9:5060"


@pytest.mark.usefixtures("impatient")
async def test_of_two_that_start_together_one_does_not() -> None:
    store = MemoryStore()
    worker = routing_pb2.VoiceWorker(id="ivr-1", sip_address="192.0.2.9:5060", capacity=1, draining=True)
    both = [entry_of(store).claim(), Entry(store, worker, 60, Load()).claim()]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(end) for end in ends if end is not None) == [ConfigurationError]


async def test_a_worker_that_took_the_id_while_the_store_was_away_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_S", 0.02)
    store, load = MemoryStore(), Load()
    entry = entry_of(store, load)
    other = voice(1, sip_address="192.0.2.9:5060")
    async with registered(entry):
        await until(lambda: entry.registered)
        for one in range(1, 10):
            store.expire_lease(one)
        await put(store, other)
        # It has something to tell, with every call.
        load.calls = 1000
        with capture_logs() as logs:
            await until(lambda: any(log["event"] == "registration_failed" for log in logs))
            load.calls = 0
            await asyncio.sleep(0.2)
        assert await stored(store) == other
        assert not entry.registered
        await delete(store, other)
        await until_stored(store, voice(1, capacity=1000, draining=True))


async def test_one_that_has_died_is_waited_for_and_one_at_the_same_address_is_ourselves() -> None:
    store = MemoryStore()
    await put(store, voice(1, sip_address="192.0.2.9:5060"))
    claiming = asyncio.create_task(entry_of(store).claim())
    await asyncio.sleep(0.1)
    assert not claiming.done()
    # As its lease ends.
    await put(store, voice(1))
    async with asyncio.timeout(15):
        await claiming


async def test_a_store_that_is_away_at_the_start_is_waited_for() -> None:
    store = MemoryStore()
    store.available = False
    entry = entry_of(store)
    claiming = asyncio.create_task(entry.claim())
    await asyncio.sleep(0.1)
    assert not claiming.done()
    store.available = True
    async with asyncio.timeout(15):
        await claiming
    assert await stored(store) == voice(1, capacity=1000, draining=True)


async def test_a_store_that_is_away_at_the_end_is_no_failure() -> None:
    store = MemoryStore()
    entry = entry_of(store)
    await entry.withdraw()
    async with registered(entry):
        await until(lambda: entry.registered)
    store.available = False
    await entry.withdraw()
