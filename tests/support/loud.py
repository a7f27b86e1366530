"""Captures of a caller who is loud and silent, frame by frame of 20 ms."""

from __future__ import annotations

import struct

import numpy as np
from signalbox.g711 import A_LAW, RATE, Law

from support.packets import ipv4

HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
"""Of a file of packets."""
START_US = 1_795_380_000_000_000
FRAME_US = 20_000
SILENCE = b"\xd5" * 160


def tone(level_dbm0: float, law: Law = A_LAW) -> bytes:
    """A frame of 1,000 Hz (ITU-T G.711 section 6: 3.14 dBm0 is full)."""
    amplitude = 32_768 * 10 ** ((level_dbm0 - 3.14) / 20)
    return law.encode(np.rint(amplitude * np.sin(2 * np.pi * 1_000 * np.arange(160) / RATE)).astype(np.int16))


LOUD = tone(-20)


def rtp(payload: bytes, kind: int = 8, *, flags: int = 0x80, extra: bytes = b"") -> bytes:
    """``extra``: between header and payload."""
    return struct.pack("!BBHII", flags, kind, 1, 160, 7) + extra + payload


def record(packet: bytes, frame: int) -> bytes:
    """A packet of so many frames after START_US."""
    seconds, micros = divmod(START_US + frame * FRAME_US, 1_000_000)
    return struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet


def capture(*packets: bytes) -> bytes:
    """A file of IP packets, one each frame."""
    return HEAD + b"".join(record(packet, frame) for frame, packet in enumerate(packets))


def sound(*frames: bytes) -> bytes:
    """A file of a caller who says these."""
    return capture(*(ipv4(rtp(frame)) for frame in frames))
