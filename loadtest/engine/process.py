"""``python -m loadtest.engine.process``: makes the calls that it is told of on standard input, and tells their
results."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop
from signalbox import log
from signalbox.settings import LogSettings
from signalbox.sip.tcp import Limits
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent

from loadtest.engine import messages
from loadtest.engine.calls import Calls
from loadtest.engine.messages import Effort, Ready, dumps
from loadtest.engine.sound import Clock, Party
from loadtest.model.traffic import Plan

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall

    from loadtest.engine.messages import Address, Start

EFFORT_EVERY_S = 1.0
LINE_BYTES = 1 << 20
GC_THRESHOLDS = (50_000, 20, 100)
"""Hardly anything here is cyclic, and a pause is heard."""


async def run() -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    engine = await Engine.open(messages.start(json.loads(await reader.readline())))
    engine.tell(dumps("ready", Ready(engine.line)))
    effort = asyncio.create_task(engine.tell_effort())
    try:
        while line := await reader.readline():
            engine.take(json.loads(line))
    finally:
        effort.cancel()
        await engine.close()


class Engine:
    """User agents of callers and lines, and their sound."""

    def __init__(self, start: Start, callers: Transports, lines: Transports, line: Address) -> None:
        loop = asyncio.get_running_loop()
        self.line = line
        self._loop = loop
        self._transports = (callers, lines)
        self._parties = Party(loop, start.media_host), Party(loop, start.media_host)
        self._clock = Clock(loop, self._parties)
        self._calls = Calls(*self._parties)
        self._callers = UserAgent(Transactions(callers), _nobody)
        self._lines = UserAgent(Transactions(lines), self._calls.answer)
        self._proxies = itertools.cycle(start.proxies)
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, start: Start) -> Engine:
        """Raises ConfigurationError for an address that cannot be had."""
        callers, lines = Transports(Limits(connections=16)), Transports(Limits(connections=64))
        await callers.listen_udp(start.caller_host, 0)
        await callers.listen_tcp(start.caller_host, 0)
        line = await lines.listen_udp(start.line_host, 0)
        return cls(start, callers, lines, line)

    def take(self, message: dict[str, Any]) -> None:
        """A call to make."""
        task = asyncio.create_task(self._call(message["id"], Plan(**message["plan"]), message["number"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tell(self, line: bytes) -> None:
        """To who has started us."""
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    async def tell_effort(self) -> None:
        """Each second what it takes to make these calls."""
        then, spent = self._loop.time(), time.process_time()
        while True:
            await asyncio.sleep(EFFORT_EVERY_S)
            now, cpu = self._loop.time(), time.process_time()
            stats = [transports.stats for transports in self._transports]
            effort = Effort(
                seconds=now - then,
                cpu_seconds=cpu - spent,
                late_ms=self._clock.worst_s() * 1000,
                open_calls=len(self._calls),
                retransmitted=sum(one.retransmitted for one in stats),
                unreadable=sum(one.dropped_bad + one.refused for one in stats) + self._calls.strays,
            )
            self.tell(dumps("effort", effort))
            then, spent = now, cpu

    async def close(self) -> None:
        """End all calls that are under way; nothing is told of them."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._callers.close(), self._lines.close())
        self._clock.close()
        for party in self._parties:
            party.close()
        for transports in self._transports:
            await transports.close()

    async def _call(self, id: int, plan: Plan, number: str) -> None:
        found = await self._calls.place(self._callers, plan, number, next(self._proxies))
        self.tell(dumps("result", found, id=id))


async def _nobody(call: IncomingCall) -> None:
    """Callers are not called."""
    call.reject(403)


def main() -> int:
    """Run until standard input ends."""
    gc.set_threshold(*GC_THRESHOLDS)
    # Standard output is for results.
    log.configure(LogSettings(level="warning", format="console"), "loadtest")
    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
