"""How loud audio is, and audio of one loudness: ITU-R BS.1770-4 and EBU R 128, by FFmpeg's ``ebur128``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalbox.audio.filters import Filters, through
from signalbox.g711 import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET = -25.0
"""LUFS of every prompt. Active speech is to have -19 dBm0 (ITU-T G.115, G.169; RFC 7874 section 4). A sine of full
scale has 3.14 dBm0 in A-law (ITU-T G.711), and its mean square is 3.01 dB below full scale: that makes -25.15 dB of
full scale. The K weighting of BS.1770 and its constant leave a tone of 1 kHz, where speech has its power, as it is."""
SILENCE = -70.0
"""LUFS. The absolute gate of BS.1770-4: what is not above it is no sound."""
PEAK_MAX = -1.0
"""dBTP (EBU R 128)."""
ROUNDING = 0.3
"""What rounding to a code of A-law may add to a peak, dB: half of the largest step (ITU-T G.711 table 1a)."""
TOLERANCE = 0.1
ROUNDS = 4
"""What is limited is less loud: then it is raised again, so often."""

_BLOCK_S = 0.4
"""Length of the blocks that loudness is measured over."""
_LIMIT = f"limit={10 ** ((PEAK_MAX - 2 * ROUNDING) / 20):.4f}:attack=5:release=50:level=0:latency=1"
_OVERSAMPLED = 4 * RATE


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of audio."""

    loudness: float
    """Integrated, LUFS; SILENCE or less: nothing is to be heard."""
    true_peak: float
    """dBTP."""


def measure(samples: NDArray[np.float64]) -> Measured:
    """Loudness of one channel, RATE samples a second, full scale 1. What is shorter than a block is measured as if it
    went on and on."""
    times = math.ceil(2 * _BLOCK_S * RATE / len(samples))
    filters = Filters(RATE, [("ebur128", "peak=true:metadata=1")])
    filters.push(np.tile(samples, times) if times > 1 else samples)
    filters.end()
    peak = float(filters.told.get("lavfi.r128.true_peak", "0"))
    return Measured(float(filters.told.get("lavfi.r128.I", SILENCE)), 20 * math.log10(max(peak, 1e-5)))


def evened(samples: NDArray[np.float64], given: Measured) -> NDArray[np.float64]:
    """The samples, of which this was measured, at TARGET; where that goes beyond PEAK_MAX they are limited."""
    gain, now = TARGET - given.loudness, given
    for _ in range(ROUNDS):
        made = samples * 10 ** (gain / 20)
        now = measure(made)
        if now.true_peak > PEAK_MAX:
            made = _limited(made)
            now = measure(made)
        if abs(now.loudness - TARGET) <= TOLERANCE:
            break
        gain += TARGET - now.loudness
    # What the limiter lets through of a click, and what a law adds when it rounds.
    return made * min(1.0, 10 ** ((PEAK_MAX - ROUNDING - now.true_peak) / 20))


def _limited(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peaks between samples are seen at four times as many of them (BS.1770-4 annex 2)."""
    limited = through(
        RATE,
        samples,
        ("aresample", str(_OVERSAMPLED)),
        ("aformat", f"sample_rates={_OVERSAMPLED}"),
        ("alimiter", _LIMIT),
        ("aresample", f"{RATE}:cutoff=0.975"),
        ("aformat", f"sample_rates={RATE}"),
    )
    return np.concatenate([limited, np.zeros(max(0, len(samples) - len(limited)))])[: len(samples)]
