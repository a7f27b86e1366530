"""Looks after the calls of one rtpengine: those whose media live keep what they hold of limits, dead ones are ended.

``docs/design/media-life.md`` says why it is done so. Nothing is remembered beyond this process: what a report did not
bring about, the next look reports again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.media.calls import Calls
from signalbox.media.life import Limits, left_s
from signalbox.media.workercalls import is_beside
from signalbox.ng import NgError, NgRefusedError, NgUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.media.lister import Lister
    from signalbox.media.metrics import MediaMetrics
    from signalbox.media.reporter import Reporter
    from signalbox.ng import NgClient
    from signalbox.settings import MediaSettings

logger = structlog.get_logger(__name__)

INTERVAL_S = 10.0
"""Longest time between two lists of calls; a sixth of the time after which media are dead if that is less."""

PING_TIMEOUT_S = 1.0

ENDING_S = 30.0
"""A dead call that is still there so long after routing took the word of it is nobody's any more: its ports are freed,
and what was captured of it can be stored. Most likely it was hung up while this node was late, and the proxy did not
wait. One edge ends 3,000 calls in that time; what it has not come to by then it ends all the same: redis keeps it."""
FORGET_S = 300.0
"""Media beside a call's own are never told to be dead: they are kept for so much longer."""

AT_ONCE = 16
"""Looks that are under way together: rtpengine has calls to serve."""


class Watcher:
    """:meth:`run` is the long-lived coroutine. ``number`` gives the number of the node, 0 while it is not known."""

    def __init__(
        self,
        settings: MediaSettings,
        client: NgClient,
        lister: Lister,
        reporter: Reporter,
        metrics: MediaMetrics,
        number: Callable[[], int],
    ) -> None:
        self._limits = Limits(settings.dead_after_s, settings.held_dead_after_s)
        self._interval_s = min(INTERVAL_S, settings.dead_after_s / 6)
        self._client = client
        self._lister = lister
        self._reporter = reporter
        self._metrics = metrics
        self._number = number
        self._calls = Calls(settings.dead_after_s)
        self._silent: dict[str, float] = {}
        self._told: dict[str, float] = {}
        """When routing first took the word that a call is dead."""
        self._dead: set[str] = set()
        self._unlisted = False

    async def run(self) -> None:
        """Long-lived coroutine."""
        try:
            while True:
                start = time.monotonic()
                await self._sweep()
                await asyncio.sleep(max(0.0, start + self._interval_s - time.monotonic()))
        finally:
            self._lister.close()

    async def give_up(self) -> None:
        """All calls are about to lose their media: report them as dead. Raises NgError."""
        listed = sorted(await self._lister.calls())
        logger.warning("calls_given_up", calls=len(listed))
        if number := self._number():
            await self._reporter.tell([], listed, number)

    async def _sweep(self) -> None:
        before, self._silent = self._silent, {}
        try:
            listed = await self._lister.calls()
        except NgUnreachableError as error:
            self._complain(error)
            if not await self._client.process_is_gone(PING_TIMEOUT_S):
                return
            self._calls.nobody_listens(time.monotonic())
        except NgError as error:
            # It may well carry calls.
            self._complain(error)
            return
        else:
            self._calls.listed(listed, self._lister.connections, time.monotonic())
            self._unlisted = False
        due = self._calls.due(time.monotonic())
        alive: list[str] = []
        silent: dict[str, float] = {}
        for start in range(0, len(due), AT_ONCE):
            together = due[start : start + AT_ONCE]
            for id, left in zip(together, await asyncio.gather(*map(self._look, together)), strict=True):
                if left is None:
                    continue
                if left > 0:
                    self._calls.lives(id, left, time.monotonic())
                    alive.append(id)
                else:
                    silent[id] = left
        now = time.monotonic()
        self._silent = {id: before.get(id, now) for id in silent}
        await self._report(alive, {id: left for id, left in silent.items() if self._is_dead(id, now)})

    def _is_dead(self, id: str, now: float) -> bool:
        """True for a silent call that the look of a sweep ago found silent too.

        After a pause of rtpengine or of the machine, or a step of its clock, a look may come before the packets that
        wait: one is not enough to end a call.
        """
        return now - self._silent[id] >= self._interval_s / 2

    async def _look(self, id: str) -> float | None:
        """Seconds that a call has left, 0 or less: it is silent; None if that cannot be told now."""
        try:
            reply = await self._client.request("query", {"call-id": id})
            left = left_s(reply, time.time(), self._limits)
        except NgRefusedError:
            return None  # it has ended since it was listed
        except NgError as error:
            self._complain(error)
            return None
        self._metrics.looked()
        return left

    async def _report(self, alive: list[str], dead: dict[str, float]) -> None:
        lost = self._calls.lost(time.monotonic())
        found = {*dead, *lost}
        for id in found - self._dead:
            logger.info("media_dead", call_id=id)
        self._dead = found
        self._metrics.dead.set(len(found))
        number = self._number()
        self._told = {id: at for id, at in self._told.items() if id in dead}
        if await self._reporter.tell(alive, sorted(found) if number else [], number) and number:
            self._calls.forget(lost)
            now = time.monotonic()
            for id, left in dead.items():
                told = self._told.setdefault(id, now)
                if left <= -FORGET_S if is_beside(id) else now - told >= ENDING_S:
                    await self._delete(id)

    async def _delete(self, id: str) -> None:
        try:
            await self._client.request("delete", {"call-id": id})
        except NgError as error:
            logger.warning("call_not_deleted", call_id=id, error=str(error))
        else:
            logger.info("call_deleted", call_id=id)

    def _complain(self, error: NgError) -> None:
        if not self._unlisted:
            logger.warning("calls_not_looked_at", error=str(error))
        self._unlisted = True
