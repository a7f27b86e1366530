"""Writes under fences: tried again, bounded, and in turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import NotFoundError, StoreUnavailableError, WriteContentionError
from signalbox.provisioning import writer as writer_module
from signalbox.provisioning.writer import Plan, Writer
from signalbox.store.base import Compare, Put
from signalbox.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.base import Delete

FENCE = "fences/x"


class Contended(MemoryStore):
    """Another process writes under the fence before each of the first commits."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        if self.times:
            self.times -= 1
            await super().commit([], [Put(FENCE, b"")])
        return await super().commit(compares, writes)


async def plan() -> Plan[str]:
    return Plan("done", writes=[Put("rules/x", b"1")])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BACKOFF_MAX_S", 0.0)


async def test_a_neighbours_write_is_retried_inside() -> None:
    store = Contended(times=5)
    result, revision = await Writer(store).write(FENCE, plan)
    assert result == "done"
    entry = await store.get("rules/x")
    assert entry is not None
    assert entry.revision == revision


async def test_after_too_many_attempts_nothing_is_written() -> None:
    store = Contended(times=writer_module.ATTEMPTS)
    with pytest.raises(WriteContentionError):
        await Writer(store).write(FENCE, plan)
    assert await store.get("rules/x") is None


async def test_a_refusal_is_not_retried() -> None:
    calls = 0

    async def refuse() -> Plan[str]:
        nonlocal calls
        calls += 1
        raise NotFoundError("tenant", "acme")

    with pytest.raises(NotFoundError):
        await Writer(MemoryStore()).write(FENCE, refuse)
    assert calls == 1


async def test_a_plan_without_writes_commits_nothing() -> None:
    store = MemoryStore()

    async def nothing() -> Plan[str]:
        return Plan("same")

    assert await Writer(store).write(FENCE, nothing) == ("same", 0)
    assert await store.get(FENCE) is None


async def test_objects_are_compared_too() -> None:
    store = MemoryStore()

    async def stale() -> Plan[str]:
        return Plan("done", [Compare("rules/x", 99)], [Put("rules/x", b"1")])

    with pytest.raises(WriteContentionError):
        await Writer(store).write(FENCE, stale)


async def test_writers_of_one_process_take_turns() -> None:
    store = MemoryStore()
    writer = Writer(store)
    inside = 0

    async def slow() -> Plan[int]:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(0)
        inside -= 1
        return Plan(0, writes=[Put("rules/x", b"1")])

    await asyncio.gather(*(writer.write(FENCE, slow) for _ in range(20)))


async def test_those_who_wait_fail_with_the_one_that_the_store_failed() -> None:
    """A store that takes its whole time limit to fail must not take it again for each in the queue."""
    store = MemoryStore()
    writer = Writer(store)
    attempts = 0

    async def fail() -> Plan[str]:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.05)
        raise StoreUnavailableError("no answer")

    results = await asyncio.gather(*(writer.write(FENCE, fail) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailableError) for result in results)
    assert attempts == 1
    assert await writer.write(FENCE, plan) == ("done", 2), "a later one is tried"


async def test_a_cancelled_writer_leaves_its_turn() -> None:
    writer = Writer(MemoryStore())
    never = asyncio.Event()

    async def hang() -> Plan[str]:
        await never.wait()
        raise AssertionError("unreachable")

    task = asyncio.create_task(writer.write(FENCE, hang))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        assert (await writer.write(FENCE, plan))[0] == "done"
