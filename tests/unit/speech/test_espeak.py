"""What is refused before a synthesizer is asked, and synthesizers that do not do what they should."""

from __future__ import annotations

import asyncio
import os
import struct
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import InvalidFieldError
from signalbox.speech.espeak import AT_ONCE, SpeechUnavailableError, synthesize

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 30.0


def head(rate: int = 22_050, bits: int = 16) -> bytes:
    """As espeak-ng writes it to a pipe."""
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, bits)
    sizes = 0x7FFFF024, 0x7FFFF000
    return (
        struct.pack("<4sI4s4sI", b"RIFF", sizes[0], b"WAVE", b"fmt ", 16)
        + form
        + struct.pack("<4sI", b"data", sizes[1])
    )


def program(tmp_path: Path, body: str) -> str:
    """A synthesizer that does this in place of speaking."""
    file = tmp_path / "espeak"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has nothing to be spoken"),
        (" …。 \n", "has nothing to be spoken"),
        ("a" * 2_001, "must have at most 2000 characters"),
        ("a\0b", "must not have control characters, but line feeds"),
        ("a\x01b", "must not have control characters, but line feeds"),
        ("a\ud800", "must not have control characters, but line feeds"),
        ("привет", "'п' is of a script that cannot be spoken: Han and Latin can"),
        ("a中" * 101, "changes between Chinese and English more than 200 times"),
        ("a" * 61, "has a word of more than 60 characters"),
    ],
)
async def test_text_that_cannot_be_spoken_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        await synthesize(text, "en", program="/nonexistent")
    assert str(refused.value) == f"text: {reason}"


async def test_a_language_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(
        InvalidFieldError, match=r"^language: 'fr' cannot be spoken; there are zh, cmn, en, en-gb, en-us$"
    ):
        await synthesize("bonjour", "fr", program="/nonexistent")


async def test_a_synthesizer_that_is_missing_is_told() -> None:
    with pytest.raises(SpeechUnavailableError, match=r"^/nonexistent cannot be run: No such file or directory$"):
        await synthesize("hello", "en", program="/nonexistent")


async def test_a_synthesizer_that_fails_is_told(tmp_path: Path) -> None:
    failing = program(tmp_path, "cat >/dev/null; exit 3")
    with pytest.raises(SpeechUnavailableError, match=r"espeak ended with 3, voice en-gb$"):
        await synthesize("hello", "en", program=failing)


async def test_a_synthesizer_that_hangs_is_ended(tmp_path: Path) -> None:
    hanging = program(tmp_path, f'echo $$ >"{tmp_path}/pid"; exec sleep 600')
    with pytest.raises(SpeechUnavailableError, match=r"did not speak a text within 1 s$"):
        await synthesize("hello", "en", program=hanging, time_s=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("output", [b"RIFF", head(bits=8) + bytes(100), head(rate=96_000) + bytes(100), b"x" * 100])
async def test_what_is_no_speech_is_told(tmp_path: Path, output: bytes) -> None:
    (tmp_path / "output").write_bytes(output)
    strange = program(tmp_path, f'cat >/dev/null; cat "{tmp_path}/output"')
    with pytest.raises(SpeechUnavailableError, match="did not write a WAV file of 16-bit samples"):
        await synthesize("hello", "en", program=strange)


async def test_voices_of_different_rates_are_told(tmp_path: Path) -> None:
    for voice, rate in (("en-gb", 22_050), ("cmn-latn-pinyin", 16_000)):
        (tmp_path / voice).write_bytes(head(rate) + bytes(100))
    unequal = program(tmp_path, f'cat >/dev/null; cat "{tmp_path}/$2"')
    with pytest.raises(SpeechUnavailableError, match=r"have different rates: 16000, 22050$"):
        await synthesize("hello 你好", "en", program=unequal)


async def test_a_text_of_which_nothing_is_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match=r"^text: has nothing to be spoken$"):
        await synthesize("hello", "en", program=program(tmp_path, "cat >/dev/null"))


async def test_speech_without_an_end_is_refused(tmp_path: Path) -> None:
    endless = program(tmp_path, "cat >/dev/null; exec cat /dev/zero")
    with pytest.raises(InvalidFieldError, match=r"^text: takes longer than 10 min to say$"):
        await synthesize("hello", "en", program=endless)


async def test_a_synthesizer_that_does_not_read_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(head() + bytes(4_410))
    said = await synthesize("hello", "en", program=program(tmp_path, f'exec <&-; cat "{tmp_path}/output"'))
    assert said.duration_s == 0.1


async def test_text_is_never_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(head() + bytes(100))
    noting = program(tmp_path, f'echo "$@" >"{tmp_path}/arguments"; cat >"{tmp_path}/text"; cat "{tmp_path}/output"')
    await synthesize("--help $(reboot) [[x]]", "en-US", program=noting)
    assert (tmp_path / "arguments").read_text().split() == ["-v", "en-us", "-b", "1", "-m", "--stdin", "--stdout"]
    assert (tmp_path / "text").read_text() == "<speak>--help $(reboot) [ [x]]</speak>"


async def test_no_more_than_some_speak_at_once(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(head() + bytes(100))
    counting = program(
        tmp_path,
        f'cd "{tmp_path}"; touch "at.$$"; ls at.* | wc -l >>counts; sleep 0.2; rm "at.$$"; cat >/dev/null; cat output',
    )
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*[synthesize("hello", "en", program=counting) for _ in range(3 * AT_ONCE)])
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 3 * AT_ONCE
    assert max(counts) <= AT_ONCE
