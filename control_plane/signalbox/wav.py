"""Mono G.711 in WAV, as rtpengine plays it: read, and put together. Bytes alone; :mod:`signalbox.g711` has the tables.

A WAV file is a RIFF of chunks (Multimedia Programming Interface and Data Specifications 1.0, August 1991); the encoding
is the format tag of its chunk ``fmt``: 6 A-law, 7 µ-law (RFC 2361 appendix A). One byte is a sample, 8,000 a second.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE_HZ = 8_000
BYTES_PER_MS = RATE_HZ // 1000

_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")


class Encoding(IntEnum):
    """Its format tag."""

    A_LAW = 6
    MU_LAW = 7

    @property
    def silence(self) -> bytes:
        """One sample of it (ITU-T G.711: the smallest positive value)."""
        return b"\xd5" if self is Encoding.A_LAW else b"\xff"

    def __str__(self) -> str:
        return "A-law" if self is Encoding.A_LAW else "µ-law"


class WavError(Exception):
    """It is no mono G.711 in WAV; the text says why."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What a file has."""

    encoding: Encoding
    samples: bytes

    @property
    def duration_ms(self) -> int:
        """Rounded up."""
        return duration_ms(len(self.samples))


def duration_ms(samples: int) -> int:
    """How long so many samples last, rounded up."""
    return -(-samples // BYTES_PER_MS)


def silence(encoding: Encoding, ms: int) -> bytes:
    """Samples."""
    return encoding.silence * (ms * BYTES_PER_MS)


def build(encoding: Encoding, parts: Sequence[bytes]) -> bytes:
    """A file of these samples, one part after the other. The same samples give the same bytes."""
    count = sum(map(len, parts))
    # The size of the extension, and the chunk that counts samples, are for all formats but PCM.
    form = _FORMAT.pack(encoding, 1, RATE_HZ, RATE_HZ, 1, 8) + struct.pack("<H", 0)
    head = _chunk(b"fmt ", form) + _chunk(b"fact", struct.pack("<I", count)) + _CHUNK.pack(b"data", count)
    # Of an odd size it is followed by a byte that does not count.
    end = b"\0" * (count % 2)
    return b"".join((_RIFF.pack(b"RIFF", 4 + len(head) + count + len(end), b"WAVE"), head, *parts, end))


def _chunk(name: bytes, content: bytes) -> bytes:
    """Of an even size."""
    return _CHUNK.pack(name, len(content)) + content


def parse(content: bytes) -> Sound:
    """What a file has. Raises WavError."""
    if len(content) < _RIFF.size:
        raise WavError("it is too short for a WAV file")
    riff, _, wave = _RIFF.unpack_from(content)
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise WavError("it is no WAV file")
    encoding: Encoding | None = None
    place = _RIFF.size
    while place + _CHUNK.size <= len(content):
        name, size = _CHUNK.unpack_from(content, place)
        place += _CHUNK.size
        if place + size > len(content):
            raise WavError(f"its chunk {name.decode(errors='replace')!r} is cut off")
        body = content[place : place + size]
        if name == b"fmt ":
            encoding = _encoding(body)
        elif name == b"data":
            if encoding is None:
                raise WavError("it has samples before their format")
            if not body:
                raise WavError("it has no samples")
            return Sound(encoding, body)
        place += size + size % 2
    raise WavError("it has no samples")


def _encoding(body: bytes) -> Encoding:
    if len(body) < _FORMAT.size:
        raise WavError("its format is cut off")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(body)
    if tag not in tuple(Encoding):
        raise WavError(f"its format is {tag}, not 6 (A-law) or 7 (µ-law)")
    if (channels, rate, bits) != (1, RATE_HZ, 8):
        raise WavError(f"it has {channels} channels of {bits} bits at {rate} Hz, not 1 of 8 at {RATE_HZ}")
    return Encoding(tag)
