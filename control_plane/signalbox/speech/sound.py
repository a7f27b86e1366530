"""Speech as samples."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRAME_S = 0.005
_FLOOR = 0.01
"""What is 40 dB below the loudest frame is silence."""
_MARGIN_S = 0.02
"""Is kept of the silence at either end: a consonant may begin in it."""


class Speech(NamedTuple):
    """What was said: one channel."""

    samples: NDArray[np.int16]
    rate: int
    """Samples a second."""

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def wav(self) -> bytes:
        """A file of it: WAV with 16-bit samples."""
        output = io.BytesIO()
        with wave.open(output, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(self.samples.astype("<i2").tobytes())
        return output.getvalue()

    def trimmed(self) -> Speech:
        """Without the silence before and after; nothing is left of nothing but silence."""
        size = max(1, round(_FRAME_S * self.rate))
        count = -(-len(self.samples) // size)
        frames = np.zeros(count * size)
        frames[: len(self.samples)] = self.samples
        loudness = np.sqrt(np.mean(frames.reshape(count, size) ** 2, axis=1))
        heard = np.flatnonzero(loudness > _FLOOR * loudness.max(initial=0.0))
        if not len(heard):
            return Speech(self.samples[:0], self.rate)
        margin = round(_MARGIN_S * self.rate)
        start = max(0, int(heard[0]) * size - margin)
        return Speech(self.samples[start : (int(heard[-1]) + 1) * size + margin], self.rate)
