"""Ends calls: those that have lasted as long as they may, and those that somebody wants ended.

Two long-lived coroutines: :meth:`Ender.follow` takes what the proxy's events say of dialogs over into redis,
:meth:`Ender.watch` ends calls of the whole cluster that are due. While redis is away calls go on, and this says so.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from signalbox import eventrow
from signalbox.edge import byes
from signalbox.edge.dialogs import Dialog, DialogsUnavailableError, Ending, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.bookmark import Bookmark
    from signalbox.dialogs_script import Operation
    from signalbox.edge.byes import ByeSender
    from signalbox.edge.dialogs import Dialogs

logger = structlog.get_logger(__name__)

FOLLOW_S = 0.2
WATCH_S = 1.0
NEXT_S = 0.2
"""Time between two looks while more calls are due than are claimed at a time: one edge ends 100 calls in a second."""

MAX_ROWS = 2_000
"""Rows of the journal taken over in one round trip."""

MAX_DUE = 20
"""Calls that one edge claims at a time; the others are left to other edges, or to the next time."""

MAX_STUCK = 10_000
"""Calls remembered as told to have had no reply to their BYEs; the oldest are forgotten first."""

MAX_TRIES = 90
"""A call of which BYEs have had no reply so often, 40 s apart, is given up: after an hour."""

COMPLAIN_S = 30.0
"""An outage of redis is told again after this time."""

_WANTED = (b"C", b"U", b"H")


class Ender:
    """``proxy_up`` tells whether our own proxy runs: without it no call is claimed."""

    def __init__(self, dialogs: Dialogs, bookmark: Bookmark, sender: ByeSender, proxy_up: Callable[[], bool]) -> None:
        self._dialogs = dialogs
        self._bookmark = bookmark
        self._sender = sender
        self._proxy_up = proxy_up
        self._endings: set[asyncio.Task[dict[str, int]]] = set()
        self._complained_at: float | None = None
        self._stuck: dict[str, None] = {}
        self.ended = 0
        """Calls of which both parties have replied to their BYEs."""
        self.given_up = 0
        """Calls whose BYEs had no reply :data:`MAX_TRIES` times."""

    @property
    def behind(self) -> int:
        """Events that redis does not know of yet."""
        return self._bookmark.behind

    async def follow(self) -> None:
        """Long-lived coroutine: no event is passed over, and what is taken over twice changes nothing."""
        while True:
            try:
                while self.behind and await self._take_over():
                    self._is_back()
            except (DialogsUnavailableError, OSError) as error:
                self._complain(error)
                await asyncio.sleep(WATCH_S)
            await asyncio.sleep(FOLLOW_S)

    async def _take_over(self) -> bool:
        """The next rows; False if there are none. Raises DialogsUnavailableError, OSError."""
        sequence, operations = await asyncio.to_thread(self._next_changes)
        if operations:
            await self._dialogs.apply(operations)
        if sequence:
            await self._bookmark.move(sequence)
        return bool(sequence)

    def _next_changes(self) -> tuple[int, list[Operation]]:
        """What the next rows change, and the sequence of the last of them; 0 if there is none."""
        rows = self._bookmark.rows(MAX_ROWS)
        return (rows[-1][0], changes(rows)) if rows else (0, [])

    async def watch(self) -> None:
        """Long-lived coroutine."""
        while True:
            begun = 0
            if self._proxy_up():
                try:
                    for ending in await self._dialogs.due(MAX_DUE, "max_duration"):
                        self._begin(ending)
                        begun += 1
                    if not self.behind:
                        self._is_back()
                except DialogsUnavailableError as error:
                    self._complain(error)
            await asyncio.sleep(WATCH_S if begun < MAX_DUE else NEXT_S)

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

    def _begin(self, ending: Ending) -> asyncio.Task[dict[str, int]]:
        task = asyncio.create_task(self._end(ending), name=f"ending {ending.call_id}")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    async def _end(self, ending: Ending) -> dict[str, int]:
        """Send the BYEs of all dialogs. What had no reply from our own proxy is claimed again when the lease ends."""
        codes: dict[str, int] = {}
        whole = True
        for dialog in ending.dialogs:
            caller, line = await asyncio.gather(*map(self._sender.send, byes.requests(dialog, ending.why)))
            codes = {"caller": caller, "line": line}
            if caller and line:
                await self._forget(dialog)
                logger.info("call_ended", call_id=ending.call_id, why=ending.why, caller=caller, line=line)
            else:
                whole = False
                self._not_ended(ending, codes)
        if whole:
            self._stuck.pop(ending.call_id, None)
            self.ended += 1
        elif ending.tries >= MAX_TRIES:
            await self._give_up(ending)
        return codes

    def _not_ended(self, ending: Ending, codes: dict[str, int]) -> None:
        """Told once for each call, not every time that it is tried again."""
        if ending.call_id not in self._stuck:
            logger.error("call_not_ended", call_id=ending.call_id, why=ending.why, **codes)
        self._stuck[ending.call_id] = None
        while len(self._stuck) > MAX_STUCK:
            del self._stuck[next(iter(self._stuck))]

    async def _give_up(self, ending: Ending) -> None:
        try:
            await self._dialogs.given_up(ending.call_id)
        except DialogsUnavailableError as error:
            self._complain(error)
            return
        self._stuck.pop(ending.call_id, None)
        self.given_up += 1
        logger.error("call_given_up", call_id=ending.call_id, why=ending.why, tries=ending.tries)

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


def changes(rows: Iterable[tuple[int, bytes]]) -> list[Operation]:
    """What rows with their sequences change of what is known of dialogs."""
    operations: list[Operation] = []
    for sequence, row in rows:
        if eventrow.kind(row) in _WANTED:
            try:
                change = operation(eventrow.split(row.decode(errors="replace")))
            except eventrow.EventRowError as error:
                logger.error("event_unreadable", sequence=sequence, reason=str(error))
                continue
            if change is not None:
                operations.append(change)
    return operations
