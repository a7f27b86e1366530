"""Pauses the capture of a living call and lets it go on.

A pause is done when rtpengine has said that it captures no more, what it captured is taken in, and the note is on the
disk. Short of that who ordered it is told that it may go on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import MediaNodeUnavailableError, NotFoundError, NotRecordedError
from signalbox.media.note import Note
from signalbox.media.spool import SpoolError, Stored, folder_of
from signalbox.media.workercalls import ENDED, call_of, is_beside, is_workers
from signalbox.ng import NgError, NgRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.media.captures import Capture
    from signalbox.media.capturing import Capturing

logger = structlog.get_logger(__name__)


class Pausing:
    """``number`` gives the number of the node."""

    def __init__(self, capturing: Capturing, number: Callable[[], int]) -> None:
        self._capturing = capturing
        self._client = capturing.client
        self._number = number

    async def set(self, call_id: str, *, paused: bool) -> None:
        """Done when this returns, and done to its end if nobody waits for it any more.

        ``call_id``: as rtpengine knows it, or that of a worker's call in Signalbox, or of its recording that is being
        made. Raises NotFoundError, NotRecordedError, MediaNodeUnavailableError, SpoolError.
        """
        order = self._pause if paused else self._go_on
        name = self._known_as(call_id, (capture.call_id for capture in self._capturing.captures)) or call_id
        try:
            await self._capturing.changes.make(lambda: order(name))
        except NotFoundError:
            # Nothing may be captured of it yet.
            listed = self._known_as(call_id, await self._capturing.calls() or ())
            if listed is None or listed == name:
                raise
            name = listed
            await self._capturing.changes.make(lambda: order(name))
        logger.info("capture_paused" if paused else "capture_goes_on_by_order", call_id=name)

    def _known_as(self, call_id: str, names: Iterable[str]) -> str | None:
        """Which of these names is that of the call: of a worker's, for others have the same id everywhere."""
        if self._capturing.captures.get(call_id) is not None:
            return call_id
        call = call_id.partition(".")[0]
        known = (name for name in names if is_workers(name) and not is_beside(name) and ENDED not in name)
        return next((name for name in known if call_of(name) == call), None)

    async def _pause(self, call_id: str) -> None:
        failed: NotFoundError | MediaNodeUnavailableError | None = None
        try:
            # First of all, and whatever is known of the call here.
            await self._command("stop recording", call_id)
        except (NotFoundError, MediaNodeUnavailableError) as error:
            failed = error
        await self._take_in(call_id)
        capture = self._capturing.captures.get(call_id)
        if capture is None:
            if failed is not None:
                raise failed
            # Whoever begins to record it now is late.
            capture = self._made(call_id)
        if not capture.note.paused:
            capture.note.kept = {segment.name for segment in capture.segments}
        # Should it have failed, the call counts as paused all the same: who ordered it will do so again.
        capture.stop_due = isinstance(failed, MediaNodeUnavailableError)
        try:
            await self._note(capture, paused=True)
        finally:
            if failed is not None:
                raise failed

    async def _go_on(self, call_id: str) -> None:
        await self._take_in(call_id)
        capture = self._capturing.captures.get(call_id)
        if capture is None:
            await self._command("query", call_id)
            raise NotRecordedError(call_id)
        # No longer told apart when it is not paused any more.
        await self._capturing.enforcing.clean(capture)
        was_paused, had = capture.note.paused, len(capture.segments)
        try:
            await self._note(capture, paused=False)
            if not had and not capture.note.metadata:
                # Nobody ever began: that is not for us to do.
                await self._command("query", call_id)
                raise NotRecordedError(call_id)
            await self._begin(capture, had if was_paused or not capture.captures else had - 1)
        except NotRecordedError:
            raise
        except BaseException:
            if was_paused:
                await self._paused_still(capture, had)
            raise

    async def _paused_still(self, capture: Capture, had: int) -> None:
        """Nobody was told that it goes on; it may have been carried out."""
        capture.note.paused = capture.unsaved = capture.stop_due = True
        for segment in capture.segments[had:]:
            self._capturing.enforcing.refuse(capture, segment)
        del capture.segments[had:]
        await self._capturing.save([capture])

    async def _begin(self, capture: Capture, had: int) -> None:
        """Begin to capture, until there are more segments than there were: rtpengine's word is not enough."""
        await self._start(capture)
        if len(capture.segments) <= had:
            # One that could not open a file says that all is well, and tries it no second time.
            await self._command("stop recording", capture.call_id)
            await self._start(capture)
        if len(capture.segments) <= had:
            await self._command("stop recording", capture.call_id)
            raise MediaNodeUnavailableError(self._number(), "rtpengine can open no file")

    async def _start(self, capture: Capture) -> None:
        await self._command("start recording", capture.call_id, **capture.metadata)
        await self._take_in(capture.call_id)

    async def _take_in(self, call_id: str) -> None:
        await self._capturing.take_in()
        self._capturing.require_taken_in(call_id)

    def _made(self, call_id: str) -> Capture:
        stored = Stored(folder_of(call_id), Note(call_id, int(time.time() * 1000)))
        return self._capturing.captures.add(stored, time.monotonic())

    async def _note(self, capture: Capture, *, paused: bool) -> None:
        capture.note.paused, capture.unsaved = paused, True
        await self._capturing.save([capture])
        if capture.unsaved:
            raise SpoolError("spool: the order could not be noted")

    async def _command(self, command: str, call_id: str, **more: str) -> None:
        try:
            await self._client.request(command, {"call-id": call_id, **more})
        except NgRefusedError as error:
            raise NotFoundError("call", call_id) from error
        except NgError as error:
            raise MediaNodeUnavailableError(self._number(), str(error)) from error
