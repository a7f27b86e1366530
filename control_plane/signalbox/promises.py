"""Tells recorders which calls are to be recorded, so that a recording that never comes is known to be missing.

Follows the event journal with a bookmark of its own, which moves when a recorder has taken what is before it: every
promise arrives at least once, also after a crash of ours, and after an outage for as long as the journal holds. At most
one message of promises is in memory.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

import grpc
import structlog

from signalbox import eventrow, rpc
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Promise, ReportPromisesRequest
from signalbox.api.recording.v1.recording_pb2_grpc import PromiseServiceStub
from signalbox.callreports import ReportsRefusedError, without_refused
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.bookmark import Bookmark
    from signalbox.settings import ClientTlsSettings

logger = structlog.get_logger(__name__)

ROWS = 4096
"""Most rows that are looked at for one message."""

PROMISES = 1024
"""Most promises in one message (recording.v1.ReportPromisesRequest)."""

INTERVAL_S = 1.0
TIMEOUT_S = 10.0
"""For an answer: it comes when the promises are in the database."""

RETRY_MIN_S = 0.5
RETRY_MAX_S = 15.0
"""Longest pause before a recorder is told again, the first and the longest of all."""

_PROMISED = b"S", b"W"
"""Rows that may be promises: of a proxy, of a worker."""


class Batch(NamedTuple):
    """Promises, and the sequence of the last row that was looked at for them."""

    promises: Sequence[Promise]
    sequence: int


class Promises:
    """:meth:`run` is the long-lived coroutine. Without recorders nobody is told, and the bookmark moves on.

    ``proxy``: whose journal it is: a proxy's, or a worker's. To be made on the event loop. Raises ConfigurationError if
    a file of ``tls`` cannot be read.
    """

    def __init__(self, bookmark: Bookmark, proxy: str, recorders: Sequence[str], tls: ClientTlsSettings) -> None:
        self._bookmark = bookmark
        self._proxy = proxy
        self._tls = tls
        self._recorders = list(recorders)
        self._channel: grpc.aio.Channel | None = None
        if self._tls.enabled:
            rpc.channel_credentials(self._tls)
        self._delayed = False
        self.told = 0
        """Promises that a recorder has taken, since the start."""
        self.given_up = 0
        """Promises that recorders refuse for good, since the start."""

    @property
    def behind(self) -> int:
        """Events that were not yet looked at for promises, or whose promises no recorder has taken."""
        return self._bookmark.behind

    async def run(self) -> None:
        """Long-lived coroutine."""
        try:
            while True:
                try:
                    while self.behind and await self._tell_some():
                        pass
                except OSError as error:
                    logger.error("promises_not_told", reason=str(error))
                await asyncio.sleep(INTERVAL_S)
        finally:
            await self._hang_up()

    async def _tell_some(self) -> bool:
        """One message; False if there was no row. Raises OSError."""
        if not self._recorders:
            await self._bookmark.move(self._bookmark.sequence + self.behind)
            return False
        batch = await asyncio.to_thread(self._collect)
        if batch is None:
            return False
        if batch.promises:
            await without_refused(batch.promises, self._until_taken, self._give_up)
        await self._bookmark.move(batch.sequence)
        return True

    def _collect(self) -> Batch | None:
        rows = self._bookmark.rows(ROWS)
        return collect(rows, self._proxy) if rows else None

    def _give_up(self, promise: Promise, error: ReportsRefusedError) -> None:
        logger.error("promise_given_up", call_id=promise.facts.call_id, reason=str(error))
        self.given_up += 1

    async def _until_taken(self, promises: Sequence[Promise]) -> None:
        """Tell one recorder after the other until one has taken them. Raises ReportsRefusedError."""
        request = ReportPromisesRequest(promises=promises)
        pause_s = RETRY_MIN_S
        while True:
            try:
                if self._channel is None:
                    self._channel = rpc.channel(self._recorders[0], self._tls)
                await PromiseServiceStub(self._channel).ReportPromises(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise ReportsRefusedError(error.details() or "") from error
                await self._another(f"{error.code().name}: {error.details()}")
            except ConfigurationError as error:
                # A certificate is just being replaced.
                await self._another(str(error))
            else:
                self._taken(len(promises))
                return
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def _another(self, reason: str) -> None:
        """The next recorder is told from now on, over a new connection: an old one may wait long before it tries."""
        if not self._delayed:
            logger.warning("promises_delayed", recorder=self._recorders[0], reason=reason, behind=self.behind)
        self._delayed = True
        await self._hang_up()
        self._recorders.append(self._recorders.pop(0))

    def _taken(self, count: int) -> None:
        if self._delayed:
            logger.info("promises_go_on", recorder=self._recorders[0], behind=self.behind)
        self._delayed = False
        self.told += count

    async def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


def collect(rows: Iterable[tuple[int, bytes]], proxy: str) -> Batch:
    """Promises of rows, one row at least, as many as fit into a message."""
    promises: list[Promise] = []
    sequence = 0
    for sequence, row in rows:
        if eventrow.kind(row) in _PROMISED and (promise := _promise(sequence, row, proxy)):
            promises.append(promise)
            if len(promises) == PROMISES:
                break
    return Batch(promises, sequence)


def _promise(sequence: int, row: bytes, proxy: str) -> Promise | None:
    try:
        event = eventrow.parse(row.decode(errors="replace"))
    except eventrow.EventRowError as error:
        logger.error("promise_unreadable", sequence=sequence, reason=str(error))
        return None
    if not event.HasField("recording_started"):
        return None
    facts = CallFacts(call_id=event.call_id, answer_time=event.time)
    for field in event.recording_started.DESCRIPTOR.fields:
        setattr(facts, field.name, getattr(event.recording_started, field.name))
    return Promise(proxy=proxy, sequence=sequence, facts=facts)
