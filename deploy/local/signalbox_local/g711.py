"""A-law of ITU-T G.711, by tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

SILENCE = 0xD5
"""The smallest positive code: what quiet sounds like."""

_EVEN_BITS = 0x55
_SIGN = 0x80
_SEGMENT_ENDS = np.array([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF])


def encode(samples: Samples) -> bytes:
    """A-law codes of 16-bit samples, which are first rounded to the 13 bits that G.711 knows."""
    return bytes(_ENCODE[samples.view(np.uint16)])


def decode(codes: bytes) -> Samples:
    """16-bit samples of A-law codes."""
    samples: Samples = _DECODE[np.frombuffer(codes, np.uint8)]
    return samples


def _encode_table() -> NDArray[np.uint8]:
    """Codes of all 16-bit samples, by their two's complement."""
    samples = np.arange(0x10000, dtype=np.uint16).view(np.int16).astype(np.int32)
    linear = np.clip((samples + 4) >> 3, -4096, 4095)
    magnitude = np.where(linear < 0, ~linear, linear)
    segment = np.searchsorted(_SEGMENT_ENDS, magnitude)
    mantissa = (magnitude >> np.maximum(segment, 1)) & 0x0F
    sign = np.where(linear < 0, 0, _SIGN)
    codes: NDArray[np.uint8] = ((sign | segment << 4 | mantissa) ^ _EVEN_BITS).astype(np.uint8)
    return codes


def _decode_table() -> Samples:
    """Samples of all codes: the middle of each code's interval."""
    codes = np.arange(0x100) ^ _EVEN_BITS
    segment = (codes >> 4) & 0x07
    mantissa = (codes & 0x0F) << 4
    magnitude = np.where(segment == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(segment - 1, 0))
    return np.where(codes & _SIGN, magnitude, -magnitude).astype(np.int16)


_ENCODE = _encode_table()
_DECODE = _decode_table()
