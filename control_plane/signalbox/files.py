"""Files that are there whole or not at all, and directories that one process has."""

from __future__ import annotations

import fcntl
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_atomically(path: Path, content: bytes, modified: int | None = None, *, mode: int = 0o600) -> None:
    """Replace a file at once, on disk when this returns.

    ``modified`` sets its modification time, seconds since 1970. Raises OSError; the old file stays then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if modified is not None:
            os.utime(temporary, (modified, modified))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def hold(directory: Path) -> int:
    """Make a directory, if there is none, and have it alone as long as the descriptor is open.

    Raises OSError: BlockingIOError if another process has it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
