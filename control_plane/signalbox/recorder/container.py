"""Files that audio is written to: WAV with 16-bit samples, Opus in Ogg (RFC 6716, RFC 7845)."""

from __future__ import annotations

import hashlib
import io
import os
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from signalbox.api.types.v1.types_pb2 import RECORDING_FORMAT_WAV

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from signalbox.api.types.v1.types_pb2 import RecordingFormat

SAMPLES_MAX = ((1 << 32) - 1 - 44) // 4
"""Of each channel, in a WAV: its sizes have 32 bits. 37 hours of 8,000, 18 of 16,000 a second."""
OPUS_BITS = 32_000
"""Bits a second of both channels together, on average."""
OPUS_OPTIONS = {"application": "lowdelay", "compression_level": "0", "frame_duration": "120"}
"""CELT alone, at its cheapest, in the longest packets: ``docs/performance.md`` compares."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a file when it is complete."""

    size: int
    """Bytes."""
    sha256: str


class _Output(io.RawIOBase):
    """A file that is written from its beginning to its end, hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 16)
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Buffer) -> int:
        self._hash.update(content)
        written = self._file.write(content)
        self.size += written
        return written

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            super().close()

    def written(self) -> Written:
        return Written(self.size, self._hash.hexdigest())


def write(
    path: Path, form: RecordingFormat.ValueType, rate: int, samples: int, blocks: Iterable[NDArray[np.int16]]
) -> Written:
    """Writes stereo audio, ``samples`` of each channel in ``blocks``; it is at ``path`` when it is complete.

    Raises OSError, and what ``blocks`` raises; ``path`` is then as it was. The same audio gives the same file.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with _Output(temporary) as output:
            if form == RECORDING_FORMAT_WAV:
                _wav(output, rate, samples, blocks)
            else:
                _opus(output, rate, blocks)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return output.written()


def _wav(output: _Output, rate: int, samples: int, blocks: Iterable[NDArray[np.int16]]) -> None:
    with wave.open(cast("io.BytesIO", output), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        # Told before, so that nobody has to come back to the head.
        file.setnframes(samples)
        for block in blocks:
            file.writeframesraw(np.ascontiguousarray(block, dtype="<i2").data)


def _opus(output: _Output, rate: int, blocks: Iterable[NDArray[np.int16]]) -> None:
    # Bit-exact: without it the stream's number in the Ogg pages is a random one.
    with av.open(output, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=rate, layout="stereo", options=OPUS_OPTIONS)
        stream.bit_rate = OPUS_BITS
        at = 0
        for block in blocks:
            at += _encode(container, stream, block, rate, at)
        if not at:
            # A player wants at least one packet of audio: 20 ms of silence.
            _encode(container, stream, np.zeros((rate // 50, 2), dtype=np.int16), rate, 0)
        container.mux(stream.encode(None))


def _encode(
    container: av.container.OutputContainer, stream: av.AudioStream, block: NDArray[np.int16], rate: int, at: int
) -> int:
    """Encodes a block that begins with sample ``at``; gives its length."""
    frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
    frame.sample_rate, frame.pts = rate, at
    container.mux(stream.encode(frame))
    return len(block)
