"""The folder in which captures lie while they are worked on: of one recorder alone, empty at its start."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

JOB = "job-"
"""What the folders of jobs begin with: nothing else is ever deleted."""
_LOCK = ".lock"


class WorkDir:
    """Held until :meth:`close`, or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Make it, take it, empty it. Raises ConfigurationError, also if another process has it."""
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"recorder.work_dir: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in path.glob(f"{JOB}*"):
                shutil.rmtree(left)
        except OSError as error:
            os.close(self._lock)
            taken = isinstance(error, BlockingIOError)
            reason = f"{path} is another recorder's" if taken else str(error)
            raise ConfigurationError(f"recorder.work_dir: {reason}") from error
        self.path = path

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)
