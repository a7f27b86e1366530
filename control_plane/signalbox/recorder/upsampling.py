"""From 8,000 to 16,000 samples a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 16
"""Samples before and after that have a say."""


def _taps() -> NDArray[np.float32]:
    """Half-band low pass: every other tap of a windowed sinc; the rest are 0, and the middle one 1."""
    at = np.arange(-MARGIN, MARGIN) + 0.5
    taps = np.sinc(at) * np.kaiser(2 * MARGIN + 2, 6.0)[1:-1]
    return np.asarray(taps / taps.sum(), dtype=np.float32)


_TAPS = _taps()


def doubled(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Twice as many samples for all but ``MARGIN`` at both ends.

    Every other one is what it was, the others lie in between.
    """
    between = np.convolve(samples.astype(np.float32), _TAPS, mode="valid")
    inner = samples[MARGIN:-MARGIN]
    result = np.empty(2 * len(inner), dtype=np.int16)
    result[0::2] = inner
    result[1::2] = np.clip(np.rint(between[1:]), -32768, 32767)
    return result
