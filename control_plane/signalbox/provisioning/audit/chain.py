"""The chain of records as bytes: each is framed by its length and its own hash, and holds the hash of the one before.

A frame is 4 bytes of length (big endian), 32 bytes of SHA-256, and the record (types.v1.AuditRecord), of which the hash
is. So a record that is damaged is told by itself, and one that was changed with its hash by the record after it.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from signalbox.api.types.v1 import audit_pb2
from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

NO_HASH = bytes(32)
"""What the first record has in place of the hash of the one before."""
RECORD_BYTES_MAX = 2 * 1024 * 1024

_HEAD = struct.Struct(">I32s")
HEAD_BYTES = _HEAD.size


class Framed(NamedTuple):
    """A record in a file: where its frame begins and ends, bytes, and its hash."""

    offset: int
    end: int
    sha256: bytes
    record: audit_pb2.AuditRecord


class BrokenFrameError(SignalboxError):
    """What should be a frame is none. ``following``: where the next one should begin; None: that cannot be told."""

    def __init__(self, why: str, offset: int, following: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.offset = offset
        self.following = following


class CutFrameError(BrokenFrameError):
    """The file ends before the frame does."""


def frame(record: bytes) -> tuple[bytes, bytes]:
    """A record's frame, and its hash."""
    digest = hashlib.sha256(record).digest()
    return _HEAD.pack(len(record), digest) + record, digest


def frames(file: BinaryIO, offset: int = 0) -> Iterator[Framed]:
    """The records of a file from an offset on. Raises BrokenFrameError at the first frame that is none, and OSError."""
    file.seek(offset)
    while head := file.read(HEAD_BYTES):
        if len(head) < HEAD_BYTES:
            raise CutFrameError("the file ends within it", offset)
        length, digest = _HEAD.unpack(head)
        if length > RECORD_BYTES_MAX:
            raise BrokenFrameError(f"it cannot have {length} bytes", offset)
        content = file.read(length)
        if len(content) < length:
            raise CutFrameError("the file ends within it", offset)
        following = offset + HEAD_BYTES + length
        if hashlib.sha256(content).digest() != digest:
            raise BrokenFrameError("it is not what its own hash says", offset, following)
        try:
            record = audit_pb2.AuditRecord.FromString(content)
        except DecodeError as error:
            raise BrokenFrameError("it is no message", offset, following) from error
        yield Framed(offset, following, digest, record)
        offset = following
