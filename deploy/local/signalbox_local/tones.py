"""Digits as sound and back: the dual tones of ITU-T Q.23, sent in-band and found again by their content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalbox_local.g711 import Samples

RATE_HZ = 8000
TONE_MS = 120
GAP_MS = 80
LEAD_MS = 200
"""Quiet before the first digit and after the last."""

_LOW_HZ = (697, 770, 852, 941)
_HIGH_HZ = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")
DIGITS = "0123456789*#ABCD"

_AMPLITUDE = 8000
"""Of each of the two tones; the sum stays below half of full scale."""
_WINDOW = 240
_HOP = 80
_MIN_TONE_FRAMES = 4
"""Frames of 10 ms that a tone must be heard in: a third of what is sent."""
_MIN_LEVEL = 0.01
"""Power of a frame relative to the one that is sent, below which it is quiet."""
_MIN_PURITY = 0.8
"""Part of a frame's power that must lie in the two tones."""


@dataclass(frozen=True, slots=True)
class Tone:
    """A digit that was heard."""

    digit: str
    start_s: float
    """Since the beginning of the samples; right to about 15 ms."""
    length_s: float


def frequencies(digit: str) -> tuple[int, int]:
    """Low and high frequency of a digit, Hz. Raises ValueError for one that has no tones."""
    for low, row in zip(_LOW_HZ, _KEYS, strict=True):
        if len(digit) == 1 and digit in row:
            return low, _HIGH_HZ[row.index(digit)]
    raise ValueError(f"no tones for {digit!r}")


def render(digits: str) -> Samples:
    """The sound of digits at 8 kHz, a whole number of 20 ms frames."""
    lead, gap = (np.zeros(RATE_HZ * ms // 1000) for ms in (LEAD_MS, GAP_MS))
    time = np.arange(RATE_HZ * TONE_MS // 1000) / RATE_HZ
    parts = [lead]
    for digit in digits:
        low, high = (np.sin(2 * np.pi * hz * time) for hz in frequencies(digit))
        parts += [(low + high) * _AMPLITUDE, gap]
    return np.concatenate([*parts, lead]).astype(np.int16)


def detect(samples: Samples) -> list[Tone]:
    """The digits in samples of 8 kHz, in order. Noise, silence and other sounds give none."""
    heard: list[Tone] = []
    frames = [_digit_of(samples[at : at + _WINDOW]) for at in range(0, len(samples) - _WINDOW + 1, _HOP)]
    start = 0
    for at in range(1, len(frames) + 1):
        if at < len(frames) and frames[at] == frames[start]:
            continue
        if frames[start] and at - start >= _MIN_TONE_FRAMES:
            # A frame counts as the digit once most of its window is filled with it.
            heard.append(Tone(frames[start], start * _HOP / RATE_HZ, (at - start) * _HOP / RATE_HZ))
        start = at
    return heard


def text(tones: list[Tone]) -> str:
    """The digits alone."""
    return "".join(tone.digit for tone in tones)


_HANN = np.hanning(_WINDOW)
_HANN_POWER = float(_HANN @ _HANN)
_POWER_OF_WAVE = 2 * _HANN_POWER / float(_HANN.sum()) ** 2
"""Power of a windowed sine wave, relative to the squared magnitude of its Fourier component."""


def _digit_of(frame: Samples) -> str:
    """The digit that fills a frame, or "" if none does."""
    windowed = frame * _HANN
    power = float(windowed @ windowed)
    if power < _MIN_LEVEL * _AMPLITUDE**2 * _HANN_POWER:
        return ""
    low, high = (np.abs(waves @ windowed) ** 2 * _POWER_OF_WAVE for waves in (_LOW, _HIGH))
    if low.max() + high.max() < _MIN_PURITY * power or not 0.1 < low.max() / high.max() < 10:
        return ""
    return _KEYS[int(low.argmax())][int(high.argmax())]


def _waves(frequencies_hz: tuple[int, ...]) -> NDArray[np.complex128]:
    waves: NDArray[np.complex128] = np.exp(-2j * np.pi * np.outer(frequencies_hz, np.arange(_WINDOW)) / RATE_HZ)
    return waves


_LOW = _waves(_LOW_HZ)
_HIGH = _waves(_HIGH_HZ)
