"""Numbers of media nodes: the lowest free one, once, whoever else asks at the same time."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.errors import StoreUnavailableError, WriteContentionError
from signalbox.media import number
from signalbox.store import keys
from signalbox.store.base import CompareFailedError, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.memory import MemoryStore


async def test_the_first_node_gets_1_and_keeps_it() -> None:
    store = MemoryStore()
    assert [await number.allocate(store, "a"), await number.allocate(store, "b")] == [1, 2]
    assert await number.allocate(store, "a") == 1


async def test_a_gap_is_filled() -> None:
    store = MemoryStore()
    await store.commit([], [Put(keys.media_id("x"), b"1"), Put(keys.media_id("y"), b"3")])
    assert [await number.allocate(store, id) for id in "ab"] == [2, 4]


async def test_nodes_that_ask_at_once_get_different_numbers() -> None:
    store = MemoryStore()
    numbers = await asyncio.gather(*(number.allocate(store, f"node-{n}") for n in range(20)))
    assert sorted(numbers) == list(range(1, 21))


async def test_one_name_asking_twice_at_once_gets_one_number() -> None:
    store = MemoryStore()
    assert await asyncio.gather(*(number.allocate(store, "a") for _ in range(5))) == [1] * 5


async def test_a_write_between_reading_and_writing_is_noticed() -> None:
    """Somebody takes the number that was about to be written."""

    class Interrupted(MemoryStore):
        interruptions = 1

        async def list(self, prefix: str):
            listing = await super().list(prefix)
            if self.interruptions:
                self.interruptions -= 1
                assert await number.allocate(self, "other") == 1
            return listing

    assert await number.allocate(Interrupted(), "a") == 2


async def test_being_too_slow_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(MemoryStore):
        async def commit(self, compares, writes) -> int:
            raise CompareFailedError("somebody was quicker")

    monkeypatch.setattr(number, "_MAX_PAUSE_S", 0)
    with pytest.raises(WriteContentionError):
        await number.allocate(Busy(), "a")


async def test_a_store_that_is_away_is_told() -> None:
    store = MemoryStore()
    store.available = False
    with pytest.raises(StoreUnavailableError):
        await number.allocate(store, "a")


@pytest.mark.parametrize("damaged", ["own", "another"])
async def test_a_stored_number_that_is_none_is_told(damaged: str) -> None:
    store = MemoryStore()
    await store.commit([], [Put(keys.media_id(damaged), b"-1")])
    with pytest.raises(DamagedValueError, match=f"{keys.media_id(damaged)} is damaged"):
        await number.allocate(store, "own")


def test_numbers_come_to_an_end() -> None:
    assert number.lowest_free(range(1, number.MAX_NUMBER)) == number.MAX_NUMBER
    with pytest.raises(number.NumbersExhaustedError):
        number.lowest_free(range(1, number.MAX_NUMBER + 1))
