"""G.711 in WAV."""

from __future__ import annotations

import struct
import wave
from io import BytesIO

import pytest
from signalbox import wav
from signalbox.wav import Encoding, Sound, WavError

FILE = wav.build(Encoding.A_LAW, [b"\xd5" * 100, b"\x55" * 61])


def changed(place: int, value: bytes) -> bytes:
    """A good file with something else in one place."""
    return FILE[:place] + value + FILE[place + len(value) :]


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("parts", [[b"a"], [b"ab", b"c"], [b"a" * 160, b"", b"b" * 7]])
def test_what_was_put_together_is_read(encoding: Encoding, parts: list[bytes]) -> None:
    content = wav.build(encoding, parts)
    assert wav.parse(content) == Sound(encoding, b"".join(parts))
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    assert len(content) % 2 == 0


def test_others_say_that_it_is_a_law() -> None:
    with pytest.raises(wave.Error, match="unknown format: 6"), wave.open(BytesIO(FILE)):
        pass


def test_silence_is_the_smallest_value() -> None:
    assert wav.silence(Encoding.A_LAW, 2) == b"\xd5" * 16
    assert wav.silence(Encoding.MU_LAW, 1) == b"\xff" * 8


@pytest.mark.parametrize(("samples", "ms"), [(1, 1), (8, 1), (9, 2), (80_000, 10_000)])
def test_durations_are_rounded_up(samples: int, ms: int) -> None:
    assert Sound(Encoding.A_LAW, b"x" * samples).duration_ms == ms


def test_chunks_that_say_nothing_of_the_sound_are_passed_over() -> None:
    told = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert wav.parse(FILE[:12] + told + FILE[12:] + told) == wav.parse(FILE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "too short"),
        (b"RIFF", "too short"),
        (b"OggS" + FILE[4:], "no WAV file"),
        (changed(8, b"AVI "), "no WAV file"),
        (FILE[:-2], "'data' is cut off"),
        (FILE[:12], "no samples"),
        (FILE[:50], "no samples"),
        (wav.build(Encoding.MU_LAW, []), "no samples"),
        (changed(20, b"\x01\0"), "its format is 1, not 6"),
        (changed(22, b"\x02\0"), "2 channels of 8 bits at 8000 Hz"),
        (changed(24, struct.pack("<I", 16_000)), "at 16000 Hz"),
        (changed(34, b"\x10\0"), "of 16 bits"),
        (FILE[:12] + b"fmt \x02\0\0\0\x06\0", "its format is cut off"),
        (FILE[:12] + FILE[50:], "samples before their format"),
    ],
)
def test_what_is_no_mono_g711_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(WavError, match=why):
        wav.parse(content)
