"""Hears whether a caller is silent, by what is captured: rtpengine 10.5 tells nobody.

It writes packets out 4,096 bytes at a time, so that G.711 is heard 0.4 s late.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from signalbox.errors import NotRecordedError
from signalbox.media.loudness import Loudness

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.media.capturing import Capturing
    from signalbox.media.spool import Segment

POLL_S = 0.25
BEGINS_S = 5.0
"""What is captured turns up within this time."""
STALL_S = 1.0
"""A file that has not grown for so long: nothing comes, as who is silent may send nothing (RFC 3551 section 4.1)."""


class Hearing:
    """Reads only what it is asked for."""

    def __init__(self, capturing: Capturing) -> None:
        self._capturing = capturing

    async def silent(self, name: str, silence_s: float) -> None:
        """Wait until nothing was heard in a call for so long, from now on. Raises NotRecordedError, SpoolError."""
        asked_us = time.time_ns() // 1000
        segment, path = await self._begun(name)
        loudness, grown = Loudness(), time.monotonic()
        while True:
            content = await self._capturing.on_disk(_read, path, loudness.position)
            if content:
                loudness.feed(content)
                grown = time.monotonic()
            known_us = time.time_ns() // 1000 if time.monotonic() - grown > STALL_S else loudness.last_us
            if known_us - max(asked_us, loudness.sound_us) >= silence_s * 1_000_000:
                return
            await asyncio.sleep(POLL_S)
            if self._last(name) is not segment:
                segment, path = await self._begun(name)
                loudness, grown = Loudness(), time.monotonic()

    async def _begun(self, name: str) -> tuple[Segment, Path]:
        """What is being captured of a call."""
        deadline = time.monotonic() + BEGINS_S
        while True:
            capture, segment = self._capturing.captures.get(name), self._last(name)
            if capture is not None and segment is not None and capture.captures:
                return segment, self._capturing.spool.path(capture.folder, segment)
            if time.monotonic() > deadline:
                raise NotRecordedError(name)
            await asyncio.sleep(POLL_S)

    def _last(self, name: str) -> Segment | None:
        capture = self._capturing.captures.get(name)
        return capture.segments[-1] if capture is not None and capture.segments else None


def _read(path: Path, position: int) -> bytes:
    """Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), max(0, os.fstat(file.fileno()).st_size - position), position)
