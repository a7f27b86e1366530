"""Ends what is captured of a call that may go on, so that it is a recording of its own; or deletes it.

A call has one name at rtpengine, and whatever is captured under that would become one recording. So what has ended gets
a name that rtpengine does not know: it is found to be over like any other. Who dies before leaves it where it is: then
it becomes a recording when the call ends.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import MediaNodeUnavailableError, NotRecordedError
from signalbox.media.loudness import Loudness, until
from signalbox.media.spool import Stored, digits_of, folder_of
from signalbox.media.workercalls import ended
from signalbox.ng import NgError, NgRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.media.captures import Capture
    from signalbox.media.capturing import Capturing

logger = structlog.get_logger(__name__)

LEFT_MS = 300
"""So much after the last sound is no silence that is cut off: words fade away."""
WHOLE_S = 2.0
"""rtpengine has ended a segment when it says so; its file may come a moment later."""
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """What is a message: ``least_ms`` from its beginning to its last sound, of what came until ``end_us``.

    That is microseconds since 1970; None: until the recording was stopped.
    """

    least_ms: int
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """``kept``: False: it was no message. ``duration_ms``: from the beginning to the last sound, of a message."""

    kept: bool
    duration_ms: int = 0


class Finishing:
    """``number`` gives the number of the node."""

    def __init__(self, capturing: Capturing, number: Callable[[], int]) -> None:
        self._capturing = capturing
        self._number = number

    async def finish(self, name: str, message: Limits | None) -> Finished:
        """End the recording of a call. Done when this returns, and done to its end if nobody waits for it any more.

        Raises NotRecordedError, MediaNodeUnavailableError, SpoolError.
        """
        return await self._capturing.changes.make(lambda: self._finish(name, message))

    async def _finish(self, name: str, message: Limits | None) -> Finished:
        await self._stop(name)
        capture = await self._taken_in(name)
        finished = Finished(True)
        if message is not None:
            segment = capture.segments[-1]
            path = self._capturing.spool.path(capture.folder, segment)
            found = await self._capturing.on_disk(_cut, path, message)
            if found is None:
                await self._drop(capture)
                return Finished(False)
            finished = Finished(True, found)
        await self._set_apart(capture)
        return finished

    async def _stop(self, name: str) -> None:
        try:
            await self._capturing.client.request("stop recording", {"call-id": name})
        except NgRefusedError:
            pass  # the call has ended, and the segment with it
        except NgError as error:
            raise MediaNodeUnavailableError(self._number(), str(error)) from error

    async def _taken_in(self, name: str) -> Capture:
        """With all of it on the disk. Raises NotRecordedError if there is nothing."""
        deadline = time.monotonic() + WHOLE_S
        while True:
            await self._capturing.take_in()
            self._capturing.require_taken_in(name)
            capture = self._capturing.captures.get(name)
            if capture is None or not capture.segments:
                raise NotRecordedError(name)
            if capture.segments[-1].whole or time.monotonic() > deadline:
                return capture
            await asyncio.sleep(POLL_S)

    async def _drop(self, capture: Capture) -> None:
        """What came last. Earlier segments are of a recording that could not be ended."""
        segment, spool = capture.segments[-1], self._capturing.spool
        if len(capture.segments) > 1:
            await self._capturing.on_disk(spool.drop, capture.folder, segment)
            capture.segments.remove(segment)
        else:
            await self._capturing.on_disk(spool.delete, capture.folder)
            self._forget(capture)
        logger.info("message_not_kept", call_id=capture.call_id, segment=segment.name)

    async def _set_apart(self, capture: Capture) -> None:
        name = ended(capture.call_id, digits_of(capture.segments[0]))
        folder = folder_of(name)
        await self._capturing.on_disk(self._capturing.spool.rename, capture.folder, folder)
        self._forget(capture)
        stored = Stored(folder, replace(capture.note, call_id=name), capture.segments)
        apart = self._capturing.captures.add(stored, time.monotonic())
        apart.over_since = time.monotonic()
        apart.unsaved = True
        await self._capturing.save([apart])
        logger.info("recording_ended", call_id=capture.call_id, name=name)

    def _forget(self, capture: Capture) -> None:
        self._capturing.captures.remove(capture)
        self._capturing.claims.drop(capture.call_id)


def _cut(path: Path, message: Limits) -> int | None:
    """Cut a message's end off; its length in milliseconds. None: it is none. Raises OSError."""
    content = path.read_bytes()
    if message.end_us is not None:
        content = content[: until(content, message.end_us)]
    loudness = Loudness()
    loudness.feed(content)
    duration_ms = (loudness.sound_us - loudness.first_us) // 1000
    if not loudness.sound_us or duration_ms < message.least_ms:
        return None
    os.truncate(path, until(content, loudness.sound_us + LEFT_MS * 1000))
    return duration_ms
