"""Sees to it that nothing of a paused call is captured, nor becomes part of its recording.

Somebody else may begin to capture it: an rtpengine that has it again from redis, a proxy whose order was late. Such
segments are never listed, and deleted; a note names those from before the pause, so that a sidecar that is killed in
between knows them apart.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.media.spool import SpoolError
from signalbox.ng import NgError, NgRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from signalbox.media.captures import Capture
    from signalbox.media.spool import Segment, Spool
    from signalbox.ng import NgClient

logger = structlog.get_logger(__name__)

AT_ONCE = 16


class Enforcing:
    """Hold the lock of changes. What fails is tried again with every look."""

    def __init__(self, spool: Spool, client: NgClient, on_disk: Callable[..., Awaitable[Any]]) -> None:
        self._spool = spool
        self._client = client
        self._on_disk = on_disk
        self._told: set[tuple[str, str]] = set()

    def loaded(self, capture: Capture) -> None:
        """It was found on the disk."""
        if capture.note.paused:
            for segment in [one for one in capture.segments if one.name not in capture.note.kept]:
                capture.segments.remove(segment)
                self.refuse(capture, segment)
        self.suspect(capture)

    def suspect(self, capture: Capture | None) -> None:
        """It may be captured: if it is paused, that must end."""
        if capture is not None and capture.note.paused:
            capture.stop_due = True

    def refuse(self, capture: Capture, segment: Segment) -> None:
        """A segment of a paused call was taken in."""
        logger.error("captured_while_paused", call_id=capture.call_id, segment=segment.name)
        capture.refused.append(segment)
        self.suspect(capture)

    async def all(self, captures: Iterable[Capture]) -> None:
        """Stop what is to be stopped, then delete what was captured."""
        due = [capture for capture in captures if capture.stop_due or capture.refused]
        unstopped = [capture for capture in due if capture.stop_due]
        for start in range(0, len(unstopped), AT_ONCE):
            some = unstopped[start : start + AT_ONCE]
            if not all(await asyncio.gather(*map(self._stop, some))):
                # It does not answer now. What there is already can be deleted all the same.
                break
        for capture in due:
            try:
                await self.clean(capture)
            except SpoolError as error:
                self._tell("captured_while_paused_not_deleted", capture.call_id, str(error))
        ids = {capture.call_id for capture in due}
        self._told = {told for told in self._told if told[1] in ids}

    async def clean(self, capture: Capture) -> None:
        """Delete what was captured of it while it was paused. Raises SpoolError."""
        for segment in list(capture.refused):
            metadata = await self._on_disk(self._spool.drop, capture.folder, segment)
            capture.refused.remove(segment)
            if metadata and not capture.note.metadata:
                # It is needed to go on.
                capture.note.metadata, capture.unsaved = metadata, True

    async def _stop(self, capture: Capture) -> bool:
        try:
            await self._client.request("stop recording", {"call-id": capture.call_id})
        except NgRefusedError:
            pass  # it has ended
        except NgError as error:
            self._tell("not_paused_again", capture.call_id, str(error))
            return False
        capture.stop_due = False
        return True

    def _tell(self, event: str, call_id: str, error: str) -> None:
        """Once of each call: it is tried twice a second."""
        if (event, call_id) not in self._told:
            logger.error(event, call_id=call_id, error=error)
        self._told.add((event, call_id))
