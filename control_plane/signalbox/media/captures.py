"""The captures of a node: which belong to calls that go on, and which are ready to be fetched.

A capture is ready when its call is over: rtpengine does not know it any more. A paused call has no segment that goes
on, and lives; a call whose process is gone may come back with the next one, from redis.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence

    from signalbox.media.note import Note
    from signalbox.media.spool import Segment, Stored

SETTLE_S = 5.0
"""A call is gone from rtpengine's list a moment before its files are whole; so long is waited for these."""

STEP = 100
"""So many captures are gone through before others get their turn."""

_T = TypeVar("_T")


async def gently(items: Sequence[_T]) -> AsyncIterator[_T]:
    """All of them, with pauses: thousands may come at once, and pings must not wait for them."""
    for place, item in enumerate(items):
        if place % STEP == STEP - 1:
            await asyncio.sleep(0)
        yield item


@dataclass(slots=True)
class Capture:
    """One call's. Times are seconds of a clock that only goes forward."""

    stored: Stored
    known_since: float
    """When its newest segment was taken in: an answer to what was asked before says nothing of it."""
    look_at: float
    """When rtpengine is to be asked again who sends where."""
    look_after_s: float = 0.0
    """Longest time between the last two such questions."""
    over_since: float | None = None
    """When rtpengine was found not to have the call."""
    gone_since: float | None = None
    """When its process was found to be gone."""
    ready_since: float | None = None
    """When it became ready; None: the call may go on."""
    unsaved: bool = False
    """The note on disk is older than the one in memory."""
    save_at: float = 0.0
    """When that is to be mended, at the earliest."""
    stop_due: bool = False
    """It is paused, and rtpengine has not said yet that it captures nothing of it."""
    refused: list[Segment] = field(default_factory=list)
    """Captured while it was paused, and not deleted yet. No part of the recording."""

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self.stored.note.call_id

    @property
    def folder(self) -> str:
        """Its folder in the spool."""
        return self.stored.folder

    @property
    def note(self) -> Note:
        """What the sidecar knows."""
        return self.stored.note

    @property
    def segments(self) -> list[Segment]:
        """Its files, in order of time."""
        return self.stored.segments

    @property
    def captures(self) -> bool:
        """True if rtpengine may be writing to its last segment."""
        return self.ready_since is None and bool(self.segments) and not self.segments[-1].whole

    @property
    def metadata(self) -> dict[str, str]:
        """What to give rtpengine with ``start recording``; it keeps what it has if nothing is given."""
        return {"metadata": self.note.metadata} if self.note.metadata else {}

    def find(self, name: str) -> Segment | None:
        """The segment of that name."""
        return next((segment for segment in self.segments if segment.name == name), None)


class Captures:
    """All of them, by call."""

    def __init__(self, dead_s: float) -> None:
        """``dead_s``: a process that was away for so long comes back without its calls, or finds them ended."""
        self._dead_s = dead_s
        self._by_call: dict[str, Capture] = {}
        self._queue: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_call)

    def __iter__(self) -> Iterator[Capture]:
        return iter(self._by_call.values())

    def get(self, call_id: str) -> Capture | None:
        """The capture of a call."""
        return self._by_call.get(call_id)

    def add(self, stored: Stored, now: float) -> Capture:
        """One that was not known. It is taken for one of a call that goes on."""
        capture = Capture(stored, now, now)
        self._by_call[capture.call_id] = capture
        return capture

    def began(self, capture: Capture, segment: Segment, now: float) -> bool:
        """Another segment of a call: it goes on, whatever was believed. True if it was believed to be over."""
        capture.segments.append(segment)
        capture.known_since = now
        return self.lives(capture)

    def listed(self, ids: Collection[str], asked: float, now: float) -> list[Capture]:
        """rtpengine was asked at a time, and has these calls and no others. Tells what is not ready any more."""
        back = []
        for capture in self:
            if capture.call_id in ids:
                if self.lives(capture):
                    back.append(capture)
            else:
                self.unknown(capture, asked, now)
        return back

    def unknown(self, capture: Capture, asked: float, now: float) -> None:
        """rtpengine was asked at a time for this call, and does not have it."""
        if capture.known_since <= asked and capture.over_since is None:
            capture.over_since = now

    def lives(self, capture: Capture) -> bool:
        """rtpengine has the call; True if it was ready."""
        was_ready = capture.ready_since is not None
        capture.over_since = capture.gone_since = capture.ready_since = None
        return was_ready

    def nobody_listens(self, now: float) -> None:
        """The process is gone."""
        for capture in self:
            if capture.gone_since is None:
                capture.gone_since = now

    def nobody_knows(self) -> None:
        """There is a process that does not answer: it may have any call."""
        for capture in self:
            capture.gone_since = None

    def over(self, now: float) -> list[Capture]:
        """Captures of calls that are over, which :meth:`settle` makes ready."""
        return [capture for capture in self if self._is_over(capture, now)]

    def settle(self, capture: Capture, now: float) -> bool:
        """It is ready from now on, if its call is (still) over."""
        if not self._is_over(capture, now):
            return False
        capture.ready_since = now
        self.offer(capture)
        return True

    def offer(self, capture: Capture) -> None:
        """A ready capture may be had, for the first time or again."""
        heapq.heappush(self._queue, (capture.note.start_ms, capture.call_id))

    def take(self, free: Callable[[str], bool]) -> Capture | None:
        """The oldest that is offered and free, which is offered no more; what is not free stays."""
        kept: list[tuple[int, str]] = []
        found = None
        while found is None and self._queue:
            entry = heapq.heappop(self._queue)
            capture = self._by_call.get(entry[1])
            if capture is None or capture.ready_since is None or (kept and kept[-1] == entry):
                continue
            if free(capture.call_id):
                found = capture
            else:
                kept.append(entry)
        for entry in kept:
            heapq.heappush(self._queue, entry)
        return found

    def remove(self, capture: Capture) -> None:
        """It has been deleted."""
        del self._by_call[capture.call_id]

    def _is_over(self, capture: Capture, now: float) -> bool:
        if capture.ready_since is not None:
            return False
        if capture.over_since is None:
            return capture.gone_since is not None and now - capture.gone_since >= self._dead_s
        return all(segment.whole for segment in capture.segments) or now - capture.over_since >= SETTLE_S
