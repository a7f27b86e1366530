"""Live counts of calls in redis or valkey: limits, turns, and which line served a caller.

What is counted, when and for how long is in ``counters.lua``; ``docs/design/live-counts.md`` says why. Here is what
keeps calls going when redis does not: a claim that gets no answer within the time limit goes on uncounted, from then on
none waits until redis answers again, and what went on uncounted is counted then.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from signalbox import dialogs_script, redis_client
from signalbox.domain.claims import Claim, Claimed, Place, uncounted
from signalbox.errors import StoreUnavailableError
from signalbox.routing import counters_script as script
from signalbox.routing import queues_script

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from prometheus_client import Metric

    from signalbox.domain.claims import Waiting
    from signalbox.routing.counters_script import Encoded, Operation
    from signalbox.settings import CountersSettings, RedisSettings

logger = structlog.get_logger(__name__)

BATCH = 128
"""Most operations in one run of the script: redis serves nobody else meanwhile, about a millisecond."""

PROBE_S = 0.1
"""Pause between two attempts to reach redis while it is away."""

OWED = 100_000
"""Most calls that are remembered to be counted afterwards, about 100 MB; the oldest are given up."""

OWED_S = 300.0
"""A call is remembered for so long: as long as redis knows that one has ended (UNKNOWN_MS)."""


class CountersUnavailableError(StoreUnavailableError):
    """redis cannot be reached or took too long. What was to be done may have been done."""


class RedisCounters(Collector):
    """The counts of the whole cluster. Implements :class:`signalbox.domain.claims.Queues`.

    :meth:`run` is its long-lived coroutine; without it redis is not found again after an outage. Also a collector for a
    Prometheus registry. Raises ConfigurationError if the connection's settings are wrong.
    """

    def __init__(self, redis: RedisSettings, settings: CountersSettings) -> None:
        self._redis = redis_client.connect(redis)
        self._timeout_s = redis.timeout_ms / 1000
        self._prefix = redis.prefix
        self._settings = script.settings(redis.prefix, settings)
        self._away = asyncio.Event()
        self._owed: OrderedDict[tuple[str, str], tuple[float, Claim, Claimed]] = OrderedDict()
        self._returning: set[asyncio.Task[None]] = set()
        self.uncounted = 0
        """Claims that went on uncounted."""
        self.recovered = 0
        """Those that were counted afterwards."""
        self.given_up = 0
        """Those that never will be: too many, or too old."""
        self.outages = 0
        """How often redis went away."""

    @property
    def available(self) -> bool:
        """True if redis answered last."""
        return not self._away.is_set()

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        """Settle claims in one round trip, in their order (one for each :data:`BATCH`). Raises nothing of its own."""
        if not claims:
            return []
        if self.available:
            try:
                lines = await self._run([script.claim(claim) for claim in claims])
            except CountersUnavailableError as error:
                self._lost(error)
            else:
                return [script.claimed(line) for line in lines]
        return [self._go_on(claim) for claim in claims]

    async def wait(self, waiting: Waiting) -> Place:
        """Take or keep a place in a queue, or leave it: a queue whose places nobody knows is left by itself."""
        if not self.available:
            return Place()
        try:
            told = await self._each_batch(queues_script.SCRIPT, self._prefix, [queues_script.operation(waiting)])
        except CountersUnavailableError as error:
            self._lost(error)
            return Place()
        return queues_script.place(told[0])

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Nobody waits for the answers of these any more: what nobody else got is free again, soon.

        Does not wait, and is lost if redis is away: then the call's end gives back, or the end of its lease.
        """
        for claim in claims:
            self._owed.pop((claim.call_id, claim.part), None)
        operations = [script.give_back(claim) for claim in claims if not claim.look]
        if operations and self.available:
            task = asyncio.create_task(self._give_back(operations))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def report(self, operations: Sequence[Operation]) -> None:
        """Tell what became of calls, as operations of the script: answered, ended, alive.

        Telling twice counts once. Raises CountersUnavailableError: some may have been taken; tell all again.
        """
        await self._tell(self._run(operations))

    async def media_dead(self, calls: Sequence[tuple[str, int]]) -> None:
        """Tell of calls, each with the number of the media node that says so, that no media came for too long.

        Any edge ends them. Telling twice counts once. Raises CountersUnavailableError, as :meth:`report`.
        """
        await self._tell_of_dialogs("media_timeout", calls)

    async def anchored(self, calls: Sequence[tuple[str, int]]) -> None:
        """Tell of workers' calls, each with the number of the media node where they are. Raises as :meth:`report`."""
        await self._tell_of_dialogs("anchored", calls)

    async def _tell_of_dialogs(self, what: str, calls: Sequence[tuple[str, int]]) -> None:
        operations: list[Operation] = [[what, id, str(node)] for id, node in calls]
        await self._tell(self._each_batch(dialogs_script.SCRIPT, self._prefix, operations))

    async def run(self) -> None:
        """Long-lived coroutine: while redis is away, try again and again; when it is back, count what was not."""
        try:
            # Connects and brings the script, so that no call waits for that; and who starts without redis is told so.
            await self._run([script.PROBE])
        except CountersUnavailableError as error:
            self._lost(error)
        while True:
            await self._away.wait()
            started = time.monotonic()
            while True:
                with suppress(CountersUnavailableError):
                    await self._run([script.PROBE])
                    await self._count_owed()
                    break
                await asyncio.sleep(PROBE_S)
            self._away.clear()
            logger.info(
                "counts_are_back",
                away_s=round(time.monotonic() - started, 3),
                uncounted=self.uncounted,
                recovered=self.recovered,
                given_up=self.given_up,
            )

    async def settled(self) -> None:
        """Wait until all that was given back is on its way no more."""
        if self._returning:
            await asyncio.wait(self._returning)

    async def close(self) -> None:
        """Finish what was given back, and end the connections."""
        await self.settled()
        await self._redis.aclose()

    def collect(self) -> Iterable[Metric]:
        """For the Prometheus registry."""
        yield GaugeMetricFamily("signalbox_routing_counts_available", "1 if redis answers.", value=self.available)
        yield GaugeMetricFamily(
            "signalbox_routing_counts_owed", "Calls to be counted when redis is back.", value=len(self._owed)
        )
        for name, about, value in (
            ("outages", "Times that redis went away.", self.outages),
            ("uncounted", "Claims that went on without being counted.", self.uncounted),
            ("recovered", "Claims that were counted afterwards.", self.recovered),
            ("given_up", "Uncounted claims that were too many or too old to be counted afterwards.", self.given_up),
        ):
            yield CounterMetricFamily(f"signalbox_routing_counts_{name}", about, value=value)

    def _go_on(self, claim: Claim) -> Claimed:
        """Let a call go on uncounted, and remember it."""
        claimed = uncounted(claim)
        if claim.look:
            return claimed
        self.uncounted += 1
        key = (claim.call_id, claim.part)
        if key not in self._owed:
            self._owed[key] = (time.monotonic(), claim, claimed)
            if len(self._owed) > OWED:
                self._owed.popitem(last=False)
                self.given_up += 1
        return claimed

    async def _tell(self, telling: Coroutine[object, object, object]) -> None:
        """Raises CountersUnavailableError."""
        if not self.available:
            telling.close()
            raise CountersUnavailableError("redis is away")
        try:
            await telling
        except CountersUnavailableError as error:
            self._lost(error)
            raise

    def _lost(self, error: CountersUnavailableError) -> None:
        if self.available:
            self.outages += 1
            self._away.set()
            logger.error("counts_unavailable", reason=str(error), outages=self.outages)

    async def _count_owed(self) -> None:
        """Raises CountersUnavailableError; what is not counted by then is still owed."""
        while self._owed:
            oldest = time.monotonic() - OWED_S
            batch = list(islice(self._owed.items(), BATCH))
            young = [script.count(claim, claimed) for _, (since, claim, claimed) in batch if since >= oldest]
            counted = await self._count(young) if young else 0
            self.recovered += counted
            self.given_up += len(batch) - counted
            for key, _ in batch:
                self._owed.pop(key, None)

    async def _count(self, operations: Sequence[Operation]) -> int:
        """How many could be counted: one that redis can make nothing of must not hold up the others for ever.

        Raises CountersUnavailableError if it is redis that cannot.
        """
        with suppress(CountersUnavailableError):
            await self._run(operations)
            return len(operations)
        counted = 0
        for operation in operations:
            await self._run([script.PROBE])
            try:
                await self._run([operation])
                counted += 1
            except CountersUnavailableError as error:
                await self._run([script.PROBE])
                logger.error("claim_not_counted", call_id=operation[1], reason=str(error))
        return counted

    async def _give_back(self, operations: Sequence[Operation]) -> None:
        try:
            await self._run(operations)
        except CountersUnavailableError as error:
            self._lost(error)

    async def _run(self, operations: Sequence[Operation | Encoded]) -> list[bytes]:
        """One line for each operation. Raises CountersUnavailableError."""
        texts: list[bytes] = await self._each_batch(script.SCRIPT, self._settings, operations)
        return [line for text in texts for line in text.split(b"\n")]

    async def _each_batch(
        self, run: redis_client.Script, first: str, operations: Sequence[Operation | Encoded]
    ) -> list[Any]:
        """What each run of a script returns; ``first`` is its first argument. Raises CountersUnavailableError."""
        returned = []
        try:
            for start in range(0, len(operations), BATCH):
                async with asyncio.timeout(self._timeout_s):
                    batch = script.encoded(operations[start : start + BATCH])
                    returned.append(await run.run(self._redis, first, batch))
        except (RedisError, OSError, TimeoutError) as error:
            redis_client.obey_cancellation()
            raise CountersUnavailableError(_words(error)) from error
        redis_client.obey_cancellation()
        return returned


def _words(error: Exception) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
