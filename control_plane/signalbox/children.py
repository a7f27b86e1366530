"""Processes that work for one of ours."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process


async def end(process: Process) -> int:
    """Kill a process if it lives, whatever it is at; returns its exit code. Done even if who asks does not wait."""
    with suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    return await asyncio.shield(_ended(process))


async def _ended(process: Process) -> int:
    # What it has written is read: until then asyncio takes its pipes for open, and the process for one that runs.
    await process.communicate()
    assert process.returncode is not None
    return process.returncode
