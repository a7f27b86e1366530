"""Files of ``signalbox import``: the one that is read, the one of refused rows, and the one that knows how far it came.

Refused rows are on disk before the progress that counts them. So whatever ends the command, and when: the rows that
have a result are those that the progress counts, and a few more, which are sent again and change nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalbox.commands.numbercsv import LINE, REASON
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROGRESS_VERSION = 1
_BLOCK = 1 << 20
_HINT = (
    "if a spreadsheet program saved it, save it again as 'CSV UTF-8', or give --encoding gb18030 for a file from a "
    "Chinese version of Windows"
)


class FileError(Exception):
    """A file cannot be used, for people."""


@dataclass(frozen=True)
class Row:
    """A row of a file: its position, from 1, the line where it ends, and its cells."""

    position: int
    line: int
    cells: Sequence[str]


class Source:
    """A CSV file (RFC 4180): UTF-8 with or without a byte order mark, or GB 18030."""

    def __init__(self, file: Path, encoding: str) -> None:
        """Reads all of it once, so that what cannot be read is known before anything is written.

        Raises FileError.
        """
        self._file = file
        self._encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        self.digest = self._check_bytes()
        self.header: Sequence[str] = ()
        self.rows = 0
        """Rows with something in them, below the header."""
        for row in self._all():
            self.header = self.header or row.cells
            self.rows += 1
        if not self.header:
            raise FileError(f"{file} is empty")
        self.rows -= 1

    def read(self, after: int = 0) -> Iterator[Row]:
        """The rows below the header, from a position on."""
        rows = self._all()
        next(rows)
        return (Row(row.position - 1, row.line, row.cells) for row in rows if row.position - 1 > after)

    def _all(self) -> Iterator[Row]:
        with self._told(), self._file.open(encoding=self._encoding, newline="") as text:
            reader = csv.reader(_unmarked(text), strict=True)
            position = 0
            try:
                for cells in reader:
                    if any(cell.strip() for cell in cells):
                        position += 1
                        yield Row(position, reader.line_num, cells)
            except csv.Error as error:
                raise FileError(f"{self._file}: line {reader.line_num}: {error}") from error

    def _check_bytes(self) -> str:
        """The SHA-256 of the file. Raises FileError unless it is text of its encoding."""
        digest = hashlib.sha256()
        line = 1
        with self._told(), self._file.open("rb") as file:
            left = b""
            while block := file.read(_BLOCK):
                digest.update(block)
                head, newline, left_over = (left + block).rpartition(b"\n")
                line += self._check_lines(head + newline, line)
                left = left_over
            self._check_lines(left, line)
        return digest.hexdigest()

    def _check_lines(self, content: bytes, first: int) -> int:
        """How many lines there are. Raises FileError for the first that is no text."""
        try:
            content.decode(self._encoding)
        except UnicodeDecodeError as error:
            line = first + content.count(b"\n", 0, error.start)
            name = "UTF-8" if self._encoding == "utf-8-sig" else "GB 18030"
            hint = f"; {_HINT}" if self._encoding == "utf-8-sig" else ""
            raise FileError(f"{self._file}: line {line} is not {name}{hint}") from error
        return content.count(b"\n")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(f"{self._file}: {error.strerror}") from error


def _unmarked(text: Iterator[str]) -> Iterator[str]:
    """Lines without a byte order mark, which GB 18030 may have, too."""
    for position, line in enumerate(text):
        yield line.removeprefix("\ufeff") if position == 0 else line


@dataclass
class Progress:
    """How far an import came."""

    rows: int = 0
    """Rows that have a result."""
    refused_bytes: int = 0
    """Length of the file of refused rows with the refused ones of these."""
    counts: Counter[str] = field(default_factory=Counter)
    """Rows by outcome."""


class Refused:
    """The file of refused rows: the columns of the imported one, and the line and the reason. Made with the first."""

    def __init__(self, file: Path, header: Sequence[str], length: int) -> None:
        """``length``: what of it is kept, bytes. Raises FileError."""
        self._file = file
        self._left_out = [n for n, name in enumerate(header) if name.strip().lower() in (LINE, REASON)]
        self._header = self._kept(header)
        self._open: Any = None
        self.length = length
        try:
            if length:
                os.truncate(file, length)
            else:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"{file}: {error.strerror}") from error

    def add(self, row: Row, reason: str) -> None:
        """Add a row. Raises OSError."""
        if self._open is None:
            self._open = self._file.open("ab")
            if not self.length:
                # With a mark, without which spreadsheet programs take it for another encoding.
                self._write(["\ufeff" + self._header[0], *self._header[1:], LINE, REASON])
        cells = list(self._kept(row.cells))
        room = len(self._header) - len(cells)
        self._write([*cells, *[""] * room, str(row.line), reason])

    def sync(self) -> None:
        """All of it is on disk when this returns. Raises OSError."""
        if self._open is not None:
            self._open.flush()
            os.fsync(self._open.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.close()

    def _kept(self, cells: Sequence[str]) -> list[str]:
        return [cell for position, cell in enumerate(cells) if position not in self._left_out]

    def _write(self, cells: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(cells)
        content = text.getvalue().encode()
        self._open.write(content)
        self.length += len(content)


class ProgressFile:
    """Remembers how far the import of a file came, until it is done."""

    def __init__(self, file: Path, key: dict[str, object]) -> None:
        """``key``: what must be the same for an import to be gone on with."""
        self._file = file
        self._key = key

    def load(self) -> Progress | None:
        """Where an import was interrupted; None: it was not. Raises FileError if it was another one."""
        try:
            content = json.loads(self._file.read_text())
            if content["version"] != PROGRESS_VERSION or content["key"] != self._key:
                raise FileError(f"{self._file} is of another import; --restart begins anew")
            return Progress(int(content["rows"]), int(content["refused_bytes"]), Counter(content["counts"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileError(f"{self._file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(f"{self._file} is damaged; --restart begins anew") from error

    def save(self, progress: Progress) -> None:
        """Remember it. Raises OSError."""
        content = {
            "version": PROGRESS_VERSION,
            "key": self._key,
            "rows": progress.rows,
            "refused_bytes": progress.refused_bytes,
            "counts": dict(progress.counts),
        }
        write_atomically(self._file, json.dumps(content).encode())

    def remove(self) -> None:
        """The import is done. Raises OSError."""
        self._file.unlink(missing_ok=True)
