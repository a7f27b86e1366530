"""Signals, made where they are played: a node needs nobody to tell a caller that a line rings."""

from __future__ import annotations

import numpy as np

from signalbox.g711 import A_LAW, MU_LAW, RATE
from signalbox.wav import Encoding

LEVEL_DBM0 = -10
"""ITU-T E.180."""
_FULL_DBM0 = {Encoding.A_LAW: 3.14, Encoding.MU_LAW: 3.17}
"""A sine that just does not overload (ITU-T G.711 section 6)."""
_FULL = 32_768


def samples(encoding: Encoding, hertz: int, ms: int) -> bytes:
    """A sine of that frequency, G.711."""
    amplitude = _FULL * 10 ** ((LEVEL_DBM0 - _FULL_DBM0[encoding]) / 20)
    at = np.arange(ms * RATE // 1000)
    wave = np.rint(amplitude * np.sin(2 * np.pi * hertz / RATE * at)).astype(np.int16)
    return (A_LAW if encoding is Encoding.A_LAW else MU_LAW).encode(wave)
