"""G.711 as ITU-T says it: A-law and µ-law by tables, and files of it (WAV, as rtpengine plays them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalbox import wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 8_000
"""Samples a second."""


@dataclass(frozen=True, eq=False)
class Law:
    """One of the two: its tables, and how files of it are marked and named."""

    ending: str
    """Of the names of files: ``alaw.wav`` or ``ulaw.wav``."""
    format_tag: int
    """WAVE_FORMAT_ALAW or WAVE_FORMAT_MULAW (RFC 2361)."""
    decoded: NDArray[np.int16]
    """The sample of each code, 13 or 14 bits made 16."""
    encoded: NDArray[np.uint8]
    """The code nearest to each sample, by the sample's two's complement."""

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """Codes of samples, a byte each."""
        return self.encoded[samples.view(np.uint16)].tobytes()

    def decode(self, codes: bytes) -> NDArray[np.int16]:
        """Samples of codes."""
        return self.decoded[np.frombuffer(codes, dtype=np.uint8)]

    def wav(self, samples: NDArray[np.int16]) -> bytes:
        """A file of the samples: WAV, one channel, 8,000 a second. The same samples give the same bytes."""
        return wav.build(wav.Encoding(self.format_tag), [self.encode(samples)])


def _a_law() -> NDArray[np.int16]:
    """Section 3 of the recommendation, 13 bits made 16."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    value = np.where(exponent == 0, mantissa * 16 + 8, (mantissa * 16 + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value).astype(np.int16)


def _mu_law() -> NDArray[np.int16]:
    """Section 4 of the recommendation, 14 bits made 16."""
    code = ~np.arange(256) & 0xFF
    value = (((code & 0x0F) * 8 + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -value, value).astype(np.int16)


def _nearest(decoded: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The code nearest to each sample; of two that are equally near the one farther from 0, the positive one for 0."""
    codes = np.arange(256)
    # µ-law has two codes for 0: the one of positive sign, which comes last, is found.
    order = np.lexsort((codes, decoded))
    values = decoded[order].astype(np.int32)
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    # Twice the sample against the sum of two neighbours: where halves don't matter.
    sums = values[:-1] + values[1:]
    above = np.searchsorted(sums, 2 * samples, side="right")
    below = np.searchsorted(sums, 2 * samples, side="left")
    return order[np.where(samples >= 0, above, below)].astype(np.uint8)


def _law(ending: str, format_tag: int, decoded: NDArray[np.int16]) -> Law:
    return Law(ending, format_tag, decoded, _nearest(decoded))


A_LAW = _law("alaw.wav", 6, _a_law())
MU_LAW = _law("ulaw.wav", 7, _mu_law())
LAWS = (A_LAW, MU_LAW)
