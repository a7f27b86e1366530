"""What is promised at one media node against what the node has: which recordings are missing. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.api.recording.v1 import recording_pb2
from signalbox.recorder.facts import call_of, recording_of

if TYPE_CHECKING:
    from collections.abc import Collection

NOT_CAPTURED = "not_captured"
"""The node has nothing of a call that has ended."""
NODE_LOST = "media_node_lost"
"""What the node had of a call could not be asked for too long."""

GRACE_S = 30.0
"""A promise that has been seen for less time may be faster than its capture."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a node found out."""

    missing: dict[str, str] = field(default_factory=dict)
    """Reason by call id."""
    uncaptured: set[str] = field(default_factory=set)
    """Calls that go on without being captured."""


class Account:
    """One node's promises from look to look. Times are seconds of a monotonic clock."""

    def __init__(self, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self._open_since: dict[str, float] = {}
        self._ready_since: dict[str, float] = {}
        self._absent: set[str] = set()
        self._away_since: float | None = None
        self._unknown_since: float | None = None

    def looked(
        self, now: float, listing: recording_pb2.ListCapturesResponse | None, promised: Collection[str]
    ) -> Found:
        """A look at a node: what it has (None: it cannot be reached), and what was promised there, read after that."""
        self._open_since = {call: self._open_since.get(call, now) for call in promised}
        due = {call for call, since in self._open_since.items() if now - since >= GRACE_S}
        if listing is None:
            self._away_since = now if self._away_since is None else self._away_since
            self._absent = set()
            return self._lost(due, now - self._away_since)
        self._away_since = None
        self._note_ready(listing, now)
        due -= _captured(listing, due)
        if not listing.calls_known:
            self._unknown_since = now if self._unknown_since is None else self._unknown_since
            self._absent = set()
            return self._lost(due, now - self._unknown_since)
        self._unknown_since = None
        calls = set(listing.calls)
        uncaptured = {id for id in due if call_of(id) in calls}
        before, self._absent = self._absent, due - uncaptured
        return Found(dict.fromkeys(before & self._absent, NOT_CAPTURED), uncaptured)

    def longest_wait_s(self, now: float) -> float:
        """How long the capture has been seen waiting that waits for longest; 0: none does."""
        return max((now - since for since in self._ready_since.values()), default=0.0)

    def _lost(self, due: set[str], away_s: float) -> Found:
        return Found(dict.fromkeys(due, NODE_LOST) if away_s >= self._lost_after_s else {})

    def _note_ready(self, listing: recording_pb2.ListCapturesResponse, now: float) -> None:
        # One that is claimed just now, over and over, waits as well.
        waiting = [
            one.call_id
            for one in listing.captures
            if one.state == recording_pb2.CAPTURE_STATE_READY
            or (one.state == recording_pb2.CAPTURE_STATE_CLAIMED and one.call_id in self._ready_since)
        ]
        self._ready_since = {call: self._ready_since.get(call, now) for call in waiting}


def _captured(listing: recording_pb2.ListCapturesResponse, ids: Collection[str]) -> set[str]:
    """Which of these recordings the node has. While one is being made it may not be known yet whose facts are its."""
    known: set[str] = set()
    unknown: set[str] = set()
    for capture in listing.captures:
        (known if capture.HasField("facts") else unknown).add(recording_of(capture))
    return {id for id in ids if id in known or call_of(id) in unknown}
