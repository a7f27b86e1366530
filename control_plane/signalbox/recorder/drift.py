"""How a sender's clock runs away from ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_UNITS = 8 * 8_000
"""In so long, 8 s, one packet at least came without waiting on its way."""
CALM_US = 3_000
"""Nothing is shifted while the clocks are together by so much."""
CALM_MAX_US = 8_000
"""The same where so much jitter is that even the least delay of a block is not steady."""

_REACH = 4
"""Blocks before and after: delays that are longer for less than about a minute are the network's, not the clock's."""
_NOISE = 4.0


def follow(delays: NDArray[np.int64], stamps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Least delay of a stream along its time, microseconds: constant if the clocks stay together.

    ``delays`` are arrival less timestamp, ``stamps`` timestamps in units of 125 µs, ascending. The lower envelope of
    delays is what the clocks alone account for; it is followed when it has left what was assumed by ``CALM_US``, then
    by a ramp over a block.
    """
    bounds = _blocks(stamps)
    least = np.minimum.reduceat(delays, bounds)
    envelope = _opened(least)
    noise = float(np.median(np.abs(least - envelope)))
    calm = min(max(_NOISE * noise, CALM_US), CALM_MAX_US)
    assumed = envelope[0]
    steps = np.empty(len(bounds))
    for index, value in enumerate(envelope.tolist()):
        if abs(value - assumed) > calm:
            assumed = value
        steps[index] = assumed
    centres = (stamps[bounds] + stamps[np.append(bounds[1:], len(stamps)) - 1]) / 2
    return np.interp(stamps, centres, steps)


def _blocks(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where blocks of equal time begin; those in which nothing was sent are none."""
    begin, span = int(stamps[0]), int(stamps[-1] - stamps[0])
    count = min(max(1, span // BLOCK_UNITS), len(stamps))
    edges = begin + np.arange(count) * (span / count)
    return np.unique(np.searchsorted(stamps, edges)).astype(np.int64)


def _opened(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Morphological opening: what stands out upwards for a short time is cut off, a slope stays what it is."""
    return -_eroded(-_eroded(values))


def _eroded(values: NDArray[np.int64]) -> NDArray[np.int64]:
    padded = np.pad(values, _REACH, mode="edge")
    return np.asarray(sliding_window_view(padded, 2 * _REACH + 1).min(axis=1))
