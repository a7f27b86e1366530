"""Captures as rtpengine writes them: pcap files of IP packets without a link layer.

Format: draft-ietf-opsawg-pcap. Both byte orders, micro- and nanoseconds. A file ends within a record if its writer was
killed or had no room. A record that cannot be one means that the rest of the file is lost.
"""

from __future__ import annotations

import mmap
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK_RECORDS = 32_768
"""Records that are read at once."""
RECORD_BYTES_MAX = 65_535

_FILE_HEAD = 24
_RECORD_HEAD = 16
_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_LINK_TYPES = frozenset({12, 14, 101, 228, 229})
"""Raw IP: as systems number it themselves, LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6."""


class UnreadableCaptureError(SignalboxError):
    """A capture that nothing can be read of."""


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of a file, in its order."""

    starts: NDArray[np.int64]
    """Where each packet begins in the file, bytes."""
    sizes: NDArray[np.int64]
    """Bytes that are there of each."""
    times: NDArray[np.int64]
    """When each was captured, microseconds since 1970."""


class PcapFile:
    """A capture, mapped into memory. Raises OSError if it cannot be opened, UnreadableCaptureError if it is none."""

    def __init__(self, path: Path) -> None:
        self.damaged = False
        """True: something in its midst is no record, so the rest was not read. Known when ``blocks`` is through."""
        self.cut = False
        """True: it ends within a record. Known then, too."""
        with path.open("rb") as file:
            head = file.read(_FILE_HEAD)
            if len(head) < _FILE_HEAD:
                raise UnreadableCaptureError(f"{path.name}: ends within its head")
            try:
                order, self._fractions = _MAGICS[head[:4]]
            except KeyError:
                raise UnreadableCaptureError(f"{path.name}: is no pcap file") from None
            (link_type,) = struct.unpack(f"{order}I", head[20:])
            # The upper bits say how long frame check sequences are; there are none.
            if link_type & 0xFFFF not in _LINK_TYPES:
                raise UnreadableCaptureError(f"{path.name}: link type {link_type & 0xFFFF}, not raw IP")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._length = struct.Struct(f"{order}I")
        self._word = np.dtype(f"{order}u4")
        self.data: NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The map goes with the last one that looks at it.
        self.data = np.empty(0, dtype=np.uint8)
        with suppress(BufferError):
            self._map.close()

    def forget(self) -> None:
        """Gives pages back that were read; they come from the disk again if need be."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def blocks(self) -> Iterator[Records]:
        """All records that can be read."""
        position, more = _FILE_HEAD, True
        while more:
            heads, position, more = self._walk(position)
            if not heads:
                return
            at = np.array(heads, dtype=np.int64)
            words = self.data[at[:, None] + np.arange(12)].view(self._word).astype(np.int64)
            sane = words[:, 1] < self._fractions
            if not sane.all():
                self.damaged, more = True, False
                at, words = at[: sane.argmin()], words[: sane.argmin()]
            times = words[:, 0] * 1_000_000 + words[:, 1] * 1_000_000 // self._fractions
            if len(at):
                yield Records(at + _RECORD_HEAD, words[:, 2], times)

    def _walk(self, position: int) -> tuple[list[int], int, bool]:
        """Where the next records begin, where to go on, and whether to."""
        content, length = self._map, self._length.unpack_from
        size = len(content)
        heads: list[int] = []
        for _ in range(BLOCK_RECORDS):
            if position + _RECORD_HEAD > size:
                self.cut = position < size
                return heads, position, False
            (record,) = length(content, position + 8)
            if not 0 < record <= RECORD_BYTES_MAX:
                self.damaged = True
                return heads, position, False
            following = position + _RECORD_HEAD + record
            if following > size:
                self.cut = True
                return heads, position, False
            heads.append(position)
            position = following
        return heads, position, True
