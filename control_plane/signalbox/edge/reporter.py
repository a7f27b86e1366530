"""Tells the routing service which calls were answered and which ended, so that live counts are right.

Follows the event journal with a bookmark of its own, which moves when a replica has taken what is before it: every
report arrives at least once, also after a crash of ours, and after an outage for as long as the journal holds. At most
one message of reports is in memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog

from signalbox import callreports, eventrow
from signalbox.api.routing.v1.routing_pb2 import CallReport
from signalbox.edge.telling import until_taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.api.routing.v1.routing_pb2 import ReportCallsRequest
    from signalbox.bookmark import Bookmark
    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica

logger = structlog.get_logger(__name__)

ROWS = 4096
"""Most rows that are looked at for one message."""

REPORTS = callreports.MAX_REPORTS
"""Most reports in one message."""

INTERVAL_S = 0.2
_HUNG_UP = b"H"


class Batch(NamedTuple):
    """Reports, and the sequence of the last row that was looked at for them."""

    reports: Sequence[CallReport]
    sequence: int


class Reporter:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(self, bookmark: Bookmark, pool: Pool) -> None:
        self._bookmark = bookmark
        self._pool = pool
        self._delayed = False
        self.given_up = 0
        """Reports that routing refuses for good."""

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            try:
                while self._bookmark.behind and await self._report_some():
                    pass
            except OSError as error:
                logger.error("calls_not_reported", reason=str(error))
            await asyncio.sleep(INTERVAL_S)

    async def _report_some(self) -> bool:
        """One message; False if there was no row. Raises OSError."""
        batch = await asyncio.to_thread(self._collect)
        if batch is None:
            return False
        if batch.reports:
            await callreports.deliver(batch.reports, self._send, self._give_up)
        await self._bookmark.move(batch.sequence)
        return True

    def _collect(self) -> Batch | None:
        rows = self._bookmark.rows(ROWS)
        return collect(rows) if rows else None

    async def _send(self, request: ReportCallsRequest) -> None:
        """Return when a replica has taken the reports. Raises ReportsRefusedError."""
        replica = await until_taken(self._pool, lambda channel: callreports.hand_over(channel, request), self._delay)
        if self._delayed:
            logger.info("reports_go_on", replica=replica.name, behind=self._bookmark.behind)
        self._delayed = False

    def _delay(self, replica: Replica, reason: str) -> None:
        if not self._delayed:
            logger.warning("reports_delayed", replica=replica.name, reason=reason)
        self._delayed = True

    def _give_up(self) -> None:
        self.given_up += 1


def collect(rows: Iterable[tuple[int, bytes]]) -> Batch:
    """Reports of rows, one at least, as many as fit into a message."""
    reports: list[CallReport] = []
    sequence = 0
    for sequence, row in rows:
        kind = eventrow.kind(row)
        if (kind == _HUNG_UP or kind[:1].isdigit()) and (report := _report(sequence, row)):
            reports.append(report)
            if len(reports) == REPORTS:
                break
    return Batch(reports, sequence)


def _report(sequence: int, row: bytes) -> CallReport | None:
    """The report of a final reply or of an end: most rows are others."""
    try:
        columns = eventrow.split(row.decode(errors="replace"))
        if eventrow.is_leg(columns.call_id):
            return None  # counted for the call that it is for, and told by its worker and its proxy
        if not columns.code or int(columns.code) >= 300:
            return CallReport(call_id=columns.call_id, ended=True)
        by = eventrow.answered(columns.outcome)
        # Which line has a call that a worker answered is told by the worker.
        return CallReport(call_id=columns.call_id, answered="" if by.worker else by.line)
    except (eventrow.EventRowError, ValueError) as error:
        logger.error("event_not_reported", sequence=sequence, reason=str(error))
        return None
