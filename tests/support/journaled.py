"""An event journal with rows that come, and a reporter that follows it to routing replicas."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox.bookmark import Bookmark
from signalbox.edge.pool import Pool
from signalbox.edge.reporter import Reporter
from signalbox.journal import Chunk, Journal
from signalbox.settings import EdgeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.edge.replica import Replica

MIB = 1024 * 1024


class Nobody:
    """Puts no questions."""

    def on_answers(self, replica: Replica, response: object) -> None:
        """None comes."""

    def on_lost(self, replica: Replica) -> None:
        """Nothing was in hand."""

    def on_ready(self) -> None:
        """Nothing waits."""


def row(call: int, text: str, code: str = "", outcome: str = "") -> bytes:
    return f"INVITE|a|b|id@host|{code}|{text}|1795318705|1795318705.386123|call-{call}|{outcome}".encode()


def answered(call: int) -> bytes:
    return row(call, "OK", "200", "line-a 1")


def failed(call: int) -> bytes:
    return row(call, "Busy|Here", "486")


def hung_up(call: int) -> bytes:
    return row(call, "H caller ")


class Journaled:
    """A journal of its own with rows that come."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "journal"
        self.file = directory / "reported"
        self.journal = Journal(self.directory, 64 * MIB)
        self.journal.open()
        self.given_up = 0
        """Reports that the last reporter has given up."""
        self._position = 0

    def append(self, *rows: bytes) -> None:
        self._position += 1
        self.journal.append([Chunk(1, self._position, rows)])

    @asynccontextmanager
    async def reporting(self, *addresses: str) -> AsyncIterator[Bookmark]:
        pool = Pool(EdgeSettings(routing=list(addresses)))
        bookmark = Bookmark(self.journal, self.file)
        bookmark.open()
        reporter = Reporter(bookmark, pool)
        tasks = [asyncio.create_task(pool.run(Nobody())), asyncio.create_task(reporter.run())]
        try:
            yield bookmark
        finally:
            self.given_up = reporter.given_up
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
