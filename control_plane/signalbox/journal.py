"""The event journal: rows of the proxy, numbered without gaps, on local disk until they are shipped.

A directory of segments ``<first sequence, 20 digits>.log``. A line is a row, ``<sequence> <row>``, or a commit that
begins with ``@`` and tells how far each file of the proxy is taken over::

    @@ 1311:4096 1312:0          first line of a segment: every file's inode and position
    1 <row>
    2 <row>
    @ 1311:8192                  the rows above came from there; positions that changed
    @ -1312                      this file is forgotten

Rows and their commit are one append, and rows without a commit behind them do not count: whenever the writer is killed,
position and rows agree. The file ``acknowledged`` holds the sequence up to which rows have been shipped.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from itertools import chain, count, islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import structlog

from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

logger = structlog.get_logger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENTS = 8
"""The journal has at least so many segments before any is given up."""

RECENT_BYTES = 8 * 1024 * 1024
"""The newest rows stay in memory up to this size, for those who follow closely: seconds, at thousands of calls/s."""

ACKNOWLEDGED = "acknowledged"
_NAME = re.compile(r"(\d{20})\.log")
_COMMIT = re.compile(rb"^@[^\n]*\n", re.MULTILINE)
_SEEK_BYTES = 64 * 1024


class Chunk(NamedTuple):
    """Rows of one file of the proxy, and the position in it behind them."""

    inode: int
    position: int
    rows: Sequence[bytes]


class Hole(NamedTuple):
    """Rows that were given up before they were shipped: the first sequence that is missing and how many are."""

    first: int
    missing: int


class Journal:
    """The writer; one per directory. Its methods block on the disk: call them from one thread at a time."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS)
        self._file = -1
        self._size = 0
        self._closed_bytes = 0
        self._recent: deque[tuple[int, Sequence[bytes], int]] = deque()
        self._recent_bytes = 0
        self.positions: dict[int, int] = {}
        self.sequence = 0
        self.acknowledged = 0
        self.lost = 0

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk."""
        return self._closed_bytes + self._size

    def open(self) -> None:
        """Recover and begin to write: what was not committed is cut off. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self.acknowledged = _read_acknowledged(self._directory)
        segments = _segments(self._directory)
        while segments:
            first, path = segments[-1]
            data = path.read_bytes()
            commits = list(_COMMIT.finditer(data))
            if commits and commits[0].start() == 0:
                self._recover(first, path, data[: commits[-1].end()], [commit.group() for commit in commits])
                break
            # Killed before its first line was whole. The segment before has the positions.
            logger.warning("journal_segment_dropped", file=str(path), size=len(data))
            path.unlink()
            segments.pop()
        self._closed_bytes = sum(path.stat().st_size for _, path in segments[:-1])
        if not segments:
            self.sequence = self.acknowledged
            self._begin_segment()

    def append(self, chunks: Sequence[Chunk], forget: Sequence[int] = ()) -> None:
        """Write rows, in the order of their times, and the positions behind them, or nothing at all. Raises OSError."""
        if self._size >= self._segment_bytes:
            self._begin_segment()
        rows = [row for chunk in chunks for row in chunk.rows]
        if len(chunks) > 1:
            rows.sort(key=_time)
        sequence = self.sequence + len(rows)
        parts = [b"%d %b\n" % numbered for numbered in zip(count(self.sequence + 1), rows, strict=False)]
        commit = [f"{chunk.inode}:{chunk.position}" for chunk in chunks] + [f"-{inode}" for inode in forget]
        parts.append(f"@ {' '.join(commit)}\n".encode())
        data = b"".join(parts)
        self._write(data)
        if rows:
            self._remember(self.sequence + 1, rows, len(data))
        self.sequence = sequence
        self.positions |= {chunk.inode: chunk.position for chunk in chunks}
        for inode in forget:
            self.positions.pop(inode, None)

    def rows(self, from_sequence: int) -> Iterator[tuple[int, bytes]]:
        """As :func:`read`, without the disk for the newest rows. From any thread. Raises OSError."""
        recent = [block for block in self._recent.copy() if block[0] + len(block[1]) > from_sequence]
        if not recent or recent[0][0] > from_sequence:
            return read(self._directory, from_sequence)
        begin = from_sequence - recent[0][0]
        numbered = chain.from_iterable(enumerate(rows, first) for first, rows, _ in recent)
        return islice(numbered, begin, None)

    def sync(self) -> None:
        """Wait until all is on disk, also through a loss of power."""
        os.fdatasync(self._file)

    def acknowledge(self, sequence: int) -> None:
        """Rows up to this one have been shipped. Raises OSError, ValueError if there is no such row yet."""
        if not self.acknowledged <= sequence <= self.sequence:
            raise ValueError(f"{sequence} is not between {self.acknowledged} and {self.sequence}")
        write_atomically(self._directory / ACKNOWLEDGED, b"%d\n" % sequence)
        self.acknowledged = sequence

    def close(self) -> None:
        """Sync and close."""
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1

    def _recover(self, first: int, path: Path, data: bytes, commits: Sequence[bytes]) -> None:
        for commit in commits:
            if commit.startswith(b"@@"):
                self.positions.clear()
            for word in commit.split()[1:]:
                if word.startswith(b"-"):
                    self.positions.pop(int(word[1:]), None)
                else:
                    inode, _, position = word.partition(b":")
                    self.positions[int(inode)] = int(position)
        rows = _COMMIT.sub(b"", data)
        last = rows[rows.rfind(b"\n", 0, len(rows) - 1) + 1 :]
        self.sequence = int(last.split(b" ", 1)[0]) if last else first - 1
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        size = os.fstat(self._file).st_size
        if size > len(data):
            logger.info("journal_tail_cut", file=str(path), bytes=size - len(data))
            os.ftruncate(self._file, len(data))
        self._size = len(data)

    def _remember(self, first: int, rows: Sequence[bytes], size: int) -> None:
        self._recent.append((first, rows, size))
        self._recent_bytes += size
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[2]

    def _begin_segment(self) -> None:
        self._make_room()
        path = self._directory / f"{self.sequence + 1:020d}.log"
        if self._file >= 0 and self._size > 0:
            self.sync()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._closed_bytes += self._size
        self._file, self._size = file, 0
        known = " ".join(f"{inode}:{position}" for inode, position in self.positions.items())
        self._write(f"@@ {known}\n".encode())

    def _make_room(self) -> None:
        """Remove the oldest segments until another fits; what was not shipped is given up loudly."""
        segments = _segments(self._directory)
        while segments and self.disk_bytes + self._segment_bytes > self._max_bytes and len(segments) > 1:
            (first, path), (following, _) = segments[0], segments[1]
            given_up = following - max(first, self.acknowledged + 1)
            if given_up > 0:
                self.lost += given_up
                logger.error("events_lost", first_sequence=following - given_up, count=given_up)
            self._closed_bytes -= path.stat().st_size
            path.unlink()
            segments.pop(0)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += written


