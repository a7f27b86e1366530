"""Digits as sound, found again by what they sound like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox_local import g711, tones

digits = st.text(tones.DIGITS, min_size=1, max_size=20)


@given(digits)
@settings(max_examples=50, deadline=None)
def test_digits_survive_a_law(spoken: str) -> None:
    sound = g711.decode(g711.encode(tones.render(spoken)))
    assert tones.text(tones.detect(sound)) == spoken


def test_places_of_the_digits() -> None:
    heard = tones.detect(tones.render("150"))
    assert [tone.digit for tone in heard] == ["1", "5", "0"]
    assert [tone.start_s for tone in heard] == pytest.approx([0.2, 0.4, 0.6], abs=0.02)
    assert [tone.length_s for tone in heard] == pytest.approx([0.12] * 3, abs=0.03)


def test_whole_packets() -> None:
    assert len(tones.render("0123456789")) % 160 == 0


@pytest.mark.parametrize("seed", range(5))
def test_digits_in_noise(seed: int) -> None:
    """10 dB below the tones."""
    sound = tones.render(tones.DIGITS)
    noise = np.random.default_rng(seed).normal(0, 8000 / 10 ** (10 / 20), len(sound))
    assert tones.text(tones.detect(np.clip(sound + noise, -32768, 32767).astype(np.int16))) == tones.DIGITS


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(8000, np.int16),
        np.random.default_rng(1).normal(0, 8000, 80_000).astype(np.int16),
        (np.sin(np.arange(8000) * 2 * np.pi * 697 / 8000) * 16000).astype(np.int16),
        (np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000) * 16000).astype(np.int16),
        tones.render("123") // 50,
        tones.render("1")[1600:1840],
        np.zeros(10, np.int16),
    ],
    ids=["silence", "noise", "one tone", "ring back", "too quiet", "too short", "shorter than a window"],
)
def test_other_sounds_are_no_digits(sound) -> None:
    assert tones.detect(sound) == []


def test_lost_packets_spoil_digits() -> None:
    """Filling with silence keeps the others at their places."""
    sound = tones.render("147")
    sound[3200:4160] = 0
    assert tones.text(tones.detect(sound)) == "17"


@pytest.mark.parametrize("digit", ["", "E", "12", "é"])
def test_no_tones_for_other_characters(digit: str) -> None:
    with pytest.raises(ValueError, match="no tones"):
        tones.frequencies(digit)
