"""Captures while the disk is full to the last byte.

rtpengine writes nothing more into a file that could not be written to once, not even with room again, and ends it as if
nothing were missing. So that is noted here, and a new segment begun.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox.media.disk import MIB
from signalbox.media.spool import SpoolError
from signalbox.ng import NgError

if TYPE_CHECKING:
    from signalbox.media.captures import Capture
    from signalbox.media.capturing import Capturing
    from signalbox.media.disk import Room

logger = structlog.get_logger(__name__)

EXHAUSTED_BYTES = MIB
"""With less free than this packets may have been lost."""
ENOUGH_BYTES = 16 * MIB
"""With so much free it is worth to begin anew."""
AT_ONCE = 16


class Shortage:
    """:meth:`saw` is told how much room there is, about every second."""

    def __init__(self, capturing: Capturing) -> None:
        self._capturing = capturing

    async def saw(self, room: Room) -> None:
        """Note which captures suffer, or let these go on."""
        if room.free < EXHAUSTED_BYTES:
            await self._note()
        elif room.free >= ENOUGH_BYTES:
            await self._mend()

    async def _note(self) -> None:
        hit = [capture for capture in self._capturing.captures if capture.captures and not _is_cut(capture)]
        for capture in hit:
            capture.note.cut.add(capture.segments[-1].name)
            capture.unsaved = True
        if not hit:
            return
        logger.error("captures_cut_for_lack_of_room", captures=len(hit))
        cut = [(capture.folder, capture.segments[-1]) for capture in hit]
        try:
            # A note needs room. Until there is some a sidecar that is started anew must know it, too.
            await self._capturing.on_disk(self._capturing.spool.mark_cut, cut)
        except SpoolError as error:
            logger.warning("cut_not_marked", error=str(error))

    async def _mend(self) -> None:
        if not any(map(_goes_on_cut, self._capturing.captures)):
            return
        await self._capturing.changes.make(self._begin_all_anew)

    async def _begin_all_anew(self) -> None:
        hit = [capture for capture in self._capturing.captures if _goes_on_cut(capture)]
        for start in range(0, len(hit), AT_ONCE):
            await asyncio.gather(*(self._begin_anew(capture) for capture in hit[start : start + AT_ONCE]))

    async def _begin_anew(self, capture: Capture) -> None:
        request = self._capturing.client.request
        try:
            await request("stop recording", {"call-id": capture.call_id})
            await request("start recording", {"call-id": capture.call_id, **capture.metadata})
        except NgError as error:
            # It has ended; or it is tried again.
            logger.warning("capture_not_begun_anew", call_id=capture.call_id, error=str(error))


def _is_cut(capture: Capture) -> bool:
    return bool(capture.segments) and capture.segments[-1].name in capture.note.cut


def _goes_on_cut(capture: Capture) -> bool:
    """Until there is another segment: to begin one may fail."""
    goes_on = capture.ready_since is None and capture.over_since is None and not capture.note.paused
    return goes_on and _is_cut(capture)
