"""The log: a directory of segments that records are appended to, and the index over them.

::

    <directory>/id                        names the log
    <directory>/lock                      locked by the process that has the log open
    <directory>/00000000000000000001.log  records from this sequence on, one frame after the other (chain.py)
    <directory>/index.sqlite              see index.py

All of it blocks: call it in a thread. A lock lets several threads do so.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import threading
import uuid
from dataclasses import dataclass
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, TypeVar

import structlog

from signalbox.errors import SignalboxError
from signalbox.files import write_atomically
from signalbox.provisioning.audit.chain import NO_HASH, BrokenFrameError, Framed, frame, frames
from signalbox.provisioning.audit.index import Index, IndexDamagedError, IndexFailedError, Place, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from signalbox.api.types.v1 import audit_pb2

logger = structlog.get_logger(__name__)

ID, LOCK, SUFFIX = "id", "lock", ".log"
SEALED_MODE = 0o400
_INDEXED_AT_ONCE = 1_000

T = TypeVar("T")


class LogLockedError(SignalboxError):
    """Another process has the log open."""


class LogUnwritableError(SignalboxError):
    """The disk does not take what is to be appended. The log is as it was."""


class LogDamagedError(SignalboxError):
    """The log is not what it was. It is not written again before somebody has looked at it."""


@dataclass(frozen=True)
class Tail:
    """Sequence and hash of the last record; 0 and zero bytes if there is none."""

    sequence: int = 0
    sha256: bytes = NO_HASH


def segments(directory: Path) -> Sequence[Path]:
    """The files of a log, in order."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def identity(directory: Path) -> str:
    """Which log a directory has; makes the directory and names the log if there is none. Raises OSError."""
    path = directory / ID
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    # It tells of callers and of who did what: nobody else's to read.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, f"{uuid.uuid4().hex}\n".encode())
    return path.read_text(encoding="ascii").strip()


