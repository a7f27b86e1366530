"""The directory that rtpengine captures into, and what the sidecar makes of it. All of this blocks.

rtpengine 10.5 and 12.5 have for every segment, that is from each ``start recording`` to its end, a name of the call's
id, escaped as in a URI, and 16 random hexadecimal digits::

    pcaps/<id>-<hex>.pcap                     the packets, from the beginning of the segment
    tmp/rtpengine-meta-<id>-<hex>.tmp         while the segment goes on, and for ever if rtpengine was killed
    metadata/rtpengine-meta-<id>-<hex>.txt    when it has ended in order; the packets are whole then

What turns up there is moved into a folder of its call at once, while rtpengine goes on writing to the file that it has
open::

    signalbox/<id>.call/000001-<hex>.pcap     segments in the order of time
    signalbox/<id>.call/000001-<hex>.txt      the segment's metadata: it is whole
    signalbox/<id>.call/note.json             what the sidecar knows

An rtpengine that has a call again from redis may open the file of the same name once more, from its beginning, and what
was captured before would be lost.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import time
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import SignalboxError
from signalbox.files import write_atomically
from signalbox.media import facts, note
from signalbox.media.note import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PCAPS, META, TMP, OWN = "pcaps", "metadata", "tmp", "signalbox"
META_PREFIX = "rtpengine-meta-"
NOTE = "note.json"
CALL_SUFFIX = ".call"
MAX_METADATA_BYTES = 1 << 20
"""A metadata file has every SDP of the call; its last line is the proxy's."""
CUT = stat.S_IXUSR
"""Nobody executes packets: this bit of a file's mode says that some are missing in it."""

_PCAP = re.compile(r"([!-~]+)-([0-9a-f]{16})\.pcap")
_TEMPORARY = re.compile(META_PREFIX + r"([!-~]+)-[0-9a-f]{16}\.tmp")
_METADATA = re.compile(META_PREFIX + r"([!-~]+)-([0-9a-f]{16})\.txt")
_SEGMENT = re.compile(r"([0-9]{6})-([0-9a-f]{16})\.pcap")
_FIRST_PACKET = struct.Struct("<24xII")
"""After the file's header (pcap, 24 bytes) seconds and microseconds of the first packet, little-endian as we run."""


