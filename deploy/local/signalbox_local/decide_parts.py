"""Where the time of a decision goes: each part measured for itself, in processor time, with messages of ten questions.

- rules: the code of a replica in this process, with counts that are granted without asking anybody;
- redis: the client, which settles the claims of those calls, in rounds as a replica joins them when several messages
  are under way on its stream;
- grpc: a server in a process of its own (``python -m signalbox_local.decide_parts``), which answers the same messages
  from the same asker with an answer that is kept.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.domain.claims import Claim, Claimed, uncounted
from signalbox.domain.decision import Setup
from signalbox.domain.planner import Voice
from signalbox.domain.voice import Pool
from signalbox.routing import region_table
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.counters import RedisCounters
from signalbox.routing.stats import Stats
from signalbox.settings import ServerTlsSettings
from signalbox.store import keys
from signalbox.store.base import Listing
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore

from signalbox_local.bench import Spread
from signalbox_local.cpu import group_cpu_seconds
from signalbox_local.decide_load import SEGMENTS, Load, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.routing.answers import Round
    from signalbox.settings import Settings

BATCH = 10
MESSAGES = 1_000
ROUNDS = 5
OPEN_MESSAGES = 4
"""Under way together, as in the runs that measure the whole."""
GRPC_S = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Processor time per decision, microseconds: medians."""

    rules_us: float
    redis_us: float
    grpc_us: float

    @property
    def sum_us(self) -> float:
        """All of them."""
        return self.rules_us + self.redis_us + self.grpc_us


class Granting:
    """Grants everything without counting."""

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        """As Counters.settle."""
        return [uncounted(claim) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        """As Counters.give_back."""


async def measure_parts(settings: Settings, numbers: Sequence[str], trunk: str) -> Parts:
    """Measure with the rules that are in etcd, and its own keys in redis."""
    store = PagedStore(EtcdStore.open(settings.etcd))
    book = Book(on_edge_change=lambda: None)
    await book.reset_rules(await store.list(keys.RULES))
    book.reset_live(Listing([], 0))
    await store.close()
    setup = Setup(region_table.load(settings.routing.regions_file), Voice(Pool(), lambda cursor: ""))
    answerer = Answerer(book, lambda: 1, Stats(dict), setup, Granting())
    # Nobody waits for these answers: time is measured, and not whether it was enough.
    redis = settings.redis.model_copy(update={"prefix": "parts:", "timeout_ms": 5_000})
    counters = RedisCounters(redis, settings.routing.counters)
    keeper = asyncio.create_task(counters.run())
    rules_us, counting_us, grpc_us = [], [], []
    for turn in range(ROUNDS):
        messages = [_message(numbers, trunk, turn, at) for at in range(MESSAGES)]
        began = time.process_time()
        # Answers are thrown away as a replica does: to keep thousands costs time of its own.
        claimed = [(await _answer(answerer, message)).claims for message in messages]
        rules_us.append(_each_us(time.process_time() - began))
        kept = (await _answer(answerer, messages[0])).response
        rounds = _joined(claimed)
        began = time.process_time()
        for claims in rounds:
            await counters.settle(claims)
        counting_us.append(_each_us(time.process_time() - began))
        grpc_us.append(await _grpc_us(kept, numbers, trunk, turn))
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await counters.close()
    if counters.uncounted:
        raise RuntimeError(f"redis did not answer {counters.uncounted} claims in time")
    return Parts(*(Spread.of(found).median for found in (rules_us, counting_us, grpc_us)))


async def _answer(answerer: Answerer, message: routing_pb2.DecideStreamRequest) -> Round:
    found = answerer.begin(message)
    await answerer.settle(found)
    return found


def _joined(messages: Sequence[list[Claim]]) -> list[list[Claim]]:
    """While the first message is counted the others that are under way come: these are counted together."""
    rounds = []
    for start in range(0, len(messages), OPEN_MESSAGES):
        first, *others = messages[start : start + OPEN_MESSAGES]
        rounds += [first, [claim for message in others for claim in message]]
    return rounds


def _each_us(seconds: float) -> float:
    return seconds / MESSAGES / BATCH * 1e6


async def _grpc_us(kept: routing_pb2.DecideStreamResponse, numbers: Sequence[str], trunk: str, turn: int) -> float:
    with _server(kept) as server:
        assert server.stdout is not None
        address = f"127.0.0.1:{int(await asyncio.to_thread(server.stdout.readline))}"
        began = group_cpu_seconds(server.pid)
        told = await ask(Load(address, BATCH, GRPC_S, numbers, trunk, open_messages=OPEN_MESSAGES, seed=turn))
        decided: int = told["decided"]
        # It ends when nobody holds its standard input.
        return (group_cpu_seconds(server.pid) - began) / decided * 1e6


def _server(kept: routing_pb2.DecideStreamResponse) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "signalbox_local.decide_parts"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdin is not None
    server.stdin.write(kept.SerializeToString().hex().encode() + b"\n")
    server.stdin.flush()
    return server


class Kept(routing_pb2_grpc.RoutingServiceServicer):
    """Gives every message the kept answer."""

    def __init__(self, response: routing_pb2.DecideStreamResponse) -> None:
        self._response = response

    @rpc.serve_errors
    async def DecideStream(self, requests: Any, context: Any) -> None:  # type: ignore[override]
        """As RoutingService.DecideStream."""
        async for request in requests:
            for answer, question in zip(self._response.answers, request.questions, strict=False):
                answer.id = question.id
            await context.write(self._response)


async def serve() -> None:
    """Serve the response that is on standard input, until that ends; print the port."""
    response = routing_pb2.DecideStreamResponse.FromString(bytes.fromhex(sys.stdin.readline()))
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(Kept(response), server)  # type: ignore[abstract]
    port = rpc.bind(server, "127.0.0.1:0", ServerTlsSettings())
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


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


if __name__ == "__main__":
    uvloop.run(serve())
