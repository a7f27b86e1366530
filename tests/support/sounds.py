"""Sounds, and files of them in the formats that people upload."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import av
import numpy as np
from signalbox.g711 import RATE, Law

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sound = NDArray[np.float64]

CODECS = {
    "wav": ("wav", "pcm_s16le"),
    "wav24": ("wav", "pcm_s24le"),
    "wav-float": ("wav", "pcm_f32le"),
    "wav-alaw": ("wav", "pcm_alaw"),
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "opus": ("ogg", "libopus"),
    "vorbis": ("ogg", "vorbis"),
    "m4a": ("mp4", "aac"),
    "alac": ("mp4", "alac"),
}
"""FFmpeg's container and codec of each kind of file."""


def tone(hertz: float, seconds: float, amplitude: float = 0.3, rate: int = 48_000) -> Sound:
    """A sine; full scale is 1."""
    found: Sound = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return found


def speechlike(seconds: float, seed: int, amplitude: float, rate: int = 48_000) -> Sound:
    """Noise of the spectrum of speech, in syllables, with pauses between sentences."""
    generator = np.random.default_rng(seed)
    count = round(seconds * rate)
    spectrum = np.fft.rfft(generator.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    shape = np.where(hertz < 100, 0, 1 / (1 + (hertz / 600) ** 2))
    voiced = np.fft.irfft(spectrum * shape, count)
    at = np.arange(count) / rate
    syllables = np.sin(2 * np.pi * 2 * at + seed) ** 2 * (at % 3 < 2.4)
    sound = voiced * syllables
    found: Sound = sound / np.abs(sound).max() * amplitude
    return found


def file(kind: str, sound: Sound, rate: int = 48_000, channels: int = 1) -> bytes:
    """A file of a kind of CODECS; every channel has the same."""
    container, codec = CODECS[kind]
    out = io.BytesIO()
    with av.open(out, "w", format=container) as written:
        if kind == "vorbis":
            # FFmpeg's own encoder knows nothing else.
            channels = 2
        layout = {1: "mono", 2: "stereo", 8: "7.1"}[channels]
        stream = written.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        block = np.repeat(sound.astype(np.float32), channels).reshape(1, -1)
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, stream.codec_context.frame_size or 4096
        )
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            written.mux(stream.encode(ready))
        written.mux(stream.encode(None))
    return out.getvalue()


def codes(wav: bytes, law: Law) -> NDArray[np.int16]:
    """The samples of a prepared file, whose head is looked at: RIFF, format, one channel, 8,000 samples a second."""
    assert wav[:4] + wav[8:12] == b"RIFFWAVE"
    assert struct.unpack("<I", wav[4:8]) == (len(wav) - 8,)
    tag, channels, rate, byte_rate, align, bits = struct.unpack("<HHIIHH", wav[20:36])
    assert (tag, channels, rate, byte_rate, align, bits) == (law.format_tag, 1, RATE, RATE, 1, 8)
    begin = wav.index(b"data") + 8
    (size,) = struct.unpack("<I", wav[begin - 4 : begin])
    return law.decode(wav[begin : begin + size])


def level_db(samples: NDArray[np.int16], hertz: float) -> float:
    """Level of one frequency in the midst of a sound, dB of a sine of full scale."""
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4] / 32_768
    window = np.hanning(len(middle))
    at = np.arange(len(middle)) / RATE
    found = abs(np.sum(middle * window * np.exp(-2j * np.pi * hertz * at))) / np.sum(window) * 2
    return float(20 * np.log10(max(found, 1e-9)))