class AuditLog:
    """An open log."""

    def __init__(self, directory: Path, segment_bytes: int, anchored: int) -> None:
        """Open it, and cut a last record off that is not whole. ``anchored``: records up to this sequence must be
        there. Raises LogLockedError, LogDamagedError, IndexFailedError, OSError."""
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._file: FileIO | None = None
        self._segment, self._end = 0, 0
        """The last segment, and where the last record ends in it."""
        self._lock = (directory / LOCK).open("ab")
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LogLockedError(f"{directory} is in use by another process") from error
            self._index = Index(directory)
            self._indexed = True
            self.tail = Tail()
            self._read_on(anchored)
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close it."""
        with self._mutex:
            self._index.close()
            self._close_segment()
            self._lock.close()

    def append(self, records: Sequence[audit_pb2.AuditRecord]) -> None:
        """Give records their places, and bring them to the disk: all or none. Raises LogUnwritableError."""
        with self._mutex:
            try:
                file = self._writable()
            except OSError as error:
                raise LogUnwritableError(str(error)) from error
            sequence, previous, offset = self.tail.sequence, self.tail.sha256, self._end
            content, places = bytearray(), []
            for record in records:
                sequence += 1
                record.sequence, record.previous = sequence, previous
                framed, previous = frame(record.SerializeToString())
                places.append((Place(sequence, self._segment, offset), record))
                content += framed
                offset += len(framed)
            try:
                _write(file, content)
            except OSError as error:
                # If this fails, too, the next one who appends does it.
                with contextlib.suppress(OSError):
                    file.truncate(self._end)
                raise LogUnwritableError(f"{self.directory}: {error.strerror}") from error
            self.tail, self._end = Tail(sequence, previous), offset
            self._add(places)

    def find(self, query: Query, before: int | None, limit: int) -> Sequence[audit_pb2.AuditRecord]:
        """The latest records of a query that come before a sequence. Raises LogDamagedError, IndexFailedError."""
        with self._mutex:
            places = self._asked(lambda: self._index.find(query, before, limit))
            return [self._at(place) for place in places]

    def first(self) -> audit_pb2.AuditRecord | None:
        """The oldest record. Raises LogDamagedError."""
        with self._mutex:
            files = segments(self.directory)
            return self._at(Place(int(files[0].stem), int(files[0].stem), 0)) if files and self.tail.sequence else None

    def get(self, sequence: int) -> audit_pb2.AuditRecord | None:
        """One record. Raises LogDamagedError, IndexFailedError."""
        with self._mutex:
            place = self._asked(lambda: self._index.at_or_before(sequence))
            return self._at(place) if place and place.sequence == sequence else None

    def after(self, sequence: int) -> Sequence[audit_pb2.AuditRecord]:
        """All records that come after a sequence. Raises LogDamagedError, IndexFailedError."""
        found: list[audit_pb2.AuditRecord] = []
        for number in range(sequence + 1, self.tail.sequence + 1):
            record = self.get(number)
            if record is None:
                raise LogDamagedError(f"record {number} is missing")
            found.append(record)
        return found

    def cut(self, sequence: int, sha256: bytes) -> None:
        """Cut off all records after one, which are in the last segment. Raises LogDamagedError, LogUnwritableError."""
        with self._mutex:
            place = self._asked(lambda: self._index.at_or_before(sequence + 1))
            if place is None or place.sequence != sequence + 1 or place.segment != self._segment:
                raise LogDamagedError(f"record {sequence + 1} is not in the last file")
            try:
                with _path(self.directory, place.segment).open("r+b") as file:
                    file.truncate(place.offset)
                    os.fsync(file.fileno())
            except OSError as error:
                raise LogUnwritableError(str(error)) from error
            self._index.forget(after=sequence)
            self.tail, self._end = Tail(sequence, sha256), place.offset

    def expired(self, before: int) -> audit_pb2.AuditRecord | None:
        """The first record to be kept if segments go all of whose records are of a time before (nanoseconds since
        1970); None: no segment goes. Raises LogDamagedError, IndexFailedError."""
        with self._mutex:
            first = None
            files = segments(self.directory)
            for path, following in itertools.pairwise(files):
                begin, end = int(path.stem), int(following.stem)
                newest = self._asked(partial(self._index.newest, begin, end))
                if newest is not None and newest >= before:
                    break
                first = following
            return self._at(Place(int(first.stem), int(first.stem), 0)) if first else None

    def drop(self, before: int) -> None:
        """Delete the segments that hold nothing but records before a sequence. Raises OSError, IndexFailedError."""
        with self._mutex:
            files = segments(self.directory)
            for path, following in itertools.pairwise(files):
                if int(following.stem) <= before:
                    path.unlink()
            self._index.forget(before=before)

    def _writable(self) -> FileIO:
        """The segment to append to, at the end of the last record; a new one if that is full."""
        if self._end >= self._segment_bytes:
            os.chmod(_path(self.directory, self._segment), SEALED_MODE)
            self._close_segment()
            self._segment, self._end = self.tail.sequence + 1, 0
        if self._file is None:
            self._segment = self._segment or 1
            path = _path(self.directory, self._segment)
            self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            _sync_directory(self.directory)
        if self._file.seek(0, os.SEEK_END) != self._end:
            self._file.truncate(self._end)
            self._file.seek(self._end)
        return self._file

    def _close_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, places: Sequence[tuple[Place, audit_pb2.AuditRecord]]) -> None:
        """Index records. They are in the log: an index that fails is behind, and catches up later."""
        try:
            if self._indexed:
                self._index.add(places)
        except IndexFailedError as error:
            logger.warning("audit_index_behind", error=str(error))
            self._indexed = False

    def _asked(self, question: Callable[[], T]) -> T:
        """What the index, which knows all records then, answers; one that is damaged is made anew."""
        try:
            self._catch_up()
            return question()
        except IndexDamagedError as error:
            logger.warning("audit_index_discarded", error=str(error))
            self._index.clear()
            self._indexed = False
            self._catch_up()
            return question()

    def _catch_up(self) -> None:
        if not self._indexed:
            self._read_on(self.tail.sequence)

    def _read_on(self, anchored: int) -> None:
        """Index what is not indexed yet, and find the tail."""
        last = self._known()
        tail, end = Tail(), 0
        batch: list[tuple[Place, audit_pb2.AuditRecord]] = []
        files = [path for path in segments(self.directory) if last is None or int(path.stem) >= last.segment]
        for path in files:
            self._segment = segment = int(path.stem)
            end = last.offset if last and last.segment == segment else 0
            try:
                for found in self._frames(path, end):
                    tail, end = Tail(found.record.sequence, found.sha256), found.end
                    batch.append((Place(found.record.sequence, segment, found.offset), found.record))
                    if len(batch) >= _INDEXED_AT_ONCE:
                        self._index.add(batch)
                        batch = []
            except BrokenFrameError as error:
                if path is not files[-1] or tail.sequence < anchored:
                    raise LogDamagedError(f"record {tail.sequence + 1} in {path.name}: {error.why}") from error
                self._cut(path, error)
        if tail.sequence < anchored:
            raise LogDamagedError(f"the log ends at record {tail.sequence}, there were {anchored}")
        self._index.add(batch)
        self._indexed = True
        self.tail, self._end = tail, end

    def _cut(self, path: Path, error: BrokenFrameError) -> None:
        """Cut a record off that is not whole, or not what it was to be: it has never been anchored."""
        logger.warning("audit_record_cut_off", segment=path.name, offset=error.offset, reason=error.why)
        with path.open("r+b") as file:
            file.truncate(error.offset)
            os.fsync(file.fileno())

    def _known(self) -> Place | None:
        """The last record that the index knows, if the index is right about it; else the index begins anew."""
        try:
            last = self._index.last()
            if last is None or self._at(last).sequence == last.sequence:
                return last
        except (LogDamagedError, IndexDamagedError) as error:
            logger.warning("audit_index_discarded", error=str(error))
        self._index.clear()
        return None

    def _at(self, place: Place) -> audit_pb2.AuditRecord:
        path = _path(self.directory, place.segment)
        try:
            with contextlib.closing(self._frames(path, place.offset)) as found:
                for one in found:
                    return one.record
        except (OSError, BrokenFrameError) as error:
            raise LogDamagedError(f"record {place.sequence} in {path.name}: {error}") from error
        raise LogDamagedError(f"record {place.sequence} in {path.name}: the file ends before it")

    def _frames(self, path: Path, offset: int) -> Generator[Framed, None, None]:
        with path.open("rb") as file:
            yield from frames(file, offset)


def _path(directory: Path, segment: int) -> Path:
    return directory / f"{segment:020d}{SUFFIX}"


def _write(file: FileIO, content: bytes | bytearray) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
