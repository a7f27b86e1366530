"""Where the time of a decision goes: the same code as in a replica, in this process, without gRPC.

Messages of ten questions are answered twice: with counts that are granted without asking anybody, and with redis. What
the first takes is the rules and the writing of answers, the difference is the client of redis; what a replica takes
beyond the second is gRPC and the event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain.claims import Claim, Claimed, uncounted
from signalbox.domain.decision import Setup
from signalbox.domain.planner import Voice
from signalbox.routing import region_table
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.counters import RedisCounters
from signalbox.routing.stats import Stats
from signalbox.store import keys
from signalbox.store.base import Listing
from signalbox.store.etcd import EtcdStore

from signalbox_local.bench import Spread
from signalbox_local.decide_load import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.settings import Settings

BATCH = 10
MESSAGES = 1_000
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """Processor time per decision, microseconds: medians."""

    rules_us: float
    counting_us: float


class Granting:
    """Grants everything without counting."""

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        """As Counters.settle."""
        return [uncounted(claim) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        """As Counters.give_back."""


async def measure_parts(settings: Settings, numbers: Sequence[str], trunk: str) -> Parts:
    """Measure with the rules that are in etcd, and its own keys in redis."""
    store = EtcdStore.open(settings.etcd)
    book = Book(on_edge_change=lambda: None)
    await book.reset_rules(await store.list(keys.RULES))
    book.reset_live(Listing([], 0))
    await store.close()
    redis = settings.redis.model_copy(update={"prefix": "parts:"})
    counters = RedisCounters(redis, settings.routing.counters)
    keeper = asyncio.create_task(counters.run())
    setup = Setup(region_table.load(settings.routing.regions_file), Voice((), lambda cursor: ""))
    with_redis = Answerer(book, lambda: 1, Stats(dict), setup, counters)
    without = Answerer(book, lambda: 1, Stats(dict), setup, Granting())
    rules, both = [], []
    for turn in range(ROUNDS):
        rules.append(await _measure(without, numbers, trunk, turn))
        both.append(await _measure(with_redis, numbers, trunk, ROUNDS + turn))
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await counters.close()
    whole, alone = Spread.of(both).median, Spread.of(rules).median
    return Parts(alone, whole - alone)


async def _measure(answerer: Answerer, numbers: Sequence[str], trunk: str, turn: int) -> float:
    messages = [_message(numbers, trunk, turn, at) for at in range(MESSAGES)]
    began = time.process_time()
    for message in messages:
        found = answerer.begin(message)
        await answerer.settle(found)
        found.response.SerializeToString()
    return (time.process_time() - began) / MESSAGES / BATCH * 1e6


def _message(numbers: Sequence[str], trunk: str, turn: int, at: int) -> routing_pb2.DecideStreamRequest:
    choose = random.Random(turn * MESSAGES + at)
    message = routing_pb2.DecideStreamRequest()
    for n in range(BATCH):
        request = routing_pb2.DecideRequest(
            call_id=f"parts-{turn}-{at}-{n}",
            trunk=trunk,
            called=choose.choice(numbers),
            calling=f"{choose.choice(SEGMENTS)}{choose.randrange(10_000):04d}",
            source_address="127.0.0.1",
        )
        message.questions.add(id=n + 1, request=request)
    return message
