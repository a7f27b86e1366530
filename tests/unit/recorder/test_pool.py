"""Rendering in processes that may die, hang or lie."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.recorder import rendering
from signalbox.recorder.pool import Pool, RenderCrashedError
from signalbox.recorder.render import SegmentFile, UnreadableCaptureError
from support.captures_fake import facts, pcap
from support.recording_work import rendered
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WAV = types_pb2.RECORDING_FORMAT_WAV
ECHO = """
import json, os, sys
for line in sys.stdin:
    content = open(json.loads(line)["segments"][0][0]).read()
    exec(content)
"""
"""Does what the capture says."""
FAILED = """print(json.dumps({"error": "bad", "unreadable": %s, "errno": %d}), flush=True)"""


@asynccontextmanager
async def pool(least_s: float = 20.0) -> AsyncIterator[Pool]:
    made = Pool((sys.executable, "-c", ECHO), least_s)
    try:
        yield made
    finally:
        await made.close()


async def told(pool: Pool, tmp_path: Path, content: str) -> None:
    capture = tmp_path / "capture"
    await asyncio.to_thread(capture.write_text, content)
    await pool.render([SegmentFile(capture, True)], facts("c1"), (), WAV, tmp_path / "audio")


def process_of(pool: Pool) -> int:
    (process,) = pool._idle
    return process.pid


async def test_a_failure_is_of_its_kind_and_the_process_stays(tmp_path: Path) -> None:
    async with pool() as renders:
        await renders.warm(1)
        before = process_of(renders)
        with pytest.raises(UnreadableCaptureError, match="bad"):
            await told(renders, tmp_path, FAILED % ("True", 0))
        with pytest.raises(RenderCrashedError, match="bad"):
            await told(renders, tmp_path, FAILED % ("False", 0))
        with pytest.raises(OSError, match="bad") as caught:
            await told(renders, tmp_path, FAILED % ("False", errno.ENOSPC))
        assert caught.value.errno == errno.ENOSPC
        assert process_of(renders) == before


async def test_who_dies_hangs_or_says_nonsense_fails_one_capture(tmp_path: Path) -> None:
    async with pool(least_s=0.2) as renders:
        for content in ("os._exit(3)", "import time; time.sleep(1000)", "print('nonsense', flush=True)"):
            with pytest.raises(RenderCrashedError):
                await told(renders, tmp_path, content)
            assert renders._idle == []
    async with pool() as renders:
        with pytest.raises(UnreadableCaptureError):
            await told(renders, tmp_path, FAILED % ("True", 0))
        await until(lambda: not os.kill(process_of(renders), 9))
        await until(lambda: renders._idle[0].returncode is not None)
        with pytest.raises(UnreadableCaptureError):
            await told(renders, tmp_path, FAILED % ("True", 0))


async def test_who_is_not_wanted_any_more_is_ended(tmp_path: Path) -> None:
    async with pool() as renders:
        started = tmp_path / "started"
        task = asyncio.create_task(
            told(renders, tmp_path, f"open({str(started)!r}, 'w').close(); import time; time.sleep(1000)")
        )
        await until(started.exists)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert renders._idle == []


async def test_a_capture_is_rendered_by_the_real_program(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    await asyncio.to_thread(capture.write_bytes, pcap(25))
    renders = Pool()
    try:
        made = await renders.render([SegmentFile(capture, True)], facts("c1"), (), WAV, tmp_path / "audio")
        assert (made.left.packets, made.right.packets, made.duration_ms) == (25, 25, 500)
        assert (tmp_path / "audio").stat().st_size == made.size_bytes
        await asyncio.to_thread(capture.write_bytes, b"nonsense")
        with pytest.raises(UnreadableCaptureError):
            await renders.render([SegmentFile(capture, True)], facts("c1"), (), WAV, tmp_path / "audio")
    finally:
        await renders.close()


def test_an_answer_survives_its_way(tmp_path: Path) -> None:
    made = rendered(b"x", "media_node_died", pauses=((1, 2), (3, 4)))
    assert rendering.answered(rendering.answer(made)) == made
