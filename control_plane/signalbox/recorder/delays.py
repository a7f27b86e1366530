"""Delays, arrival less timestamp, that have risen for good: not a queue, but timestamps that stood still meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PACKETS = 400
"""Fewer tell nothing for good."""

_BLOCK = 50
"""Packets, a second of 20 ms, of which the least delay counts."""
_FOR_GOOD = 60
"""Blocks: what falls again within them was in a queue."""
_AT_LEAST = 4
"""The same at the end, where nobody knows what would have come."""
_UNITS_A_MICROSECOND = 16
"""No clock runs away faster: 500 ppm of units of 125 µs."""


def apart_us(units: int) -> int:
    """How far clocks may run apart meanwhile, microseconds."""
    return units // _UNITS_A_MICROSECOND


def rises(delays: NDArray[np.int64], stamped: NDArray[np.int64], more_us: int) -> list[int]:
    """Packets from which on the least delay is more than ``more_us`` higher than it was, and stays so for a minute.

    ``delays`` in microseconds, ``stamped`` in units of 125 µs, both of consecutive packets; however small the steps
    are by which it rises. What the clocks may run apart by meanwhile is allowed.
    """
    least = np.minimum.reduceat(delays, np.arange(0, len(delays), _BLOCK))
    padded = np.pad(least, (0, _FOR_GOOD - 1), mode="edge")
    coming = sliding_window_view(padded, _FOR_GOOD).min(axis=1)
    if coming.max() - coming.min() <= more_us:
        return []
    found = []
    stamps = stamped[::_BLOCK].tolist()
    values = coming.tolist()
    base = values[0]
    for block in range(1, len(values) - _AT_LEAST + 1):
        base += apart_us(max(0, stamps[block] - stamps[block - 1]))
        if values[block] > base + more_us:
            before = slice((block - 1) * _BLOCK, block * _BLOCK)
            found.append(before.start + int(np.flatnonzero(delays[before] <= base + more_us)[-1]) + 1)
            base = values[block]
        base = min(base, values[block])
    return found
