"""The server beside a sidecar, known by its pid file: is it running, and its end. Both are in one process namespace."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

POLL_S = 0.1
END_S = 10.0
"""A server that has not ended so long after SIGTERM is killed."""


def running(pid_file: Path, name: str) -> int | None:
    """The pid in the file, if a process of this name (``/proc/<pid>/comm``) has it; else None."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if _lives(pid, name) else None


async def end(pid_file: Path, name: str) -> bool:
    """SIGTERM, and SIGKILL after :data:`END_S`; returns when it has gone. False if there is none, or none that is ours
    to end."""
    pid = running(pid_file, name)
    if pid is None:
        logger.warning("server_not_found", server=name, pid_file=str(pid_file))
        return False
    loop = asyncio.get_running_loop()
    until = loop.time() + END_S
    try:
        os.kill(pid, signal.SIGTERM)
        while _lives(pid, name):
            if loop.time() >= until:
                logger.error("server_killed", server=name, pid=pid, after_s=END_S)
                os.kill(pid, signal.SIGKILL)
                until = loop.time() + END_S
            await asyncio.sleep(POLL_S)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        logger.error("server_not_ended", server=name, pid=pid, reason=str(error))
        return False
    logger.info("server_ended", server=name, pid=pid)
    return True


def _lives(pid: int, name: str) -> bool:
    """A process that has ended and whose parent has not asked for it yet does not."""
    try:
        command, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return command == name and rest.split()[0] not in ("Z", "X")
