"""A process that renders captures, one after the other: ``python -m signalbox.recorder.rendering``.

A request is a line of JSON on its standard input, the answer one on its standard output. The end of the input means
that the recorder is gone; the kernel tells it, too, lest a process that hangs in a library stays.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
from signalbox.api.types.v1.recordings_pb2 import RecordedSide
from signalbox.recorder.render import Rendered, SegmentFile, UnreadableCaptureError, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.types.v1.types_pb2 import RecordingFormat

NICE = 5
"""Calls, and whatever else the machine does for them, come first."""

_PR_SET_PDEATHSIG = 1


class RenderFailedError(Exception):
    """The process answered that it could not: ``unreadable``, or for a reason of its own."""

    def __init__(self, why: str, *, unreadable: bool, errno: int = 0) -> None:
        super().__init__(why)
        self.unreadable = unreadable
        self.errno = errno


def question(
    segments: Sequence[SegmentFile],
    facts: CallFacts,
    sides: Sequence[Side],
    format: RecordingFormat.ValueType,
    output: Path,
) -> bytes:
    """The line that asks for a rendering; see render()."""
    return _line(
        {
            "segments": [[str(segment.path), segment.whole] for segment in segments],
            "facts": _text(facts.SerializeToString()),
            "sides": [_text(side.SerializeToString()) for side in sides],
            "format": int(format),
            "output": str(output),
        }
    )


def answer(rendered: Rendered) -> bytes:
    """The line that answers."""
    fields: dict[str, Any] = {name: getattr(rendered, name) for name in Rendered.__dataclass_fields__}
    fields["left"] = _text(rendered.left.SerializeToString())
    fields["right"] = _text(rendered.right.SerializeToString())
    return _line(fields)


def answered(line: bytes) -> Rendered:
    """What the answer brings. Raises RenderFailedError and ValueError."""
    told = json.loads(line)
    if "error" in told:
        raise RenderFailedError(told["error"], unreadable=told["unreadable"], errno=told["errno"])
    told["left"] = RecordedSide.FromString(base64.b64decode(told["left"]))
    told["right"] = RecordedSide.FromString(base64.b64decode(told["right"]))
    told["pauses"] = tuple((start, end) for start, end in told["pauses"])
    told["reasons"] = tuple(told["reasons"])
    return Rendered(**told)


def _rendered(line: bytes) -> bytes:
    told = json.loads(line)
    try:
        rendered = render(
            [SegmentFile(Path(path), whole) for path, whole in told["segments"]],
            CallFacts.FromString(base64.b64decode(told["facts"])),
            [Side.FromString(base64.b64decode(side)) for side in told["sides"]],
            told["format"],
            Path(told["output"]),
        )
    except UnreadableCaptureError as error:
        return _failure(str(error), unreadable=True)
    except Exception as error:
        # Whatever it is, it is about this capture; a disk that is full apart.
        errno = error.errno if isinstance(error, OSError) else 0
        return _failure(f"{type(error).__name__}: {error}", errno=errno or 0)
    return answer(rendered)


def _failure(why: str, *, unreadable: bool = False, errno: int = 0) -> bytes:
    return _line({"error": why, "unreadable": unreadable, "errno": errno})


def _line(told: dict[str, Any]) -> bytes:
    # numpy's integers are no int.
    return json.dumps(told, default=int).encode() + b"\n"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read(lines: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


def _answers() -> BinaryIO:
    """Where answers go. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Answer until the input ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whoever stops the whole group of processes stops the recorder, which lets us finish.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    answers = _answers()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        answers.write(_rendered(lines.get()))
        answers.flush()


if __name__ == "__main__":
    main()
