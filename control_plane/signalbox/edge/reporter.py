"""Tells the routing service which calls were answered and which ended, so that live counts are right.

Follows the event journal from a position of its own, which moves when a replica has taken what is before it: every
report arrives at least once, also after a crash of ours, and after an outage for as long as the journal holds. At most
one message of reports is in memory.
"""

from __future__ import annotations

import asyncio
import random
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import grpc
import structlog

from signalbox.api.routing.v1.routing_pb2 import CallReport, ReportCallsRequest
from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceStub
from signalbox.edge import eventrow, journal
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica

logger = structlog.get_logger(__name__)

ROWS = 4096
"""Most rows that are looked at for one message."""

REPORTS = 1024
"""Most reports in one message (routing.v1.ReportCallsRequest)."""

INTERVAL_S = 0.2
TIMEOUT_S = 5.0
RETRY_S = 0.5
"""Longest pause before another replica is told."""

_CODE_COLUMN = 4
_HUNG_UP = b"H "


class Batch(NamedTuple):
    """Reports, and the sequence of the last row that was looked at for them."""

    reports: Sequence[CallReport]
    sequence: int


class _NotTakenError(Exception):
    """The replica did not take the reports; another may."""


class Reporter:
    """:meth:`run` is the long-lived coroutine. ``file`` holds the sequence up to which calls have been reported."""

    def __init__(self, source: journal.Journal, directory: Path, file: Path, pool: Pool) -> None:
        self._journal = source
        self._directory = directory
        self._file = file
        self._pool = pool
        self._delayed = False
        self.sequence = 0

    def open(self) -> None:
        """Find the position; without one begin with what comes now. Blocks. Raises OSError."""
        try:
            self.sequence = int(self._file.read_text())
        except FileNotFoundError:
            self.sequence = -1
        except ValueError:
            logger.error("report_position_damaged", file=str(self._file))
            self.sequence = -1
        if not 0 <= self.sequence <= self._journal.sequence:
            self._keep(self._journal.sequence)

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            try:
                while self.sequence < self._journal.sequence and await self._report_some():
                    pass
            except OSError as error:
                logger.error("calls_not_reported", reason=str(error))
            await asyncio.sleep(INTERVAL_S)

    async def _report_some(self) -> bool:
        """One message; False if there was no row. Raises OSError."""
        batch = await asyncio.to_thread(collect, self._directory, self.sequence + 1)
        if batch.reports:
            await self._tell(ReportCallsRequest(reports=batch.reports))
        moved = batch.sequence > self.sequence
        if moved:
            await asyncio.to_thread(self._keep, batch.sequence)
        return moved

    async def _tell(self, request: ReportCallsRequest) -> None:
        """Return when a replica has taken the reports."""
        avoid: Replica | None = None
        while True:
            avoid = replica = await self._pool.connected(avoid)
            try:
                await _send(replica, request)
            except _NotTakenError as error:
                if not self._delayed:
                    logger.warning("reports_delayed", replica=replica.name, reason=str(error))
                self._delayed = True
                await asyncio.sleep(random.uniform(0, RETRY_S))
                continue
            if self._delayed:
                logger.info("reports_go_on", replica=replica.name, behind=self._journal.sequence - self.sequence)
            self._delayed = False
            return

    def _keep(self, sequence: int) -> None:
        write_atomically(self._file, b"%d\n" % sequence)
        self.sequence = sequence


def collect(directory: Path, first: int) -> Batch:
    """Reports of the journal's next rows. Blocks. Raises OSError."""
    reports: list[CallReport] = []
    sequence = first - 1
    for sequence, row in islice(journal.read(directory, first), ROWS):
        if _tells(row) and (report := _report(sequence, row)):
            reports.append(report)
            if len(reports) == REPORTS:
                break
    return Batch(reports, sequence)


def _tells(row: bytes) -> bool:
    """True for final replies and ends of calls, without reading the row in full: most rows are others."""
    columns = row.split(b"|", _CODE_COLUMN + 1)
    return len(columns) > _CODE_COLUMN + 1 and (columns[-2] != b"" or columns[-1].startswith(_HUNG_UP))


def _report(sequence: int, row: bytes) -> CallReport | None:
    try:
        event = eventrow.parse(row.decode())
    except (eventrow.EventRowError, UnicodeDecodeError) as error:
        logger.error("event_not_reported", sequence=sequence, reason=str(error))
        return None
    if event.WhichOneof("event") == "answered":
        return CallReport(call_id=event.call_id, answered=event.answered.line)
    return CallReport(call_id=event.call_id, ended=True)


async def _send(replica: Replica, request: ReportCallsRequest) -> None:
    """Raises _NotTakenError."""
    if replica.channel is None:
        raise _NotTakenError("not connected")
    try:
        await RoutingServiceStub(replica.channel).ReportCalls(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            raise _NotTakenError(f"{error.code().name}: {error.details()}") from error
        # It would be refused for ever, and nothing behind it would arrive.
        logger.error("reports_refused", replica=replica.name, count=len(request.reports), reason=error.details())
    except asyncio.InvalidStateError as error:
        raise _NotTakenError("channel closed") from error
    except asyncio.CancelledError as error:
        # grpc.aio raises it too when a channel is closed under a call: that is no cancellation of ours.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise _NotTakenError("channel closed") from error
