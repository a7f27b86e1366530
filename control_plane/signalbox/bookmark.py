"""How far a reader of the event journal has come: what follows the calls must not miss a row, whoever dies."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from signalbox.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.journal import Journal

logger = structlog.get_logger(__name__)


class Bookmark:
    """The sequence up to which the journal was read and obeyed, kept in ``file``.

    It moves behind what was done: after a crash some rows are read again, and none is passed over.
    """

    def __init__(self, journal: Journal, file: Path) -> None:
        self._journal = journal
        self._file = file
        self.sequence = 0

    @property
    def behind(self) -> int:
        """Rows that were not read yet."""
        return self._journal.sequence - self.sequence

    def open(self) -> None:
        """Find the place; without one begin with what comes now. Blocks. Raises OSError."""
        try:
            self.sequence = int(self._file.read_text())
        except FileNotFoundError:
            self.sequence = -1
        except ValueError:
            logger.error("journal_position_damaged", file=str(self._file))
            self.sequence = -1
        if not 0 <= self.sequence <= self._journal.sequence:
            self._keep(self._journal.sequence)

    def rows(self, limit: int) -> list[tuple[int, bytes]]:
        """The next rows with their sequences, at most ``limit``. Blocks. Raises OSError."""
        return list(islice(self._journal.rows(self.sequence + 1), limit))

    async def move(self, sequence: int) -> None:
        """Rows up to this one are done. Raises OSError."""
        await asyncio.to_thread(self._keep, sequence)

    def _keep(self, sequence: int) -> None:
        write_atomically(self._file, b"%d\n" % sequence)
        self.sequence = sequence
