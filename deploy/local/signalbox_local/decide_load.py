"""Asks one routing replica for decisions over a stream, in a process of its own.

Prints one JSON object: how many were decided, how long it took, and the delays of the messages.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc

from signalbox_local.bench import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    Stream = grpc.aio.StreamStreamCall[routing_pb2.DecideStreamRequest, routing_pb2.DecideStreamResponse]

SEGMENTS = ("1380000", "1391234", "1860471", "1590010", "1770021", "1330755", "1520028", "1890451")


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: ``rate`` messages a second; 0: as many as are answered with ``open_messages`` under way."""

    address: str
    batch: int
    seconds: float
    numbers: Sequence[str]
    trunk: str
    open_messages: int = 4
    rate: float = 0.0
    seed: int = 1
    in_order: bool = False
    """The numbers are called one after the other, again and again; otherwise each as often as chance has it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it. ``delays_ms``: from sending a message to its answers, at shares 0.5 and 0.99."""

    decided: int
    dialled: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float


class Asker:
    """One stream."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._random = random.Random(load.seed)
        self._run = f"{self._random.getrandbits(40):x}"
        self._next = 0
        self._sent: dict[int, float] = {}
        self._room = asyncio.Semaphore(load.open_messages if not load.rate else 100_000)
        self._delays: list[float] = []
        self._decided = self._dialled = 0

    async def run(self) -> Told:
        """Ask for the time that is set, then wait for the answers."""
        async with grpc.aio.insecure_channel(self._load.address) as channel:
            stream = routing_pb2_grpc.RoutingServiceStub(channel).DecideStream()
            reader = asyncio.create_task(self._read(stream))
            began = time.perf_counter()
            await self._write(stream, began)
            await stream.done_writing()
            await reader
        elapsed = time.perf_counter() - began
        return Told(
            self._decided, self._dialled, elapsed, percentile(self._delays, 0.5), percentile(self._delays, 0.99)
        )  # fmt: skip

    async def _write(self, stream: Stream, began: float) -> None:
        sent = 0
        while time.perf_counter() - began < self._load.seconds:
            if self._load.rate:
                due = began + sent / self._load.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self._room.acquire()
            message = self._message()
            self._sent[message.questions[0].id] = time.perf_counter()
            await stream.write(message)
            sent += 1

    def _message(self) -> routing_pb2.DecideStreamRequest:
        message = routing_pb2.DecideStreamRequest()
        choose = self._random
        for _ in range(self._load.batch):
            self._next += 1
            caller = f"{choose.choice(SEGMENTS)}{choose.randrange(10_000):04d}"
            message.questions.add(
                id=self._next,
                request=routing_pb2.DecideRequest(
                    call_id=f"bench-{self._run}-{self._next}",
                    trunk=self._load.trunk,
                    called=self._called(),
                    calling=caller,
                    source_address="127.0.0.1",
                ),
            )
        return message

    def _called(self) -> str:
        numbers = self._load.numbers
        return numbers[self._next % len(numbers)] if self._load.in_order else self._random.choice(numbers)

    async def _read(self, stream: Stream) -> None:
        async for response in stream:
            now = time.perf_counter()
            self._decided += len(response.answers)
            for answer in response.answers:
                self._dialled += answer.decision.HasField("dial")
                # The answers to one message come in one message, perhaps together with those to others.
                began = self._sent.pop(answer.id, None)
                if began is not None:
                    self._delays.append((now - began) * 1000)
                    self._room.release()


async def ask(load: Load) -> dict[str, Any]:
    """Ask in a process of its own; what it told, by the names of :class:`Told`."""
    command = [sys.executable, "-m", "signalbox_local.decide_load"]
    given = json.dumps(asdict(load)).encode()
    ended = await asyncio.to_thread(subprocess.run, command, input=given, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def main() -> int:
    """Run the load that is described by a JSON object on standard input."""
    load = Load(**json.load(sys.stdin))
    json.dump(asdict(uvloop.run(Asker(load).run())), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
