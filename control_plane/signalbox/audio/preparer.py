"""Has prompts prepared, each by a process of its own: one that crashes or hangs refuses the file that it was at."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING

import structlog

from signalbox import children
from signalbox.audio import preparing
from signalbox.audio.decoding import UnusableAudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.audio.preparation import Prepared

logger = structlog.get_logger(__name__)

AT_ONCE = 2
TIME_S = 120.0
"""Time for one file. The longest take seconds."""
_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
PROGRAM = (sys.executable, "-m", "signalbox.audio.preparing")


class PreparationFailedError(UnusableAudioError):
    """The process could not be begun, died or hung. It may have been the file, and it may have been the machine."""


class Preparer:
    """Prepares so many prompts at once; others wait."""

    def __init__(self, program: Sequence[str] = PROGRAM, time_s: float = TIME_S, at_once: int = AT_ONCE) -> None:
        self._program = program
        self._time_s = time_s
        self._room = asyncio.Semaphore(at_once)

    async def prepare(self, content: bytes) -> Prepared:
        """See preparation.prepare(). Raises UnusableAudioError, PreparationFailedError for what kills or hangs the
        process."""
        async with self._room:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._program, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=_environment()
                )
            except OSError as error:
                logger.error("preparation_not_begun", error=str(error))
                raise PreparationFailedError(f"could not be prepared: no process was to be had: {error}") from error
            try:
                async with asyncio.timeout(self._time_s):
                    output, errors = await process.communicate(content)
            except TimeoutError as error:
                raise PreparationFailedError(f"could not be prepared within {self._time_s:.0f} s") from error
            finally:
                await children.end(process)
        try:
            return preparing.answered(output)
        except (ValueError, TypeError) as error:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            logger.error("preparation_crashed", exit_code=process.returncode, error=last)
            raise PreparationFailedError("could not be prepared: reading it ended the process that did") from error


def _environment() -> dict[str, str]:
    """What the process needs to find its modules, and none of our secrets."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Threads of numpy's linear algebra, which is not used, would take addresses.
    return {**kept, "OPENBLAS_NUM_THREADS": "1"}