def _time(row: bytes) -> list[bytes]:
    """What rows of different files are ordered by: the last but two of their columns. All have as many digits."""
    return row.rsplit(b"|", 3)[-3:-2]


def read(directory: Path, from_sequence: int = 1) -> Iterator[tuple[int, bytes]]:
    """Sequence and row of every committed row from ``from_sequence`` on, in order, as far as there are any now.

    Safe beside the writer. Sequences that are missing were given up; see :func:`hole`. Raises OSError.
    """
    segments = _segments(directory)
    begin = max((number for number, (first, _) in enumerate(segments) if first <= from_sequence), default=0)
    for _, path in segments[begin:]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue  # removed meanwhile
        with file:
            _seek(file, from_sequence)
            waiting: list[tuple[int, bytes]] = []
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if line.startswith(b"@"):
                    yield from waiting
                    waiting.clear()
                    continue
                number, _, row = line[:-1].partition(b" ")
                if int(number) >= from_sequence:
                    waiting.append((int(number), row))


def hole(directory: Path) -> Hole | None:
    """What was given up before it was shipped: the rows between the acknowledged one and the oldest that is left."""
    segments = _segments(directory)
    begin = _read_acknowledged(directory) + 1
    if not segments or segments[0][0] <= begin:
        return None
    return Hole(begin, segments[0][0] - begin)


def _segments(directory: Path) -> list[tuple[int, Path]]:
    """First sequence and path of each segment, in order."""
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:
        return []
    return sorted((int(match[1]), path) for path in paths if (match := _NAME.fullmatch(path.name)))


def _read_acknowledged(directory: Path) -> int:
    try:
        return int((directory / ACKNOWLEDGED).read_text())
    except FileNotFoundError:
        return 0


def _seek(file: BinaryIO, sequence: int) -> None:
    """Go to a line somewhat before the row of this sequence."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > _SEEK_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        line = file.readline()
        while line.startswith(b"@"):
            line = file.readline()
        number = line.partition(b" ")[0]
        if number.isdigit() and int(number) < sequence:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline()
