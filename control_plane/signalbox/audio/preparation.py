"""Prompts are made here, once: any file becomes G.711 in WAV, of one loudness and in the band of telephones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from signalbox.audio import loudness
from signalbox.audio.decoding import UnusableAudioError, decode
from signalbox.g711 import A_LAW, MU_LAW, RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTENT_MAX = 20 * 1024 * 1024
"""Largest file, bytes."""
BAND = (250.0, 3_550.0)
"""Half of the amplitude passes at these, Hz: all of it from 300 to 3,400 (ITU-T G.712), nothing below 200."""

_TAPS = 293
_BETA = 5.65
"""Of the Kaiser window: 60 dB are left out within 100 Hz."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt as media nodes play it, and what was measured."""

    alaw: bytes
    """WAV of A-law."""
    ulaw: bytes
    """WAV of µ-law: as many bytes."""
    duration_ms: int
    given_loudness: float
    """In the band of telephones, LUFS."""
    loudness: float
    """As A-law, LUFS."""
    true_peak: float
    """As A-law, dBTP."""
    format: str
    """What was given: e.g. ``MP3 mp3``."""


def prepare(content: bytes) -> Prepared:
    """Makes a prompt of a file's bytes; the same bytes give the same. Raises UnusableAudioError."""
    if len(content) > CONTENT_MAX:
        raise UnusableAudioError(f"is more than {CONTENT_MAX} bytes")
    if not content:
        raise UnusableAudioError("is required")
    decoded = decode(content)
    samples = np.convolve(decoded.samples, _band(), mode="same")
    given = loudness.measure(samples)
    if given.loudness <= loudness.SILENCE:
        raise UnusableAudioError("is silent: nothing of it is to be heard on a telephone")
    made = np.clip(np.rint(loudness.evened(samples, given) * 32_768), -32_768, 32_767).astype(np.int16)
    heard = loudness.measure(A_LAW.decode(A_LAW.encode(made)) / 32_768)
    return Prepared(
        A_LAW.wav(made),
        MU_LAW.wav(made),
        round(len(made) * 1_000 / RATE),
        given.loudness,
        heard.loudness,
        heard.true_peak,
        decoded.format,
    )


@cache
def _band() -> NDArray[np.float64]:
    """Impulse response of a band-pass of linear phase: a windowed sinc."""
    at = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * edge / RATE for edge in BAND)
    response: NDArray[np.float64] = high * np.sinc(high * at) - low * np.sinc(low * at)
    return response * np.kaiser(_TAPS, _BETA)
