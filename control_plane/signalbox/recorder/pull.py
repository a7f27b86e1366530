"""Brings the segments of a capture from its media node into a folder."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import MediaNodeUnavailableError, SignalboxError
from signalbox.recorder.render import SegmentFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from signalbox.api.recording.v1.recording_pb2 import Segment
    from signalbox.recorder.captures import Claim

logger = structlog.get_logger(__name__)

TRIES = 5
"""So often in a row a stream may break without having brought anything."""
PAUSE_S = 0.2
"""Before the second try; it doubles."""


class NoRoomError(SignalboxError):
    """The folder has no room for a capture now; smaller ones may fit."""


async def pull(claim: Claim, folder: Path, on_bytes: Callable[[int], None]) -> list[SegmentFile]:
    """All segments of a claimed capture, in order, as files.

    Goes on where a stream broke. Raises ClaimLostError, MediaNodeUnavailableError, NoRoomError and OSError.
    """
    size_bytes = sum(segment.size_bytes for segment in claim.capture.segments)
    free_bytes = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    if size_bytes > free_bytes:
        raise NoRoomError(f"recorder.work_dir has {free_bytes} bytes left, the capture has {size_bytes}")
    files = []
    for position, segment in enumerate(claim.capture.segments):
        path = folder / f"{position:06d}.pcap"
        with path.open("wb") as file:
            await _segment(claim, segment, file, on_bytes)
        files.append(SegmentFile(path, segment.whole))
    return files


async def _segment(claim: Claim, segment: Segment, file: BinaryIO, on_bytes: Callable[[int], None]) -> None:
    tries = 0
    while True:
        before = file.tell()
        try:
            async with aclosing(claim.read(segment.name, before)) as stream:
                async for content in stream:
                    await asyncio.to_thread(file.write, content)
                    on_bytes(len(content))
            if file.tell() >= segment.size_bytes:
                await asyncio.to_thread(file.flush)
                return
            raise MediaNodeUnavailableError(
                claim.node, f"segment ends after {file.tell()} of {segment.size_bytes} bytes"
            )
        except MediaNodeUnavailableError as error:
            tries = 1 if file.tell() > before else tries + 1
            if tries >= TRIES:
                raise
            logger.debug("segment_read_again", node=claim.node, offset=file.tell(), error=str(error))
        await asyncio.sleep(PAUSE_S * 2 ** (tries - 1))
