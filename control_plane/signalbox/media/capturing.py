"""Follows what an rtpengine captures: takes files in, asks who sends where, and finds out which calls are over.

What is to be changed, on the disk or in memory, is done under one lock and to its end (:mod:`signalbox.media.changes`),
so that a segment never turns up in a capture that is just being deleted, nor on the disk alone.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog

from signalbox.media import facts, note, sides
from signalbox.media.captures import Captures, gently
from signalbox.media.changes import Changes, Shared, Tasks
from signalbox.media.claims import Claims
from signalbox.media.enforcing import Enforcing
from signalbox.media.note import Note
from signalbox.media.spool import SpoolError, Stored, call_id
from signalbox.ng import NgError, NgRefusedError, NgUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from signalbox.media.capture_metrics import CaptureMetrics
    from signalbox.media.captures import Capture
    from signalbox.media.lister import Lister
    from signalbox.media.spool import Arrivals, Spool
    from signalbox.ng import NgClient

logger = structlog.get_logger(__name__)

SAVE_AGAIN_S = 1.0
"""What could not be noted is tried again after that."""
POLL_S = 0.5
"""Time between two looks into the spool."""
LIST_S = 10.0
"""Longest time between two lists of calls; a process that was started anew is asked at once."""
LOOK_S = 20.0
"""Each call is asked for so often at least who sends where: re-INVITEs may change it."""
LOOK_AGAIN_S = 1.0
"""First time to the next question for a side that has sent nothing yet: rtpengine knows a codec from the first packet
on, which may come after the file. Each further one comes twice as late."""
AT_ONCE = 16
"""Questions that are under way together: rtpengine has calls to serve."""
PING_TIMEOUT_S = 1.0

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Capturing:
    """:meth:`poll` and :meth:`watch` are the long-lived coroutines. Raises of methods are SpoolError alone."""

    def __init__(
        self, spool: Spool, client: NgClient, lister: Lister, metrics: CaptureMetrics, dead_after_s: float
    ) -> None:
        self.spool = spool
        self.client = client
        self.captures = Captures(dead_after_s)
        self.claims = Claims()
        self.tasks = Tasks()
        self.changes = Changes(self.tasks)
        self.enforcing = Enforcing(spool, client, self.on_disk)
        self.untaken: dict[str, str] = {}
        """Calls of which there is something on the disk that could not be taken in or read, and why."""
        self.why_not = "not read yet"
        """Why the spool cannot be read; empty if it is read."""
        self.looked = asyncio.Event()
        """It was read, or tried to be."""
        self._lister = lister
        self._metrics = metrics
        self._loaded = asyncio.Event()
        self._process = 0
        self._left: set[str] = set()
        self.calls = Shared(self.tasks, asyncio.Lock(), self._calls)
        """All calls that rtpengine has, or None if it does not tell."""
        self.everything = Shared(self.tasks, self.changes.lock, self._everything)
        """Take in what there is; False if the disk does not show all of it now."""
        self._woken = asyncio.Event()
        self._complaints: dict[str, str] = {}

    async def poll(self) -> None:
        """Long-lived coroutine: what is new in the spool."""
        while True:
            start = time.monotonic()
            try:
                await self.look()
            except SpoolError as error:
                self._complain("spool_not_read", str(error))
            await asyncio.sleep(max(0.0, start + POLL_S - time.monotonic()))

    async def look(self) -> None:
        """Take in what is new, ask what there is to ask, and find out what is ready."""
        await self.changes.make(self._take_in_what_may_be)
        await self._ask_all([capture for capture in self.captures if self._is_due(capture)])
        await self.changes.make(self._keep)
        self._metrics.count(self.captures, self.claims, time.monotonic())

    async def _take_in_what_may_be(self) -> None:
        await self.take_in()
        await self.enforcing.all(self.captures)

    async def _keep(self) -> None:
        now = time.monotonic()
        unsaved = (each for each in self.captures if each.unsaved and each.save_at <= now)
        # Some at a time: each waits for the disk, and orders wait for the lock.
        await self.save(itertools.islice(unsaved, AT_ONCE))
        await self._settle()

    async def watch(self) -> None:
        """Long-lived coroutine: which calls rtpengine has."""
        await self._loaded.wait()
        try:
            while True:
                start = time.monotonic()
                await self._tidy(await self.calls())
                while time.monotonic() - start < LIST_S and self._lister.connected:  # noqa: ASYNC110, nobody tells
                    await asyncio.sleep(POLL_S)
                await asyncio.sleep(max(0.0, start + POLL_S - time.monotonic()))
        finally:
            self._lister.close()

    async def _tidy(self, ids: frozenset[str] | None) -> None:
        """Delete what an rtpengine has left that was killed before it could open a file of packets."""
        if ids is None:
            return
        try:
            found = await self.on_disk(self.spool.temporaries)
            left = {name for name, id in found.items() if id not in ids and self.captures.get(id) is None}
            # A call that has just ended may be on its way.
            await self.on_disk(self.spool.drop_temporaries, left & self._left)
        except SpoolError as error:
            self._complain("spool_not_read", str(error))
            return
        for name in left & self._left:
            logger.error("capture_without_packets", call_id=found[name])
        self._left = left

    async def _calls(self) -> frozenset[str] | None:
        asked = time.monotonic()
        try:
            ids = await self._lister.calls()
        except NgUnreachableError as error:
            self._complain("calls_not_listed", str(error))
            if await self.client.process_is_gone(PING_TIMEOUT_S):
                self.captures.nobody_listens(time.monotonic())
                return None
        except NgError as error:
            self._complain("calls_not_listed", str(error))
        else:
            self._complaints.pop("calls_not_listed", None)
            self._revived(self.captures.listed(ids, asked, time.monotonic()))
            if self._process != self._lister.connections:
                await self._go_on_in(ids)
            return ids
        self.captures.nobody_knows()
        return None

    async def _everything(self) -> bool:
        try:
            await self.take_in()
        except SpoolError as error:
            self._complain("spool_not_read", str(error))
            return False
        return "capture_not_taken_in" not in self._complaints

    async def take_in(self) -> None:
        """Take files in; hold the lock. Raises SpoolError."""
        try:
            await self._load()
            arrivals = await self.on_disk(self.spool.arrivals)
        except SpoolError as error:
            self.why_not = str(error)
            raise
        finally:
            self.looked.set()
        self.why_not = ""
        self._complaints.pop("spool_not_read", None)
        unread = {call_id(folder): why for folder, why in self.spool.unread.items()}
        self._trouble("capture_not_read", unread)
        errors = {call_id(folder): why for folder, why in arrivals.errors.items()}
        self._trouble("capture_not_taken_in", errors)
        self.untaken = errors | unread
        await self._apply(arrivals)

    async def _load(self) -> None:
        """What was taken in before; later what could not be read then."""
        first = not self._loaded.is_set()
        for stored in await self.on_disk(self.spool.load if first else self.spool.load_rest):
            capture = self.captures.add(stored, time.monotonic())
            # Most of them are over, as a list of calls tells at once.
            capture.look_at += LIST_S
            self.enforcing.loaded(capture)
        self._loaded.set()

    def require_taken_in(self, id: str) -> None:
        """Raise SpoolError if there may be more of a call on the disk than is known."""
        if id in self.untaken:
            raise SpoolError(f"spool: {self.untaken[id]}")

    async def _apply(self, arrivals: Arrivals) -> None:
        now = time.monotonic()
        for id in arrivals.errors:
            self.enforcing.suspect(self.captures.get(call_id(id)))
        for id, metadata in arrivals.strays:
            logger.error("capture_without_packets", call_id=id)
            stray = self.captures.get(id)
            if stray is not None and metadata:
                stray.note.metadata = metadata
        async for folder, segment, start_ms in gently(arrivals.began):
            id = call_id(folder)
            capture = self.captures.get(id) or self.captures.add(Stored(folder, Note(id, start_ms)), now)
            if capture.note.paused:
                self.enforcing.refuse(capture, segment)
                continue
            if self.captures.began(capture, segment, now):
                self._revived([capture])
            capture.look_at = now
            self._metrics.began()
            logger.info("capture_began", call_id=id, segment=segment.name)
        async for folder, name, metadata in gently(arrivals.ended):
            ended = self.captures.get(call_id(folder))
            if ended is not None:
                self._end(ended, name, metadata)

    def _end(self, capture: Capture, name: str, metadata: str) -> None:
        segment = capture.find(name)
        if segment is not None:
            segment.whole = True
        if metadata and metadata != capture.note.metadata:
            # It lies beside the segment, and need not be noted.
            capture.note.metadata = metadata
            if facts.parse(capture.call_id, metadata) is None:
                logger.error("capture_facts_unreadable", call_id=capture.call_id)
        if self.captures.lives(capture):
            self._revived([capture])
        capture.look_at = time.monotonic()
        logger.info("capture_ended", call_id=capture.call_id, segment=name)

    async def _go_on_in(self, ids: frozenset[str]) -> None:
        """After a start of rtpengine, or our own: a call that is there again from redis is captured again.

        To begin what goes on already changes nothing.
        """
        async with self.changes.lock:
            try:
                await self.take_in()
            except SpoolError as error:
                self._complain("spool_not_read", str(error))
                return
            for capture in self.captures:
                # It may have begun anew with what was stopped.
                self.enforcing.suspect(capture)
            await self.enforcing.all(self.captures)
            going_on = [capture for capture in self.captures if capture.captures and capture.call_id in ids]
            for start in range(0, len(going_on), AT_ONCE):
                begun = await asyncio.gather(*(self._go_on(capture) for capture in going_on[start : start + AT_ONCE]))
                if not all(begun):
                    return
        self._process = self._lister.connections

    async def _go_on(self, capture: Capture) -> bool:
        if capture.note.paused:
            return True
        try:
            await self.client.request("start recording", {"call-id": capture.call_id, **capture.metadata})
        except NgRefusedError:
            pass  # it has ended
        except NgError as error:
            logger.warning("capture_not_continued", call_id=capture.call_id, error=str(error))
            return False
        return True

    def _is_due(self, capture: Capture) -> bool:
        return capture.over_since is None and capture.ready_since is None and capture.look_at <= time.monotonic()

    async def _ask_all(self, due: Sequence[Capture]) -> None:
        for start in range(0, len(due), AT_ONCE):
            # What does not answer is asked again later, and holds nothing up.
            if not all(await asyncio.gather(*(self._ask(capture) for capture in due[start : start + AT_ONCE]))):
                return

    async def _ask(self, capture: Capture) -> bool:
        asked = time.monotonic()
        try:
            reply = await self.client.request("query", {"call-id": capture.call_id})
        except NgRefusedError:
            self.captures.unknown(capture, asked, time.monotonic())
            return True
        except NgError as error:
            self._complain("senders_not_asked", str(error))
            return False
        self._complaints.pop("senders_not_asked", None)
        if self.captures.lives(capture):
            self._revived([capture])
        if capture.note.see(sides.of_reply(reply)):
            capture.unsaved = True
            capture.look_after_s = LOOK_AGAIN_S
        else:
            capture.look_after_s = min(LOOK_S, 2 * capture.look_after_s or LOOK_AGAIN_S)
        if capture.note.complete:
            capture.look_after_s = LOOK_S
        capture.look_at = asked + capture.look_after_s * random.uniform(0.5, 1.0)
        return True

    async def save(self, captures: Iterable[Capture]) -> None:
        """Write the notes of these if they have changed; hold the lock. What cannot be written is tried again."""
        errors = {}
        for capture in [capture for capture in captures if capture.unsaved]:
            # What changes while it is written is not in it.
            capture.unsaved = False
            try:
                await self.on_disk(self.spool.write, capture.folder, note.encode(capture.note))
            except SpoolError as error:
                # Others first: one alone may be what cannot be written.
                capture.unsaved, capture.save_at = True, time.monotonic() + SAVE_AGAIN_S
                errors[capture.call_id] = str(error)
        self._trouble("note_not_written", errors)

    async def _settle(self) -> None:
        over = [each for each in self.captures.over(time.monotonic()) if each.call_id not in self.untaken]
        # Whoever claims one is told how large it is.
        await self.measure(over)
        async for capture in gently(over):
            if not capture.segments:
                await self._forget(capture)
                continue
            if not self.captures.settle(capture, time.monotonic()):
                continue
            whole = all(segment.whole for segment in capture.segments) and not capture.note.cut
            self._metrics.over(whole)
            logger.info("capture_ready", call_id=capture.call_id, segments=len(capture.segments), whole=whole)
        if over:
            self.wake()

    async def _forget(self, capture: Capture) -> None:
        """It was paused before anything was captured of it, and has ended."""
        if capture.refused:
            return
        try:
            await self.on_disk(self.spool.forget, capture.folder)
        except SpoolError as error:
            self._complain("capture_not_forgotten", str(error))
            return
        self.captures.remove(capture)

    async def measure(self, captures: Iterable[Capture]) -> None:
        """Look how large these are now."""
        files = [(capture.folder, capture.segments) for capture in captures]
        if files:
            await self.on_disk(self.spool.measure, files)

    def _revived(self, captures: Sequence[Capture]) -> None:
        """More has been captured of these than was ready."""
        for capture in captures:
            claimed = self.claims.drop(capture.call_id)
            logger.warning("capture_goes_on", call_id=capture.call_id, claimed=claimed)

    def wake(self) -> None:
        """Who waits for a capture looks again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def woken(self, timeout_s: float) -> None:
        """Wait for :meth:`wake`, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._woken.wait()

    async def on_disk(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call what blocks in a thread. Raises SpoolError in place of OSError."""
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except OSError as error:
            raise SpoolError(f"spool: {error}") from error

    async def close(self, timeout_s: float) -> None:
        """What is under way ends, and another process may have the spool."""
        await self.tasks.ended(timeout_s)
        self._lister.close()
        self.spool.close()

    def _trouble(self, event: str, errors: Mapping[str, str]) -> None:
        """Log when there is any, and when there is none any more, forget that."""
        if errors:
            self._complain(event, next(iter(errors.values())))
        else:
            self._complaints.pop(event, None)

    def _complain(self, event: str, error: str) -> None:
        """Log what goes wrong once, until it goes well again."""
        if event not in self._complaints:
            logger.warning(event, error=error)
        self._complaints[event] = error
