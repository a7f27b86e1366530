"""Text is spoken by espeak-ng, which runs as a program of its own: its licence (GPL-3) is not ours."""

from __future__ import annotations

import asyncio
import struct
import unicodedata
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from weakref import WeakKeyDictionary

import numpy as np

from signalbox import children
from signalbox.errors import FieldViolation, InvalidFieldError, SignalboxError
from signalbox.speech.languages import voice_of
from signalbox.speech.runs import cut
from signalbox.speech.sound import Speech
from signalbox.speech.wording import Wording, worded

PROGRAM = "espeak-ng"
TEXT_MAX = 2_000
"""Characters."""
RUNS_MAX = 200
"""Times that the voice may change in a text: each is a process."""
LENGTH_MAX_S = 600
"""Longest speech, seconds."""
TIME_S = 60.0
"""Time for a text. The longest take a second or two."""
AT_ONCE = 2
"""Texts that are spoken at a time; others wait."""

_HEAD = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""Of a WAV file as espeak-ng writes it to a pipe: sizes are not known and mean nothing."""
_RATE_MAX = 48_000
_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class SpeechUnavailableError(SignalboxError):
    """espeak-ng is not there, or does not do what it should."""


async def synthesize(text: str, language: str, *, program: str = PROGRAM, time_s: float = TIME_S) -> Speech:
    """Speak a text; ``language`` is a BCP 47 tag: zh, zh-CN, en, en-GB, en-US and such.

    Chinese and English may be mixed, each is spoken by its own voice. The same text gives the same samples. Raises
    InvalidFieldError for ``language``, and for ``text`` if it is empty, too long, of another script, or has nothing to
    be spoken; SpeechUnavailableError.
    """
    runs = _checked(text, voice_of(language))
    room = _rooms.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
    async with room:
        try:
            async with asyncio.timeout(time_s):
                return await _spoken(runs, program)
        except TimeoutError as error:
            raise SpeechUnavailableError(f"{program} did not speak a text within {time_s:g} s") from error


def _checked(text: str, voice: str) -> list[Wording]:
    """The runs of a text that can be spoken."""
    if len(text) > TEXT_MAX:
        raise _invalid(f"must have at most {TEXT_MAX} characters")
    text = text.replace("\r\n", "\n").replace("\t", " ")
    if any(unicodedata.category(character) in ("Cc", "Cs") and character != "\n" for character in text):
        raise _invalid("must not have control characters, but line feeds")
    if not any(map(str.isalnum, text)):
        raise _invalid("has nothing to be spoken")
    runs = cut(text, voice)
    if len(runs) > RUNS_MAX:
        raise _invalid(f"changes between Chinese and English more than {RUNS_MAX} times")
    return [worded(run) for run in runs]


async def _spoken(runs: list[Wording], program: str) -> Speech:
    """All runs, one after the other; no silence where the voice changes within a clause."""
    pieces: list[Speech] = []
    for run in runs:
        said = await _run(run, program)
        pieces.append(said if run.pauses or run is runs[-1] else said.trimmed())
        if sum(piece.duration_s for piece in pieces) > LENGTH_MAX_S:
            raise _invalid(f"takes longer than {LENGTH_MAX_S // 60} min to say")
    rates = {piece.rate for piece in pieces}
    if len(rates) != 1:
        raise SpeechUnavailableError(f"voices of {program} have different rates: {', '.join(map(str, sorted(rates)))}")
    return Speech(np.concatenate([piece.samples for piece in pieces]), rates.pop())


async def _run(run: Wording, program: str) -> Speech:
    arguments = ["-v", run.voice, "-b", "1", "-m", "--stdin", "--stdout"]
    try:
        process = await asyncio.create_subprocess_exec(program, *arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    except OSError as error:
        raise SpeechUnavailableError(f"{program} cannot be run: {error.strerror}") from error
    try:
        output = await _exchanged(process, run.ssml.encode())
        code = await process.wait()
    finally:
        await children.end(process)
    if code:
        raise SpeechUnavailableError(f"{program} ended with {code}, voice {run.voice}")
    return _parsed(output, program)


async def _exchanged(process: Process, content: bytes) -> bytes:
    """What it writes, as much as the longest speech may have."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(content)
    with suppress(ConnectionError):
        await process.stdin.drain()
    process.stdin.close()
    output = bytearray()
    while piece := await process.stdout.read(1 << 16):
        output += piece
        if len(output) > LENGTH_MAX_S * _RATE_MAX * 2:
            raise _invalid(f"takes longer than {LENGTH_MAX_S // 60} min to say")
    return bytes(output)


def _parsed(output: bytes, program: str) -> Speech:
    """Samples of a WAV file; nothing is written of nothing."""
    if not output:
        raise _invalid("has nothing to be spoken")
    if len(output) >= _HEAD.size:
        riff, _, form, _, _, tag, channels, rate, _, _, bits, data, _ = _HEAD.unpack_from(output)
        if (riff, form, data, tag, channels, bits) == (b"RIFF", b"WAVE", b"data", 1, 1, 16) and 0 < rate <= _RATE_MAX:
            count = (len(output) - _HEAD.size) // 2
            return Speech(np.frombuffer(output, dtype="<i2", count=count, offset=_HEAD.size).astype(np.int16), rate)
    raise SpeechUnavailableError(f"{program} did not write a WAV file of 16-bit samples")


def _invalid(reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation("text", reason))
