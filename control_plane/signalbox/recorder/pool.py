"""Processes that render, beside the recorder: one that crashes or hangs fails the capture that it was at, no other."""

from __future__ import annotations

import asyncio
import errno
import sys
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING

import structlog

from signalbox import children
from signalbox.errors import SignalboxError
from signalbox.recorder import rendering
from signalbox.recorder.render import UnreadableCaptureError
from signalbox.recorder.rendering import RenderFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
    from signalbox.api.types.v1.types_pb2 import RecordingFormat
    from signalbox.recorder.render import Rendered, SegmentFile

logger = structlog.get_logger(__name__)

LEAST_S = 120.0
"""Time for any rendering."""
BYTES_PER_S = 200_000
"""With more to read than that the time for it grows: a tenth of what a busy machine does."""
ANSWER_BYTES = 64 * 1024**2
"""Longest answer."""
PROGRAM = (sys.executable, "-m", "signalbox.recorder.rendering")
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


class RenderCrashedError(SignalboxError):
    """The process that rendered a capture has died or hung, or failed in a way that nobody foresaw."""


class Pool:
    """Renders in as many processes as are needed at once; idle ones are kept."""

    def __init__(self, program: Sequence[str] = PROGRAM, least_s: float = LEAST_S) -> None:
        self._program = program
        self._least_s = least_s
        self._idle: list[Process] = []

    async def warm(self, count: int) -> None:
        """Have so many processes ready."""
        self._idle += [await self._started() for _ in range(count)]

    async def render(
        self,
        segments: Sequence[SegmentFile],
        facts: CallFacts,
        sides: Sequence[Side],
        format: RecordingFormat.ValueType,
        output: Path,
    ) -> Rendered:
        """See render(). Raises UnreadableCaptureError, RenderCrashedError and OSError."""
        size = sum(segment.path.stat().st_size for segment in segments)
        process = await self._process()
        try:
            async with asyncio.timeout(self._least_s + size / BYTES_PER_S):
                line = await _ask(process, rendering.question(segments, facts, sides, format, output))
            rendered = rendering.answered(line)
        except RenderFailedError as error:
            self._idle.append(process)
            if error.unreadable:
                raise UnreadableCaptureError(str(error)) from error
            if error.errno in _DISK_ERRORS:
                raise OSError(error.errno, str(error)) from error
            raise RenderCrashedError(str(error)) from error
        except TimeoutError as error:
            await children.end(process)
            raise RenderCrashedError(f"rendering {size} bytes did not end in time") from error
        except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
            code = await children.end(process)
            raise RenderCrashedError(f"the process that rendered ended with {code}") from error
        except BaseException:
            # It is at something that nobody wants any more.
            await children.end(process)
            raise
        self._idle.append(process)
        return rendered

    async def close(self) -> None:
        """End all processes."""
        while self._idle:
            await children.end(self._idle.pop())

    async def _process(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            logger.error("idle_renderer_died", pid=process.pid, exit_code=process.returncode)
        return await self._started()

    async def _started(self) -> Process:
        return await asyncio.create_subprocess_exec(*self._program, stdin=PIPE, stdout=PIPE, limit=ANSWER_BYTES)


async def _ask(process: Process, question: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question)
    await process.stdin.drain()
    return await process.stdout.readuntil(b"\n")
