"""The worker's event journal: what its flows did, and what it has recorded, on disk until it is shipped.

Whoever tells an event waits for no disk: rows lie in memory until a thread has written them, at most ROWS_MAX of them.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from signalbox import eventrow, files
from signalbox.api.events.v1 import events_pb2
from signalbox.errors import ConfigurationError
from signalbox.journal import Chunk, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.api.recording.v1 import recording_pb2
    from signalbox.ivr.metrics import IvrMetrics

logger = structlog.get_logger(__name__)

ROWS_MAX = 50_000
"""About 15 MB, if the disk stalls."""
TOGETHER_S = 0.1
"""Rows of so long are written together."""
RETRY_S = 1.0
JOURNAL = "journal"
"""Directory below the state directory."""


class Trace:
    """The :class:`~signalbox.ivr.ports.Events` and the :class:`~signalbox.ivr.ports.Promises`.

    :meth:`run` is the long-lived coroutine. A recording's promise is an event, so that a worker that dies tells of it
    when it is back.
    """

    def __init__(self, state_dir: Path, max_bytes: int, metrics: IvrMetrics) -> None:
        self.journal = Journal(state_dir / JOURNAL, max_bytes)
        self._directory = state_dir
        self._metrics = metrics
        self._rows: list[bytes] = []
        self._news = asyncio.Event()
        self._held: int | None = None

    def open(self) -> None:
        """Recover and begin. Blocks. Raises ConfigurationError."""
        try:
            self._held = files.hold(self._directory)
            self.journal.open()
        except OSError as error:
            why = f"{self._directory} is another worker's" if isinstance(error, BlockingIOError) else str(error)
            raise ConfigurationError(f"ivr.state_dir: {why}") from error

    def tell(self, event: events_pb2.CallEvent) -> None:
        """As :meth:`signalbox.ivr.ports.Events.tell`."""
        event.time.GetCurrentTime()
        self._metrics.count(event)
        try:
            row = eventrow.written(event)
        except eventrow.EventRowError as error:
            self._lose(1, str(error))
            return
        if len(self._rows) >= ROWS_MAX:
            self._lose(1, "the disk does not keep up")
            return
        self._rows.append(row)
        self._news.set()

    def promise(self, promise: recording_pb2.Promise) -> None:
        """As :meth:`signalbox.ivr.ports.Promises.promise`. The time is now, proxy and sequence are the journal's."""
        facts = promise.facts
        started = events_pb2.RecordingStarted()
        for field in started.DESCRIPTOR.fields:
            setattr(started, field.name, getattr(facts, field.name))
        self.tell(events_pb2.CallEvent(call_id=facts.call_id, recording_started=started))

    async def run(self) -> None:
        """Long-lived coroutine: write what was told."""
        failing = False
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._write()
                failing = False
            except OSError as error:
                if not failing:
                    logger.error("events_not_written", reason=str(error), waiting=len(self._rows))
                failing = True
                self._news.set()
            await asyncio.sleep(RETRY_S if failing else TOGETHER_S)

    async def close(self) -> None:
        """Write the rest. End :meth:`run` first. Never fails."""
        try:
            await self._write()
            await asyncio.to_thread(self.journal.close)
        except OSError as error:
            self._lose(len(self._rows), str(error))
        if self._held is not None:
            os.close(self._held)
            self._held = None

    async def _write(self) -> None:
        """Raises OSError; nothing is lost then."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        writing = asyncio.ensure_future(asyncio.to_thread(self.journal.append, [Chunk(0, 0, rows)]))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The thread goes on: what follows comes after it.
            await asyncio.wait([writing])
            if writing.exception() is not None:
                self._rows = rows + self._rows
            raise
        except OSError:
            self._rows = rows + self._rows
            raise

    def _lose(self, count: int, why: str) -> None:
        if count:
            self._metrics.events_lost.inc(count)
            logger.error("events_lost", count=count, reason=why)
