"""Sounds that are recognised by their content wherever they are heard (:mod:`signalbox_local.heard`)."""

from __future__ import annotations

import numpy as np
from signalbox.g711 import A_LAW, RATE, Law
from signalbox_local.rtp_party import FRAME


def noise(seed: int, seconds: float, law: Law = A_LAW) -> bytes:
    """Codes that nothing else has: noise in the band of telephones, a whole number of packets of it."""
    return law.encode((samples(seed, seconds, RATE) * 32_767).astype(np.int16))


def samples(seed: int, seconds: float, rate: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The same as samples; full scale is 1."""
    count = round(seconds * RATE / FRAME) * FRAME * rate // RATE
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    sound = np.fft.irfft(spectrum * ((hertz > 400) & (hertz < 3_200)), count)
    return np.asarray(sound / np.abs(sound).max() * 0.4, dtype=np.float64)
