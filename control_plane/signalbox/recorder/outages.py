"""What all jobs need and what is away of it: work waits for it, and it is told once.

A failed job keeps all work back for a while, longer each time; a probe that finds something away does until it is back.
"""

from __future__ import annotations

import asyncio
import random
import time
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import (
    DatabaseUnavailableError,
    ObjectsUnavailableError,
    StoreFullError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = structlog.get_logger(__name__)

PAUSE_MAX_S = 60.0


class Need(StrEnum):
    """What all jobs need."""

    DATABASE = "database"
    OBJECTS = "objects"
    ETCD = "etcd"
    WORK_DIR = "work_dir"


def needed(error: BaseException) -> Need | None:
    """What is away if this was raised; None: it is about one capture or one node."""
    match error:
        case DatabaseUnavailableError():
            return Need.DATABASE
        case ObjectsUnavailableError():
            return Need.OBJECTS
        case StoreUnavailableError() | StoreFullError():
            return Need.ETCD
        case OSError() if not isinstance(error, TimeoutError):
            return Need.WORK_DIR
    return None


def pause_s(strikes: int, longest: float = PAUSE_MAX_S) -> float:
    """Jittered pause after so many failures in a row, 1 and up: about 1, 2, 4 s and so on."""
    return min(longest, 2.0 ** min(strikes - 1, 30)) * random.uniform(0.5, 1.0)


class Outages:
    """What is away now."""

    def __init__(self) -> None:
        self._strikes: dict[Need, int] = {}
        self._until: dict[Need, float] = {}
        self._probed: set[Need] = set()
        self._told: set[Need] = set()
        self._changed = asyncio.Event()

    def away(self) -> Iterable[Need]:
        """What keeps work back now."""
        now = time.monotonic()
        return sorted(self._probed | {need for need, until in self._until.items() if until > now})

    def failed(self, need: Need, error: BaseException) -> float:
        """A job has failed for the lack of it; returns how long its capture should wait, seconds."""
        now = time.monotonic()
        if self._until.get(need, 0.0) <= now:
            # Jobs that fail at the same time are one failure.
            self._strikes[need] = self._strikes.get(need, 0) + 1
            self._until[need] = now + pause_s(self._strikes[need])
        self._tell(need, error)
        return self._until[need] - now

    def succeeded(self) -> None:
        """A job has got all it needs."""
        self._strikes.clear()
        self._until.clear()
        for need in self._told - self._probed:
            self._back(need)
        self._wake()

    def probed(self, need: Need, error: BaseException | None) -> None:
        """A probe has found it away (``error``), or there."""
        if error is not None:
            self._probed.add(need)
            self._tell(need, error)
        elif need in self._probed:
            self._probed.discard(need)
            self._back(need)
            self._wake()

    async def over(self) -> None:
        """Return when nothing keeps work back."""
        while self.away():
            changed = self._changed
            now = time.monotonic()
            until = max((until for until in self._until.values()), default=now)
            try:
                async with asyncio.timeout(until - now if until > now else None):
                    await changed.wait()
            except TimeoutError:
                continue

    def _tell(self, need: Need, error: BaseException) -> None:
        if need not in self._told:
            logger.warning("recordings_wait", need=need.value, error=str(error))
        self._told.add(need)

    def _back(self, need: Need) -> None:
        self._told.discard(need)
        logger.info("recordings_go_on", need=need.value)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
