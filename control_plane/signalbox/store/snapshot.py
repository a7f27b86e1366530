"""A copy of a listing on local disk, so that a replica can start while the store is away.

The file: a header (magic, format version, revision), one record for each key (lengths, revisions, key, value) and the
BLAKE2b of all before. Integers are little-endian. It is written beside the old one and put in its place when it is
whole and on the disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from typing import IO, TYPE_CHECKING

import structlog

from signalbox.store.base import Entry, Listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

logger = structlog.get_logger(__name__)

MAGIC = b"SBXRULES"
VERSION = 1
_HEADER = struct.Struct("<8sIQ")
_RECORD = struct.Struct("<IIQQ")
_DIGEST_BYTES = 16
_BUFFER_BYTES = 1 << 20


class _DamagedError(Exception):
    """The file is not a whole snapshot of a version that we know."""


def save(file: Path, entries: Iterable[Entry], revision: int) -> None:
    """Write a snapshot, replacing the old one only when the new one is safe on the disk.

    Blocks: call it in a thread, with entries that don't change meanwhile. Raises OSError; the old snapshot stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.new-{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            _write(stream, entries, revision)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(stream: IO[bytes], entries: Iterable[Entry], revision: int) -> None:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    buffer = bytearray(_HEADER.pack(MAGIC, VERSION, revision))
    for entry in entries:
        key = entry.key.encode(errors="surrogateescape")
        buffer += _RECORD.pack(len(key), len(entry.value), entry.revision, entry.create_revision)
        buffer += key
        buffer += entry.value
        if len(buffer) >= _BUFFER_BYTES:
            digest.update(buffer)
            stream.write(buffer)
            buffer.clear()
    digest.update(buffer)
    stream.write(buffer)
    stream.write(digest.digest())


def load(file: Path) -> Listing | None:
    """The snapshot in ``file``, or None if there is none that can be used.

    A damaged one, or one of another format version, is renamed to ``<name>.damaged-<UTC time>`` and logged as an error.
    Blocks.
    """
    try:
        with file.open("rb") as stream:
            return _read(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.error("snapshot_unreadable", file=str(file), error=str(error))
        return None
    except _DamagedError as error:
        aside = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        file.rename(aside)
        logger.error("snapshot_damaged", file=str(file), moved_to=str(aside), error=str(error))
        return None


def _read(stream: IO[bytes]) -> Listing:
    end = os.fstat(stream.fileno()).st_size - _DIGEST_BYTES
    if end < _HEADER.size:
        raise _DamagedError("it is too short")
    with mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        magic, version, revision = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise _DamagedError("it is no snapshot")
        if version != VERSION:
            raise _DamagedError(f"format version {version} is not {VERSION}")
        with memoryview(data) as view, view[:end] as content:
            if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != data[end:]:
                raise _DamagedError("its checksum is wrong")
        entries = []
        at = _HEADER.size
        while at < end:
            key_size, value_size, written, created = _RECORD.unpack_from(data, at)
            value_at = at + _RECORD.size + key_size
            key = data[at + _RECORD.size : value_at].decode(errors="surrogateescape")
            at = value_at + value_size
            entries.append(Entry(key, data[value_at:at], written, created))
    return Listing(entries, revision)
