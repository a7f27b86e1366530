"""The order in which a worker ends: nobody is sent to it any more before it stops answering."""

from __future__ import annotations

import asyncio
from typing import Any

from signalbox.ivr import main
from signalbox.ivr.main import Process


class Part:
    """Any part of the process: writes down what is asked of it, and when."""

    calls = 0

    def __init__(self, name: str, told: list[tuple[str, float]]) -> None:
        self._name = name
        self._told = told

    def drain(self) -> Any:
        """Of the entry it is asked at once, of the worker to be awaited."""
        self._note("drain")
        return Nothing()

    async def end(self) -> None:
        self._note("end")

    async def withdraw(self) -> None:
        self._note("withdraw")

    async def close(self) -> None:
        self._note("close")

    async def flush(self, seconds: float) -> None:
        self._note("flush")

    def _note(self, what: str) -> None:
        self._told.append((f"{self._name} {what}", asyncio.get_running_loop().time()))


class Nothing:
    """To be awaited, or not."""

    def __await__(self) -> Any:
        return asyncio.sleep(0).__await__()


async def forever() -> None:
    await asyncio.Event().wait()


async def test_it_listens_for_a_while_after_its_entry_is_out_of_the_store() -> None:
    told: list[tuple[str, float]] = []
    process: Any = Process.__new__(Process)
    for name in ("entry", "worker", "trace", "routing"):
        setattr(process, name, Part(name, told))
    process._registering, writing, reporting = (asyncio.create_task(forever()) for _ in range(3))
    await process._drain(writing, reporting)
    assert [what for what, _ in told] == [
        "entry drain", "worker drain", "entry withdraw", "worker end", "trace close", "routing flush",
    ]  # fmt: skip
    times = dict(told)
    assert times["worker end"] - times["entry drain"] >= main.LINGER_S - 0.01
    assert process._registering.cancelled()


async def test_one_that_was_never_registered_ends_at_once() -> None:
    told: list[tuple[str, float]] = []
    process: Any = Process.__new__(Process)
    for name in ("entry", "worker", "trace", "routing"):
        setattr(process, name, Part(name, told))
    process._registering = None
    writing, reporting = (asyncio.create_task(forever()) for _ in range(2))
    await process._drain(writing, reporting)
    times = dict(told)
    assert "entry withdraw" not in times
    assert times["worker end"] - times["entry drain"] < main.LINGER_S
