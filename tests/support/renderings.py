"""Captures rendered and looked at."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
from signalbox.api.types.v1.types_pb2 import RECORDING_FORMAT_WAV
from signalbox.recorder.render import Rendered, SegmentFile, render

from support.captures import CALLER_PORT, LINE_PORT, Capture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FACTS = CallFacts(call_id="c1", caller_tag="caller", line_tag="line")
SIDES = (Side(local_port=CALLER_PORT, tag="caller"), Side(local_port=LINE_PORT, tag="line"))


class Audio(NamedTuple):
    """What was made of a capture."""

    rendered: Rendered
    left: NDArray[np.int16]
    right: NDArray[np.int16]


def wav(
    folder: Path,
    *captures: Capture | bytes,
    facts: CallFacts = FACTS,
    sides: tuple[Side, ...] = SIDES,
    whole: bool | tuple[bool, ...] = True,
) -> Audio:
    """Renders segments, as captures or what their files hold, into a WAV. ``whole``: all of them, or each."""
    segments = []
    for index, capture in enumerate(captures):
        path = folder / f"{index}.pcap"
        path.write_bytes(capture if isinstance(capture, bytes) else capture.content())
        segments.append(SegmentFile(path, whole if isinstance(whole, bool) else whole[index]))
    output = folder / "audio.wav"
    rendered = render(segments, facts, sides, RECORDING_FORMAT_WAV, output)
    with wave.open(str(output)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
        assert file.getframerate() == rendered.sample_rate
    return Audio(rendered, samples[:, 0], samples[:, 1])


def a_law(codes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Samples of A-law, by FFmpeg."""
    return decoded("pcm_alaw", codes.tobytes(), 8_000)


def mu_law(codes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Samples of µ-law, by FFmpeg."""
    return decoded("pcm_mulaw", codes.tobytes(), 8_000)


def decoded(codec: str, content: bytes, rate: int) -> NDArray[np.int16]:
    """Samples of one channel of any codec."""
    context = av.CodecContext.create(codec, "r")
    context.layout, context.sample_rate = "mono", rate
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in context.decode(av.Packet(content))])


def encoded(codec: str, samples: NDArray[np.int16], rate: int) -> NDArray[np.uint8]:
    """One channel encoded."""
    context = av.CodecContext.create(codec, "w")
    context.layout, context.sample_rate, context.format = "mono", rate, "s16"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    content = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    return np.frombuffer(content, dtype=np.uint8)


def file_samples(path: Path, rate: int) -> NDArray[np.int16]:
    """What a player makes of a file: a row for each channel, at ``rate``."""
    resampler = av.AudioResampler(format="s16p", layout="stereo", rate=rate)
    with av.open(str(path)) as container:
        parts = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    parts += [out.to_ndarray() for out in resampler.resample(None)]
    return np.concatenate(parts, axis=1)
