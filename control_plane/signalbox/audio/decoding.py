"""Files of audio become samples: one channel, 8,000 a second. Whatever a file says of itself is doubted."""

from __future__ import annotations

import io
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from signalbox.audio.filters import Filters
from signalbox.g711 import RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHORTEST_S = 0.1
LONGEST_S = 600
RATES = (6_000, 192_000)
CHANNELS_MAX = 8
CUT_S = 0.5
"""A file that ends so much before it says it does is cut off: what codecs add at both ends is less."""
EXACT_S = 0.02
"""The same of formats that say it to the sample."""

_CODECS = {
    "wav": ("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    "flac": ("flac",),
    "ogg": ("opus", "libopus", "vorbis", "libvorbis", "flac"),
    "mp3": ("mp3", "mp3float"),
    "mp4": ("aac", "alac"),
}
"""What is read of which format: FFmpeg knows hundreds more, and none of them is needed."""
_EXACT = ("wav", "flac")
_WAV_UNKNOWN = 0x7FFF_0000
"""What counts as a size of a WAV is less."""
_RESAMPLING = f"{RATE}:filter_size=64:cutoff=0.975"
"""Flat up to 3,500 Hz; nothing from beyond 4,400 Hz is left to come back below 3,600."""


class UnusableAudioError(Exception):
    """No audio can be made of this. Says why."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is in a file."""

    format: str
    """E.g. ``WAV pcm_s16le``."""
    samples: NDArray[np.float64]
    """The mean of all channels, RATE a second; full scale is 1."""


def decode(content: bytes) -> Decoded:
    """Reads a file: WAV, FLAC, MP3, Ogg (Opus, Vorbis, FLAC) or M4A (AAC, ALAC). Raises UnusableAudioError."""
    form = _form(content)
    with _refusing(), av.open(io.BytesIO(content), "r", format=form, metadata_errors="ignore") as container:
        stream = _stream(container, form)
        rate = stream.codec_context.sample_rate
        told_s = _told_s(content, form, container)
        length, pieces = 0, []
        filters = Filters(rate, [("aresample", _RESAMPLING)] if rate != RATE else [])
        for block in _blocks(container, stream, form):
            length += len(block)
            if length > LONGEST_S * rate:
                raise UnusableAudioError(f"is longer than {LONGEST_S // 60} min")
            pieces += filters.push(block)
        if length < (told_s - (EXACT_S if form in _EXACT else CUT_S)) * rate:
            raise UnusableAudioError(f"is damaged: {length / rate:.2f} s of {told_s:.2f} s are there")
        if length < SHORTEST_S * rate:
            raise UnusableAudioError(f"is shorter than {SHORTEST_S} s")
        pieces += filters.end()
        name = form.upper() if form != "mp4" else "M4A"
        return Decoded(f"{name} {stream.codec_context.codec.canonical_name}", np.concatenate(pieces))


def _form(content: bytes) -> str:
    """The format, by how the file begins. FFmpeg's own guess would try formats that read other files, or the net."""
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        return "wav"
    if content.startswith(b"fLaC"):
        return "flac"
    if content.startswith(b"OggS"):
        return "ogg"
    if content[4:8] == b"ftyp":
        return "mp4"
    if content.startswith(b"ID3") or (content[:1] == b"\xff" and content[1:2] and content[1] & 0xE6 == 0xE2):
        return "mp3"
    raise UnusableAudioError("is neither WAV, FLAC, MP3, Ogg nor M4A")


@contextmanager
def _refusing() -> Iterator[None]:
    """What FFmpeg says of a file is a reason to refuse it."""
    try:
        yield
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise UnusableAudioError(f"is damaged: {getattr(error, 'strerror', None) or error}") from error


def _stream(container: av.container.InputContainer, form: str) -> av.AudioStream:
    """The one stream of audio, if it is such as we read."""
    for video in container.streams.video:
        if not video.disposition & av.stream.Disposition.attached_pic:
            raise UnusableAudioError("has video")
    if len(container.streams.audio) != 1:
        count = len(container.streams.audio)
        raise UnusableAudioError("has no audio" if not count else f"has {count} streams of audio: one is expected")
    stream = container.streams.audio[0]
    context = stream.codec_context
    # Without a decoder for it there is no context.
    if context is None or context.name not in _CODECS[form]:
        raise UnusableAudioError(f"has audio that is not read here: {context.name if context else 'unknown'}")
    if not RATES[0] <= context.sample_rate <= RATES[1]:
        raise UnusableAudioError(f"has {context.sample_rate} samples a second; {RATES[0]} to {RATES[1]} are read")
    if not 1 <= context.channels <= CHANNELS_MAX:
        raise UnusableAudioError(f"has {context.channels} channels; 1 to {CHANNELS_MAX} are read")
    context.thread_count = 1
    if form == "flac":
        context.options = {"err_detect": "crccheck+explode"}
    return stream


def _told_s(content: bytes, form: str, container: av.container.InputContainer) -> float:
    """How long the file says it is, seconds; 0: it does not say. What FFmpeg takes for it may be an estimate."""
    if form == "wav":
        return _wav_told_s(content)
    if form == "mp3" and not _counts_frames(content):
        return 0.0
    return (container.duration or 0) / av.time_base


def _wav_told_s(wav: bytes) -> float:
    """By the sizes of its chunks; a program that wrote into a pipe has left 0 there, or the largest number."""
    at, byte_rate = 12, 0
    while at + 8 <= len(wav):
        name, (size,) = wav[at : at + 4], struct.unpack_from("<I", wav, at + 4)
        if name == b"fmt " and at + 20 <= len(wav):
            (byte_rate,) = struct.unpack_from("<I", wav, at + 16)
        if name == b"data":
            return size / byte_rate if byte_rate and size < _WAV_UNKNOWN else 0.0
        at += 8 + size + size % 2
    return 0.0


def _counts_frames(mp3: bytes) -> bool:
    """True if the first frame says how many there are (Xing, Info or VBRI)."""
    begin = 0
    if mp3.startswith(b"ID3"):
        # ID3v2.4 section 3.1: the size has seven bits a byte.
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(mp3[6:10], (21, 14, 7, 0), strict=False))
    head = mp3[begin : begin + 64]
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _blocks(container: av.container.InputContainer, stream: av.AudioStream, form: str) -> Iterator[NDArray[np.float64]]:
    """The mean of all channels, piece by piece. What is behind the last frame of an MP3 may be anything."""
    wrong: str | None = None
    shape: tuple[str, str, int] | None = None
    filters: Filters | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            wrong = wrong or error.strerror
            continue
        for frame in frames:
            now = frame.format.name, frame.layout.name, frame.sample_rate
            if filters is None or shape is None:
                # av's own arrays of 8 planes end the process.
                shape, filters = now, Filters(frame.sample_rate, [], now[0], now[1])
            if now != shape:
                wrong = wrong or "its channels or its sample rate change in the midst"
            elif wrong is not None:
                raise UnusableAudioError(f"is damaged: {wrong}")
            else:
                for block in filters.push_frame(frame):
                    yield _mean(block, len(frame.layout.channels))
    if wrong is not None and (form != "mp3" or shape is None):
        raise UnusableAudioError(f"is damaged: {wrong}")


def _mean(block: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """The mean of channels that lie sample by sample."""
    # More than 1,000 times full scale is no sound either.
    if not (np.abs(block) < 1_000).all():
        raise UnusableAudioError("is damaged: it has samples that are no numbers")
    return cast("NDArray[np.float64]", block.reshape(-1, channels).mean(axis=1))