class SpoolError(SignalboxError):
    """The disk refuses what was to be done."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = types_pb2.MEDIA_NODE_UNAVAILABLE


@dataclass(slots=True)
class Segment:
    """One file of packets."""

    name: str
    whole: bool = False
    """rtpengine ended it in order."""
    size: int = 0
    """Bytes, as it was when it was looked at last."""


@dataclass(slots=True)
class Stored:
    """What the disk has of one call."""

    folder: str
    note: Note
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Arrivals:
    """What has turned up since the last time, by folder."""

    began: list[tuple[str, Segment, int]] = field(default_factory=list)
    """Segments, and when they began, milliseconds since 1970."""
    ended: list[tuple[str, str, str]] = field(default_factory=list)
    """Name of the segment and the metadata that it had."""
    strays: list[tuple[str, str]] = field(default_factory=list)
    """Ids and metadata of calls of which rtpengine could write no packet: no file descriptor was left, or no room."""
    errors: dict[str, str] = field(default_factory=dict)
    """Folders for which something could not be taken in, and why; it is tried again the next time."""


class Spool:
    """One directory. Nothing is made in it but below ``signalbox``, and that only when there is a capture."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._own = directory / OWN
        self._lock: int | None = None
        self.unread: dict[str, str] = {}
        """Folders that cannot be read, and why. Nothing is taken into these."""

    def load(self) -> list[Stored]:
        """All captures that were taken in before. From then on the directory is nobody else's, until :meth:`close`.

        Raises OSError, also if the directory is not there (yet), or another process has it.
        """
        self._hold()
        self.unread = {}
        return self._load_all(_names(self._own))

    def load_rest(self) -> list[Stored]:
        """What could not be read then, and can be now."""
        return self._load_all(list(self.unread)) if self.unread else []

    def close(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise BlockingIOError(error.errno, f"{self.directory} is another sidecar's") from error
            raise
        self._lock = lock

    def _load_all(self, folders: Iterable[str]) -> list[Stored]:
        """One that cannot be read must not hold up the others."""
        found = []
        for folder in folders:
            self.unread.pop(folder, None)
            try:
                stored = self._load(folder)
            except OSError as error:
                self.unread[folder] = str(error)
                continue
            if stored is not None:
                found.append(stored)
        return found

    def _load(self, folder: str) -> Stored | None:
        if not folder.endswith(CALL_SUFFIX) or not folder.isascii():
            return None
        names = _names(self._own / folder)
        segments = []
        for name in sorted(name for name in names if _SEGMENT.fullmatch(name)):
            segments.append(Segment(name, _metadata_name(name) in names, _size(self._own / folder / name)))
        known = self._read_note(folder) if NOTE in names else None
        if known is None:
            if not segments:
                # Made for a segment that has not come, or emptied when it was deleted.
                self._remove(folder, names)
                return None
            known = Note(call_id(folder), _began_ms(self._own / folder / segments[0].name))
        stored = Stored(folder, known, segments)
        known.cut |= {s.name for s in segments if _mode(self.path(folder, s)) & CUT}
        if not known.metadata:
            known.metadata = next(filter(None, (self._metadata(folder, s.name) for s in segments if s.whole)), "")
        return stored

    def arrivals(self) -> Arrivals:
        """Take in what rtpengine has begun and ended. Raises OSError."""
        found = Arrivals()
        # In this order: the packets of what has ended are there already.
        ended = _names(self.directory / META)
        for name in self._by_time(_names(self.directory / PCAPS)):
            match = _PCAP.fullmatch(name)
            if match is None:
                continue
            try:
                self._take(name, match[1] + CALL_SUFFIX, match[2], found)
            except OSError as error:
                found.errors[match[1] + CALL_SUFFIX] = str(error)
        for name in ended:
            match = _METADATA.fullmatch(name)
            if match is None:
                continue
            try:
                self._take_metadata(name, match[1] + CALL_SUFFIX, match[2], found)
            except OSError as error:
                found.errors[match[1] + CALL_SUFFIX] = str(error)
        return found

    def _by_time(self, names: Iterable[str]) -> list[str]:
        """Of two segments of a call the first was written to last when the second did not exist yet."""
        return sorted(names, key=lambda name: _modified(self.directory / PCAPS / name))

    def _take(self, name: str, folder: str, digits: str, found: Arrivals) -> None:
        self._require_read(folder)
        into = self._own / folder
        # What callers say is nobody else's.
        self._own.mkdir(mode=0o700, exist_ok=True)
        into.mkdir(mode=0o700, exist_ok=True)
        taken = [int(match[1]) for own in _names(into) if (match := _SEGMENT.fullmatch(own))]
        segment = Segment(f"{max(taken, default=0) + 1:06}-{digits}.pcap")
        os.rename(self.directory / PCAPS / name, into / segment.name)
        found.began.append((folder, segment, _began_ms(into / segment.name)))

    def _take_metadata(self, name: str, folder: str, digits: str, found: Arrivals) -> None:
        if (self.directory / PCAPS / name.removeprefix(META_PREFIX)).with_suffix(".pcap").exists():
            return  # its packets could not be taken in just now
        self._require_read(folder)
        own = _names(self._own / folder)
        # Of several with the same digits rtpengine has ended the one that it began last.
        segments = [name for name in own if (match := _SEGMENT.fullmatch(name)) and match[2] == digits]
        if not segments:
            metadata = _metadata(self.directory / META / name)
            (self.directory / META / name).unlink(missing_ok=True)
            found.strays.append((call_id(folder), metadata))
            return
        segment = max(segments)
        os.rename(self.directory / META / name, self._own / folder / _metadata_name(segment))
        found.ended.append((folder, segment, self._metadata(folder, segment)))

    def _require_read(self, folder: str) -> None:
        if folder in self.unread:
            raise OSError(self.unread[folder])

    def _metadata(self, folder: str, segment: str) -> str:
        return _metadata(self._own / folder / _metadata_name(segment))

    def _read_note(self, folder: str) -> Note | None:
        return note.decode((self._own / folder / NOTE).read_bytes(), call_id(folder))

    def temporaries(self) -> dict[str, str]:
        """Ids of calls by the temporary files that there are of them. Raises OSError."""
        names = ((name, _TEMPORARY.fullmatch(name)) for name in _names(self.directory / TMP))
        return {name: call_id(match[1]) for name, match in names if match is not None}

    def drop_temporaries(self, names: Iterable[str]) -> None:
        """Delete these. Raises OSError."""
        for name in names:
            (self.directory / TMP / name).unlink(missing_ok=True)

    def write(self, folder: str, content: bytes) -> None:
        """Keep the note of a capture, on disk when this returns. Raises OSError."""
        # A call may be paused before there is anything of it.
        self._own.mkdir(mode=0o700, exist_ok=True)
        (self._own / folder).mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._own / folder / NOTE, content)

    def measure(self, captures: Iterable[tuple[str, Iterable[Segment]]]) -> None:
        """Look how large segments are now, by folder. What cannot be looked at stays as it was."""
        for folder, segments in captures:
            for segment in segments:
                with suppress(OSError):
                    segment.size = _size(self.path(folder, segment))

    def mark_cut(self, segments: Iterable[tuple[str, Segment]]) -> None:
        """Packets are missing in these. Takes no room, of which there is none, as a note would. Raises OSError."""
        for folder, segment in segments:
            path = self.path(folder, segment)
            with suppress(FileNotFoundError):
                path.chmod(stat.S_IMODE(path.stat().st_mode) | CUT)

    def path(self, folder: str, segment: Segment) -> Path:
        """Where a segment is."""
        return self._own / folder / segment.name

    def drop(self, folder: str, segment: Segment) -> str:
        """Delete one segment, its packets first, and tell the metadata that it had. Raises OSError."""
        (self._own / folder / segment.name).unlink(missing_ok=True)
        kept, ended = self._own / folder / _metadata_name(segment.name), self.directory / META / _left(folder, segment)
        metadata = _metadata(kept) or _metadata(ended)
        for path in (kept, ended):
            path.unlink(missing_ok=True)
        self._drop_temporary(folder, segment.name)
        return metadata

    def rename(self, folder: str, other: str) -> None:
        """Give a capture another folder, which is not there yet. Raises OSError."""
        os.rename(self._own / folder, self._own / other)

    def forget(self, folder: str) -> None:
        """Delete the note of a call of which nothing was captured. Raises OSError."""
        (self._own / folder / NOTE).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            (self._own / folder).rmdir()

    def delete(self, folder: str) -> None:
        """Delete a capture, its note last: while that is there the capture is found again. Raises OSError."""
        names = _names(self._own / folder)
        for name in names:
            if _SEGMENT.fullmatch(name):
                self._drop_temporary(folder, name)
        self._remove(folder, names)

    def _remove(self, folder: str, names: Iterable[str]) -> None:
        directory = self._own / folder
        for name in sorted(names, key=lambda name: name == NOTE):
            (directory / name).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            directory.rmdir()

    def _drop_temporary(self, folder: str, segment: str) -> None:
        match = _SEGMENT.fullmatch(segment)
        assert match is not None, "only names of segments come here"
        name = f"{META_PREFIX}{folder.removesuffix(CALL_SUFFIX)}-{match[2]}.tmp"
        (self.directory / TMP / name).unlink(missing_ok=True)


