"""Samples of speech: files of them, and the silence around them."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from signalbox.speech.sound import Speech

RATE = 22_050


def tone(seconds: float, amplitude: float = 10_000) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def silence(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


def test_a_file_has_the_samples() -> None:
    said = Speech(tone(0.1), RATE)
    with wave.open(io.BytesIO(said.wav())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.readframes(file.getnframes()) == said.samples.tobytes()


@pytest.mark.parametrize(("before", "after"), [(0.5, 0.7), (0.0, 0.3), (0.3, 0.0), (0.0, 0.0)])
def test_silence_around_is_left_out_and_none_within(before: float, after: float) -> None:
    inner = np.concatenate([tone(0.3), silence(0.4), tone(0.2, 300)])
    trimmed = Speech(np.concatenate([silence(before), inner, silence(after)]), RATE).trimmed()
    kept = min(before, 0.02) + min(after, 0.02)
    assert trimmed.duration_s == pytest.approx(0.9 + kept, abs=0.011)
    assert np.abs(trimmed.samples.astype(int)).max() == np.abs(inner.astype(int)).max()


@pytest.mark.parametrize("samples", [silence(1.0), silence(0.0)])
def test_nothing_is_left_of_silence(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
    assert Speech(samples, RATE).trimmed().duration_s == 0
