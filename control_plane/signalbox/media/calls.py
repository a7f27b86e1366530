"""The calls of one rtpengine: when each has to be looked at, and which of them a process took along that is gone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_S = 60.0
"""A call is looked at, and told to be alive, this often at least: several times in ``counters.media_lease_s``."""


class Calls:
    """Times are seconds of any clock that only goes forward."""

    def __init__(self, dead_s: float) -> None:
        self._dead_s = dead_s
        self._look_s = min(LOOK_S, dead_s)
        self._looks: dict[str, float] = {}
        self._gone: dict[str, float] = {}
        self._connections = 0

    def __len__(self) -> int:
        return len(self._looks)

    def listed(self, ids: frozenset[str], connections: int, now: float) -> None:
        """The rtpengine told all calls that it has. A number of connections other than before: it was started anew."""
        missing = self._looks.keys() - ids
        if connections != self._connections:
            self._connections = connections
            self._lose(missing, now)
        # The same process would not lose a call: these were ended as usual.
        for id in missing:
            del self._looks[id]
        for id in ids - self._looks.keys():
            self._looks[id] = now
            self._gone.pop(id, None)

    def nobody_listens(self, now: float) -> None:
        """The process is gone."""
        self._lose(self._looks.keys(), now)
        self._looks = {}

    def due(self, now: float) -> list[str]:
        """Calls that have to be looked at."""
        return [id for id, at in self._looks.items() if at <= now]

    def lives(self, id: str, left_s: float, now: float) -> None:
        """A look found it alive, for so long at least. The next one is before it can be dead, at no common time."""
        if id in self._looks:
            self._looks[id] = now + min(left_s, self._look_s * random.uniform(0.5, 1.0))

    def lost(self, now: float) -> list[str]:
        """Calls that went with their process, so long ago that their media are dead."""
        return [id for id, since in self._gone.items() if now - since >= self._dead_s]

    def forget(self, ids: Iterable[str]) -> None:
        """These lost calls have been told."""
        for id in ids:
            self._gone.pop(id, None)

    def _lose(self, ids: Iterable[str], now: float) -> None:
        for id in ids:
            self._gone.setdefault(id, now)
