"""Questions that wait for counts, over gRPC: they hold up no others, and nothing is kept that nobody waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client.registry import Collector
from signalbox.domain.claims import Claimed, uncounted
from signalbox.store.memory import MemoryStore
from support import routing
from support.routing import call, put, questions, running
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from prometheus_client import Metric
    from signalbox.domain.claims import Claim


class SlowCounts(Collector):
    """Settles nothing before ``ready``."""

    available = True

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.asked: list[str] = []
        self.rounds = 0
        self.given_back: list[str] = []

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        self.asked += [claim.call_id for claim in claims]
        self.rounds += 1
        await self.ready.wait()
        return [uncounted(claim) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        self.given_back += [claim.call_id for claim in claims]

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.ready.set()

    def collect(self) -> Iterable[Metric]:
        return []


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(progress_interval_s=0.05)
    await put(store, routing.trunk(), routing.line(), routing.number(), routing.node(1))
    yield store
    await store.close()


async def test_a_message_that_waits_does_not_hold_up_the_next(store: MemoryStore, tmp_path: Path) -> None:
    counts = SlowCounts()
    async with running(store, tmp_path, counters=counts) as service:  # type: ignore[arg-type]
        stream = service.stub.DecideStream()
        await stream.write(questions(call(call_id="slow"), first_id=1))
        await stream.write(questions(call("110"), first_id=2))
        assert [answer.id for answer in (await stream.read()).answers] == [2]
        assert counts.asked == ["slow"]
        counts.ready.set()
        assert [(a.id, a.decision.why) for a in (await stream.read()).answers] == [(1, "dial")]
        assert counts.given_back == []


async def test_messages_that_come_while_others_are_counted_go_together(store: MemoryStore, tmp_path: Path) -> None:
    counts = SlowCounts()
    async with running(store, tmp_path, counters=counts) as service:  # type: ignore[arg-type]
        stream = service.stub.DecideStream()
        await stream.write(questions(call(call_id="one"), first_id=1))
        await until(lambda: counts.asked == ["one"])
        await stream.write(questions(call("110"), call(call_id="two"), first_id=2))
        await stream.write(questions(call(call_id="three"), first_id=4))
        await stream.write(questions(call("110"), first_id=5))
        assert [answer.id for answer in (await stream.read()).answers] == [5]
        counts.ready.set()
        assert [answer.id for answer in (await stream.read()).answers] == [1]
        assert sorted(answer.id for answer in (await stream.read()).answers) == [2, 3, 4]
        assert counts.asked == ["one", "two", "three"]
        assert counts.rounds == 2
        assert service.worker.stats.took_us.total > 0


async def test_what_was_claimed_for_a_stream_that_broke_is_given_back(store: MemoryStore, tmp_path: Path) -> None:
    counts = SlowCounts()
    async with running(store, tmp_path, counters=counts) as service:  # type: ignore[arg-type]
        stream = service.stub.DecideStream()
        await stream.write(questions(call(call_id="one"), call(call_id="two")))
        await until(lambda: counts.asked == ["one", "two"])
        stream.cancel()
        await until(lambda: counts.given_back == ["one", "two"])


async def test_a_stream_that_is_done_gets_the_answers_that_are_due(store: MemoryStore, tmp_path: Path) -> None:
    counts = SlowCounts()
    async with running(store, tmp_path, counters=counts) as service:  # type: ignore[arg-type]
        stream = service.stub.DecideStream()
        await stream.write(questions(call(call_id="slow")))
        await until(lambda: counts.asked == ["slow"])
        await stream.done_writing()
        counts.ready.set()
        assert [a.decision.why for a in (await stream.read()).answers] == ["dial"]
