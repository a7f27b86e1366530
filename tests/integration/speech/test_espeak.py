"""espeak-ng itself: what it says is as long as it must be, and nothing of a text is left out.

Needs what the installation brings. How long a text takes tells what was said of it: a word more or less is a quarter of
a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.speech.espeak import synthesize

if TYPE_CHECKING:
    from signalbox.speech.sound import Speech


async def seconds(text: str, language: str) -> float:
    """How long the text takes without the silence around it."""
    return (await synthesize(text, language)).trimmed().duration_s


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("欢迎致电信号盒公司，请按一。", "zh-CN"),
        ("Welcome to Signalbox, please press one.", "en-GB"),
        ("Welcome to Signalbox, please press one.", "en-US"),
        ("欢迎致电 Signalbox 公司，请按 1。", "zh"),
        ("For Chinese, 中文服务, press 2.", "en"),
    ],
)
async def test_speech_is_loud_enough_and_not_clipped(text: str, language: str) -> None:
    said = await synthesize(text, language)
    assert said.samples.dtype == np.int16
    assert 1.5 <= said.duration_s <= 6
    peak = int(np.abs(said.samples.astype(np.int32)).max())
    assert 8_000 < peak < 32_767
    again = await synthesize(text, language)
    assert np.array_equal(again.samples, said.samples)


async def test_a_chinese_syllable_is_one_syllable() -> None:
    """A voice that spells what a character is made of, and says the number of its tone, takes twice as long."""
    for character in "一二三四五六七八九十百千万亿元角分点两零好":
        assert 0.1 <= await seconds(character, "zh-CN") <= 0.45, character


async def test_mixed_text_takes_as_long_as_its_parts() -> None:
    mixed = await seconds("欢迎致电 Signalbox 公司", "zh-CN")
    parts = [
        await seconds(text, language) for text, language in (("欢迎致电", "zh"), ("Signalbox", "en"), ("公司", "zh"))
    ]
    assert mixed == pytest.approx(sum(parts), rel=0.2)


async def test_english_within_chinese_sounds_as_in_english() -> None:
    """Neither spelled letter by letter nor read as pinyin."""
    chinese, english = await synthesize("公司Signalbox", "zh-CN"), await synthesize("Signalbox", "en-GB")
    assert np.array_equal(chinese.samples[-len(english.samples) :], english.samples)


@pytest.mark.parametrize(
    ("one", "language", "times"),
    [
        ("欢" * 150 + ",", "zh", 6),
        ("欢" * 150 + "。", "zh", 6),
        ("1" * 60 + "! ", "zh", 6),
        ("欢" * 40 + "\n", "zh", 6),
        ("a" + "ba" * 29 + " ", "en", 6),
        ("word " * 40, "en", 6),
    ],
)
async def test_nothing_of_a_long_text_is_left_out(one: str, language: str, times: int) -> None:
    once, all_of_it = await asyncio.gather(seconds(one, language), seconds(one * times, language))
    assert all_of_it >= 0.95 * times * once


@pytest.mark.parametrize(("one", "language"), [("欢" * 75, "zh"), ("1" * 37, "zh"), ("ba" * 15, "en")])
async def test_the_longest_clauses_and_words_are_said_whole(one: str, language: str) -> None:
    once, twice = await asyncio.gather(seconds(one, language), seconds(one * 2, language))
    assert twice >= 1.9 * once


async def test_what_looks_like_a_command_is_read_out() -> None:
    """Names of phonemes in double brackets, and markup."""
    assert await seconds("hello [[w3:ld]]", "en") > 2 * await seconds("hello world", "en")
    assert 2 < await seconds('hello <break time="60s"/> world', "en") < 10
    assert await seconds("hello </speak> world", "en") > 1.5 * await seconds("hello world", "en")


async def test_mandarin_has_tones() -> None:
    """The first stays where it is, the second rises, the fourth falls: by 3 semitones and more."""
    first, second, fourth = [contour((await synthesize(character, "zh-CN")).trimmed()) for character in "衣移意"]
    assert abs(first[-1] - first[len(first) // 2]) < 1
    assert second[-1] - second[0] > 3
    assert first[0] - second[0] > 3
    assert max(fourth) - fourth[-1] > 1.5


def contour(said: Speech) -> list[float]:
    """Pitch of voiced frames, semitones above 60 Hz, by autocorrelation."""
    size, found = said.rate // 25, []
    for start in range(0, len(said.samples) - size, said.rate // 100):
        frame = said.samples[start : start + size].astype(float)
        alike = np.correlate(frame, frame, "full")[size - 1 :]
        lags = slice(said.rate // 250, said.rate // 60)
        best = lags.start + int(np.argmax(alike[lags]))
        if alike[0] > 800**2 * size and alike[best] > alike[0] / 2:
            found.append(12 * float(np.log2(said.rate / best / 60)))
    return [float(np.median(found[at : at + 3])) for at in range(len(found) - 2)]
