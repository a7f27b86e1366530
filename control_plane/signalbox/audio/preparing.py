"""A process that prepares one prompt: ``python -m signalbox.audio.preparing``.

The file is on its standard input; on its standard output comes a line of JSON, and behind it the two prepared files,
which have as many bytes each. Whatever a hostile file makes of FFmpeg's decoders ends with this process: it has no more
memory and time than it needs, and writes no file.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from dataclasses import fields
from typing import Any

import av

from signalbox.audio.decoding import UnusableAudioError
from signalbox.audio.preparation import CONTENT_MAX, Prepared, prepare

MEMORY_BYTES = 1024**3
"""Of addresses: libraries have a good part of it."""
CPU_S = 90
"""Ten minutes of the dearest kind take a tenth of that."""
NICE = 5
"""Requests, and whatever else the machine does for calls, come first."""

_PR_SET_PDEATHSIG = 1
_FILES = ("alaw", "ulaw")


def answer(prepared: Prepared) -> bytes:
    """What is written of a prepared prompt."""
    told = {field.name: getattr(prepared, field.name) for field in fields(Prepared) if field.name not in _FILES}
    return json.dumps(told).encode() + b"\n" + prepared.alaw + prepared.ulaw


def answered(output: bytes) -> Prepared:
    """What was written. Raises UnusableAudioError, and ValueError or TypeError for what is no answer."""
    line, end, files = output.partition(b"\n")
    told: dict[str, Any] = json.loads(line)
    if "refused" in told:
        raise UnusableAudioError(told["refused"])
    if not end or not files or len(files) % 2:
        raise ValueError("the answer is cut off")
    half = len(files) // 2
    return Prepared(alaw=files[:half], ulaw=files[half:], **told)


def _limit() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    os.nice(NICE)


def main() -> None:
    """Answer, and end."""
    _limit()
    av.logging.set_level(av.logging.PANIC)
    content = sys.stdin.buffer.read(CONTENT_MAX + 1)
    try:
        written = answer(prepare(content))
    except UnusableAudioError as error:
        written = json.dumps({"refused": str(error)}).encode() + b"\n"
    except MemoryError:
        written = json.dumps({"refused": "takes more memory than any prompt needs"}).encode() + b"\n"
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
