"""The workers with voice, which execute call flows, and which of them gets a call."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from signalbox.domain.objects import Line, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

TRIED = 2
"""So many workers a call is offered, one after the other."""
USER = "ivr"
"""User part of the URI of a call to a worker."""


class Worker(Protocol):
    """A worker as it last registered itself. ``routing.v1.VoiceWorker`` is one."""

    @property
    def id(self) -> str:
        """Its id, unique in the cluster."""

    @property
    def capacity(self) -> int:
        """Calls that it may have at once."""

    @property
    def calls(self) -> int:
        """Calls that it has."""

    @property
    def draining(self) -> bool:
        """It takes no new calls."""


def takes_calls(worker: Worker) -> bool:
    """A new call may go to it."""
    return not worker.draining and worker.calls < worker.capacity


class Pool:
    """Those that take calls. Replaced as a whole by :meth:`set`, for all who have it."""

    def __init__(self, workers: Iterable[tuple[Line, float]] = ()) -> None:
        """See :meth:`set`."""
        self._workers: tuple[tuple[Line, float], ...] = ()
        self.set(workers)

    def set(self, workers: Iterable[tuple[Line, float]]) -> None:
        """Each as a line, with the part of its capacity that is in use, 0 to 1."""
        self._workers = tuple(sorted(workers, key=lambda one: one[0].id))

    def tried(self, call_id: str) -> tuple[Line, ...]:
        """The workers that a call is offered, in this order: of two drawn by its id the one with less to do first.

        Loads are known a moment late: who always took the least loaded would send it all that come in that moment
        (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
        """
        count = len(self._workers)
        if count < TRIED:
            return tuple([line for line, _ in self._workers])
        drawn = zlib.crc32(call_id.encode())
        first = drawn % count
        second = (first + 1 + drawn // count % (count - 1)) % count
        pair = (self._workers[first], self._workers[second])
        return tuple([line for line, _ in sorted(pair, key=lambda one: one[1])])


def as_line(id: str, host: str, port: int, transport: Transport = Transport.UDP) -> Line:
    """A worker as a line."""
    return Line("", id, USER, host, port, transport)
