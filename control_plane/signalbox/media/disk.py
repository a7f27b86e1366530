"""Is there room to capture more calls? The disk of the spool, and what the node promises by it."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.media.spool import PCAPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from signalbox.media.capture_metrics import CaptureMetrics
    from signalbox.settings import CapturesSettings

logger = structlog.get_logger(__name__)

INTERVAL_S = 1.0
AGAIN = 1.1
"""Promised again with so many times the limit free: a disk that is just full must not make a node come and go."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has left."""

    free: int
    """Bytes that may be written."""
    percent: float
    """Of space or of inodes, whichever is less."""


def look(spool: Path) -> Room:
    """Blocks. Raises OSError if nothing can be captured there; without ``pcaps`` rtpengine does not know the place."""
    if not os.access(spool / PCAPS, os.R_OK | os.W_OK | os.X_OK) or not os.access(spool, os.W_OK):
        # The reason, if it is one of the system.
        os.listdir(spool / PCAPS)
        raise PermissionError(f"{spool} cannot be written")
    disk = os.statvfs(spool)
    space = 100 * disk.f_bavail / max(1, disk.f_blocks)
    inodes = 100 * disk.f_favail / disk.f_files if disk.f_files else 100.0
    return Room(disk.f_bavail * disk.f_frsize, min(space, inodes))


def open_to_others(spool: Path) -> bool:
    """True if the directories let everybody on the machine read what is captured. Blocks. Raises OSError."""
    return bool(spool.stat().st_mode & stat.S_IXOTH and (spool / PCAPS).stat().st_mode & stat.S_IROTH)


class Promise:
    """Whether more recordings are promised; False until the disk has been seen."""

    def __init__(self, free_percent: float, free_mb: int) -> None:
        self._percent = free_percent
        self._bytes = free_mb * MIB
        self.holds = False
        self._seen = False

    def saw(self, room: Room | None) -> bool:
        """The disk is like this now, None: not to be used. True if the promise has changed."""
        factor = 1.0 if self.holds or not self._seen else AGAIN
        before, self.holds = (
            self.holds,
            room is not None and (room.percent >= self._percent * factor and room.free >= self._bytes * factor),
        )
        self._seen = True
        return before != self.holds


class Disk:
    """:meth:`watch` is the long-lived coroutine. ``changed`` is called with every change of the promise, ``seen`` with
    every look that found a disk."""

    def __init__(
        self,
        settings: CapturesSettings,
        metrics: CaptureMetrics,
        changed: Callable[[bool], None],
        seen: Callable[[Room], Awaitable[None]],
        why_not: Callable[[], str],
    ) -> None:
        """``why_not``: why what is captured there cannot be taken in; empty if it can."""
        assert settings.spool_dir is not None, "a node that captures has a spool"
        self._spool = settings.spool_dir
        self._promise = Promise(settings.free_percent, settings.free_mb)
        self._metrics = metrics
        self._changed = changed
        self._seen = seen
        self._why_not = why_not
        self._told = False
        self._warned = False

    async def watch(self) -> None:
        """Long-lived coroutine."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Once."""
        room, reason, readable = None, "", False
        try:
            room = await asyncio.to_thread(look, self._spool)
            readable = await asyncio.to_thread(open_to_others, self._spool)
        except OSError as error:
            reason = str(error)
        why_not = self._why_not()
        changed = self._promise.saw(None if why_not else room)
        self._metrics.free.set(room.free if room is not None else 0)
        self._metrics.records.set(self._promise.holds)
        if changed or not self._told:
            self._tell(room, reason or why_not)
        if readable and not self._warned:
            self._warned = True
            logger.warning("captures_open_to_others", spool=str(self._spool))
        if changed:
            self._changed(self._promise.holds)
        if room is not None:
            await self._seen(room)

    def _tell(self, room: Room | None, reason: str) -> None:
        free = {"free_mb": room.free // MIB, "free_percent": round(room.percent, 1)} if room is not None else {}
        if not self._promise.holds:
            logger.error("recording_not_promised", reason=reason or "no room", **free)
        elif self._told:
            logger.info("recording_promised_again", **free)
        else:
            logger.info("recording_promised", **free)
        self._told = True
