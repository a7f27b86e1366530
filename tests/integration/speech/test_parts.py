"""Libraries as espeak-ng speaks them: every part can be heard, alone and joined with others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox import wav
from signalbox.g711 import A_LAW
from signalbox.speech import parts, spoken
from signalbox.speech.espeak import synthesize
from signalbox.speech.languages import Language
from signalbox.speech.manifest import Source

if TYPE_CHECKING:
    from signalbox.speech.parts import Library

SYLLABLE_S = (0.1, 0.48)
"""Of Mandarin, spoken alone."""


def samples(library: Library, part: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of its A-law file, full scale 1."""
    sound = wav.parse(library.files[f"{library.manifest.parts[part].alaw_sha256}.alaw.wav"])
    return A_LAW.decode(sound.samples) / 32_768


@pytest.fixture(scope="module")
def libraries() -> dict[Language, Library]:
    return {language: asyncio.run(parts.build(language, synthesize, {})) for language in Language}


@pytest.mark.parametrize("language", Language)
def test_a_library_can_be_heard(libraries: dict[Language, Library], language: Language) -> None:
    library = libraries[language]
    texts = spoken.parts_of(language)
    levels = []
    for name, part in library.manifest.parts.items():
        heard = samples(library, name)
        assert part.duration_ms <= 1_100, name
        if part.source is Source.SYNTHESIZED:
            assert np.abs(heard).max() < 0.95, f"{name} is clipped"
            levels.append(20 * np.log10(np.sqrt(np.mean(heard**2))))
            # Speech, not a click and not a hiss: most of its power is where telephones carry it.
            power = np.abs(np.fft.rfft(heard)) ** 2
            band = power[int(250 * len(heard) / 8_000) : int(3_550 * len(heard) / 8_000)]
            assert band.sum() > 0.9 * power.sum(), name
            if language is Language.CHINESE:
                least, most = (len(texts[name]) * bound for bound in SYLLABLE_S)
                assert least <= part.duration_ms / 1_000 <= most, name
    assert max(levels) - min(levels) < 8
    assert -36 < float(np.median(levels)) < -22


async def test_what_is_joined_of_parts_takes_about_as_long_as_what_is_said_in_one_go(
    libraries: dict[Language, Library],
) -> None:
    library = libraries[Language.CHINESE]
    said = spoken.position(23, "zh-CN")
    joined = sum(library.manifest.parts[part].duration_ms for part in said) / 1_000
    at_once = (await synthesize(spoken.text_of(said), "zh-CN")).trimmed().duration_s
    assert 0.7 * at_once <= joined <= 2 * at_once
