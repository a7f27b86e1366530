"""Ending processes."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

import pytest
from signalbox import children

FLOOD = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
ENDS = "import sys; sys.exit(3)"
READS = "import sys; sys.stdin.read()"


async def started(script: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=PIPE, stdout=PIPE)


@pytest.mark.parametrize("script", [FLOOD, READS])
async def test_a_process_is_killed_whatever_it_is_at(script: str) -> None:
    process = await started(script)
    async with asyncio.timeout(30):
        assert await children.end(process) == -9


async def test_one_whose_output_nobody_reads_any_more_is_ended() -> None:
    process = await started(FLOOD)
    assert process.stdout is not None
    # By now asyncio has stopped reading: there is more than anybody takes.
    await process.stdout.readexactly(1)
    await asyncio.sleep(0.2)
    async with asyncio.timeout(30):
        assert await children.end(process) == -9


async def test_one_that_has_ended_tells_how() -> None:
    process = await started(ENDS)
    async with asyncio.timeout(30):
        await process.wait()
        assert await children.end(process) == 3
        assert await children.end(process) == 3
