"""The place of the directory's file: what lies beside it, who may write it, and what becomes of it when it is damaged.

Beside ``name`` lie ``name-lock`` (LMDB's table of readers), ``name-writer`` (locked by who writes) and, if the file was
found damaged, ``name-condemned`` and ``name-damaged``.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from signalbox.store.mapfile import DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

logger = structlog.get_logger(__name__)

TRIES = 30
TRY_S = 0.01
"""Who looks whether there is a writer holds the lock for a moment."""


class BusyError(DirectoryError):
    """Another process writes the file."""


def condemn(path: Path, error: DirectoryError) -> None:
    """Have the file made anew by its writer when that starts next: it was found damaged while it was read."""
    logger.error("directory_damaged", file=str(path), error=str(error))
    try:
        beside(path, "condemned").touch()
    except OSError as failure:
        logger.error("directory_not_condemned", file=str(path), error=str(failure))


def identity(path: Path) -> tuple[int, int] | None:
    """What file it is that lies there; None: there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def condemned(path: Path) -> bool:
    """True if the file was found damaged while it was read."""
    return beside(path, "condemned").exists()


def beside(path: Path, what: str) -> Path:
    """The file of a name that begins with the file's own."""
    return path.with_name(f"{path.name}-{what}")


def lock(path: Path) -> int:
    """The file descriptor that makes us the writer until it is closed. Raises BusyError, OSError."""
    descriptor = os.open(beside(path, "writer"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        time.sleep(TRY_S)
    os.close(descriptor)
    raise BusyError(f"another process writes {path}")


def is_written(path: Path) -> bool:
    """True if a process is there that writes the file."""
    try:
        descriptor = os.open(beside(path, "writer"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def set_aside(path: Path, why: str) -> None:
    """Make room for a new file. Only the last one is kept: it is large."""
    aside = beside(path, "damaged")
    with suppress(FileNotFoundError):
        path.replace(aside)
    for left in (beside(path, "lock"), beside(path, "condemned")):
        left.unlink(missing_ok=True)
    logger.error("directory_set_aside", file=str(path), moved_to=str(aside), reason=why)
