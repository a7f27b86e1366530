"""G.711: against FFmpeg, and against what the recommendation demands of every sample."""

from __future__ import annotations

import io
import wave
from typing import cast

import av
import numpy as np
import pytest
from signalbox.g711 import A_LAW, LAWS, MU_LAW, Law

CODES = bytes(range(256))
SAMPLES = np.arange(1 << 16, dtype=np.uint16).view(np.int16)

by_law = pytest.mark.parametrize(
    ("law", "codec"), [pytest.param(A_LAW, "pcm_alaw", id="A"), pytest.param(MU_LAW, "pcm_mulaw", id="µ")]
)


@by_law
def test_every_code_is_decoded_as_ffmpeg_does(law: Law, codec: str) -> None:
    context = cast("av.AudioCodecContext", av.CodecContext.create(codec, "r"))
    context.layout, context.sample_rate = "mono", 8_000
    (frame,) = context.decode(av.Packet(CODES))
    assert law.decode(CODES).tolist() == frame.to_ndarray().reshape(-1).tolist()


@by_law
def test_no_other_code_is_nearer_to_any_sample(law: Law, codec: str) -> None:
    values = law.decode(CODES).astype(np.int32)
    errors = np.abs(law.decode(law.encode(SAMPLES)).astype(np.int32) - SAMPLES)
    for some in np.split(np.arange(1 << 16), 16):
        nearest = np.abs(values[None, :] - SAMPLES[some].astype(np.int32)[:, None]).min(axis=1)
        assert (errors[some] == nearest).all()


@by_law
def test_every_code_but_the_second_zero_survives(law: Law, codec: str) -> None:
    again = law.encode(law.decode(CODES))
    assert [code for code in range(256) if again[code] != code] == ([0x7F] if law is MU_LAW else [])


def test_silence_is_the_code_that_telephones_send() -> None:
    assert [law.encode(np.zeros(2, dtype=np.int16)) for law in LAWS] == [b"\xd5\xd5", b"\xff\xff"]


@by_law
@pytest.mark.parametrize("count", [0, 1, 8_000])
def test_a_file_is_read_by_others(law: Law, codec: str, count: int) -> None:
    samples = law.decode(law.encode(SAMPLES[:count]))
    content = law.wav(samples)
    assert len(content) % 2 == 0
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    with av.open(io.BytesIO(content)) as file:
        (stream,) = file.streams.audio
        assert (stream.codec_context.name, stream.rate, stream.channels) == (codec, 8_000, 1)
        heard = [frame.to_ndarray().reshape(-1) for frame in file.decode(stream)]
    assert np.concatenate([np.zeros(0, dtype=np.int16), *heard]).tolist() == samples.tolist()


@by_law
def test_a_file_says_that_it_is_not_linear(law: Law, codec: str) -> None:
    with pytest.raises(wave.Error, match=f"unknown format: {law.format_tag}"), wave.open(io.BytesIO(law.wav(SAMPLES))):
        pass