def _names(directory: Path) -> list[str]:
    """What is in a directory; nothing if there is none. Raises OSError."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _metadata_name(segment: str) -> str:
    return segment.removesuffix(".pcap") + ".txt"


def _metadata(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_METADATA_BYTES))
            return facts.of_file(file.read().decode(errors="replace"))
    except OSError:
        return ""


def _left(folder: str, segment: Segment) -> str:
    """The name that rtpengine gives a segment's metadata."""
    return f"{META_PREFIX}{folder.removesuffix(CALL_SUFFIX)}-{digits_of(segment)}.txt"


def digits_of(segment: Segment) -> str:
    """What rtpengine has made up for a segment."""
    match = _SEGMENT.fullmatch(segment.name)
    assert match is not None, "only names of segments come here"
    return match[2]


def folder_of(call_id: str) -> str:
    """The folder of a call, whose id is escaped as rtpengine does it."""
    return urllib.parse.quote(call_id, safe="") + CALL_SUFFIX


def call_id(folder: str) -> str:
    """The inverse of :func:`folder_of`."""
    return urllib.parse.unquote(folder.removesuffix(CALL_SUFFIX))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _began_ms(path: Path) -> int:
    """The time of its first packet; now, if there is none yet."""
    try:
        with path.open("rb") as file:
            seconds, micros = _FIRST_PACKET.unpack(file.read(_FIRST_PACKET.size))
    except (OSError, struct.error):
        return int(time.time() * 1000)
    return int(seconds) * 1000 + int(micros) // 1000
