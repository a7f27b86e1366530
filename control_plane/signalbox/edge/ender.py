"""Ends calls: those that have lasted as long as they may, and those that somebody wants ended.

Two long-lived coroutines: :meth:`Ender.follow` takes what the proxy's events say of dialogs over into redis,
:meth:`Ender.watch` ends calls of the whole cluster that are due. While redis is away calls go on, and this says so.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.edge import byes, eventrow
from signalbox.edge.dialogs import Dialog, DialogsUnavailableError, Ending, Operation, operation
from signalbox.edge.journal import read
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.edge.byes import ByeSender
    from signalbox.edge.dialogs import Dialogs
    from signalbox.edge.journal import Journal

logger = structlog.get_logger(__name__)

FOLLOW_S = 0.2
WATCH_S = 1.0
MAX_ROWS = 2_000
"""Rows of the journal taken over in one round trip."""

MAX_DUE = 20
"""Calls that one edge ends in one go; the others are left to other edges, or to the next time."""

COMPLAIN_S = 30.0
"""An outage of redis is told again after this time."""

POSITION_FILE = "dialogs.position"
_WANTED = (b"|C ", b"|U ", b"|H ")


class Ender:
    """``proxy_up`` tells whether our own proxy runs: without it no call is claimed."""

    def __init__(
        self, dialogs: Dialogs, journal: Journal, state_dir: Path, sender: ByeSender, proxy_up: Callable[[], bool]
    ) -> None:
        self._dialogs = dialogs
        self._journal = journal
        self._directory = state_dir / "journal"
        self._file = state_dir / POSITION_FILE
        self._sender = sender
        self._proxy_up = proxy_up
        self._next = 1
        self._endings: set[asyncio.Task[dict[str, int]]] = set()
        self._complained_at: float | None = None
        self.ended = 0

    @property
    def behind(self) -> int:
        """Events that redis does not know of yet."""
        return self._journal.sequence + 1 - self._next

    def load(self) -> None:
        """Go on where the life before stopped; at first, with what happens from now on. Blocks. Raises OSError."""
        try:
            self._next = min(int(self._file.read_text()), self._journal.sequence + 1)
        except (FileNotFoundError, ValueError):
            self._next = self._journal.sequence + 1
            self._save()

    async def follow(self) -> None:
        """Long-lived coroutine: no event is passed over, and what is taken over twice changes nothing."""
        while True:
            try:
                while self.behind:
                    following, operations = await asyncio.to_thread(self._read)
                    if following == self._next:
                        break  # counted, but not on disk yet
                    if operations:
                        await self._dialogs.apply(operations)
                    self._next = following
                    await asyncio.to_thread(self._save)
                    self._is_back()
            except (DialogsUnavailableError, OSError) as error:
                self._complain(error)
                await asyncio.sleep(WATCH_S)
            await asyncio.sleep(FOLLOW_S)

    async def watch(self) -> None:
        """Long-lived coroutine."""
        while True:
            if self._proxy_up():
                try:
                    for ending in await self._dialogs.due(MAX_DUE, "max_duration"):
                        self._begin(ending)
                    if not self.behind:
                        self._is_back()
                except DialogsUnavailableError as error:
                    self._complain(error)
            await asyncio.sleep(WATCH_S)

    async def hang_up(self, call_id: str, why: str, within_s: float) -> dict[str, int] | None:
        """End a call; the parties' final status codes, those that came in time. None if it is not known.

        Raises DialogsUnavailableError.
        """
        ending = await self._dialogs.claim(call_id, why)
        if ending is None:
            return None
        task = self._begin(ending)
        await asyncio.wait([task], timeout=within_s)
        return task.result() if task.done() else {}

    async def close(self) -> None:
        """Give up what has not ended; another edge goes on with it."""
        for task in self._endings:
            task.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)
        self._sender.close()
        await self._dialogs.close()

    def _read(self) -> tuple[int, list[Operation]]:
        """The next rows: the sequence after them, and what they change."""
        operations: list[Operation] = []
        following = self._next
        for sequence, row in itertools.islice(read(self._directory, self._next), MAX_ROWS):
            following = sequence + 1
            if any(mark in row for mark in _WANTED):
                try:
                    change = operation(eventrow.parse(row.decode(errors="replace")))
                except eventrow.EventRowError as error:
                    logger.error("event_unreadable", sequence=sequence, reason=str(error))
                    continue
                if change is not None:
                    operations.append(change)
        return following, operations

    def _save(self) -> None:
        write_atomically(self._file, b"%d\n" % self._next)

    def _begin(self, ending: Ending) -> asyncio.Task[dict[str, int]]:
        task = asyncio.create_task(self._end(ending), name=f"ending {ending.call_id}")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    async def _end(self, ending: Ending) -> dict[str, int]:
        """Send the BYEs of all dialogs. What had no reply from our own proxy is claimed again when the lease ends."""
        codes: dict[str, int] = {}
        for dialog in ending.dialogs:
            caller, line = await asyncio.gather(*map(self._sender.send, byes.requests(dialog, ending.why)))
            codes = {"caller": caller, "line": line}
            if caller and line:
                await self._forget(dialog)
            logger.info("call_ended", call_id=ending.call_id, why=ending.why, caller=caller, line=line)
        self.ended += 1
        return codes

    async def _forget(self, dialog: Dialog) -> None:
        try:
            await self._dialogs.ended(dialog)
        except DialogsUnavailableError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if self._complained_at is None or now - self._complained_at >= COMPLAIN_S:
            self._complained_at = now
            logger.error("dialogs_unavailable", reason=str(error), behind=self.behind)

    def _is_back(self) -> None:
        if self._complained_at is not None:
            self._complained_at = None
            logger.info("dialogs_are_back")
