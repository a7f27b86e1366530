"""The server beside a sidecar: found by its pid file, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest
from signalbox import daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SLEEPS = ("sleep", "60")
NAME = "sleep"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process named ``sleep`` whose pid stands in ``pid``."""
    process = await asyncio.create_subprocess_exec(*SLEEPS)
    (tmp_path / "pid").write_text(f"{process.pid}\n")
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def test_a_server_that_runs_is_found(server: asyncio.subprocess.Process, tmp_path: Path) -> None:
    assert daemon.running(tmp_path / "pid", NAME) == server.pid


@pytest.mark.parametrize("text", [None, "", "kamailio", "-", "99999999"])
def test_no_server_is_found_by_a_file_that_names_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pid").write_text(text)
    assert daemon.running(tmp_path / "pid", NAME) is None


async def test_it_ends_at_sigterm(server: asyncio.subprocess.Process, tmp_path: Path) -> None:
    assert await daemon.end(tmp_path / "pid", NAME)
    assert await server.wait() == -signal.SIGTERM
    assert daemon.running(tmp_path / "pid", NAME) is None


async def test_a_process_of_another_name_that_has_the_pid_now_is_left_alone(
    server: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    assert not await daemon.end(tmp_path / "pid", "kamailio")
    assert server.returncode is None
    assert daemon.running(tmp_path / "pid", NAME) == server.pid


async def test_one_that_does_not_obey_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "END_S", 0.3)
    process = await asyncio.create_subprocess_exec("sh", "-c", STUBBORN, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        (tmp_path / "pid").write_text(str(process.pid))
        began = time.monotonic()
        assert await daemon.end(tmp_path / "pid", "sh")
        assert time.monotonic() - began >= 0.3
        assert await process.wait() == -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_one_that_is_not_ours_to_end_is_told_of(
    server: asyncio.subprocess.Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pid: int, number: int) -> None:
        raise PermissionError(f"{pid} {number}")

    monkeypatch.setattr(daemon.os, "kill", refused)
    assert not await daemon.end(tmp_path / "pid", NAME)
    assert daemon.running(tmp_path / "pid", NAME) == server.pid
