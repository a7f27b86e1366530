"""Whatever is uploaded becomes G.711 of one loudness in the band of telephones, or is refused with a reason."""

from __future__ import annotations

import io
import struct
import wave
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from signalbox.audio import decoding, loudness
from signalbox.audio.decoding import UnusableAudioError
from signalbox.audio.preparation import CONTENT_MAX, prepare
from signalbox.g711 import A_LAW, LAWS, MU_LAW
from support.sounds import CODECS, codes, file, level_db, speechlike, tone

if TYPE_CHECKING:
    from collections.abc import Callable

SINE_DB = loudness.TARGET + 3.01
"""Level of a sine of 1 kHz that has the loudness of every prompt, dB of a sine of full scale."""


@pytest.mark.parametrize("kind", sorted(CODECS))
def test_a_tone_comes_out_of_every_format_at_its_level(kind: str) -> None:
    rate = 8_000 if kind == "wav-alaw" else 48_000
    prepared = prepare(file(kind, tone(1_000, 2, 0.1, rate), rate))
    for wav, law in ((prepared.alaw, A_LAW), (prepared.ulaw, MU_LAW)):
        samples = codes(wav, law)
        assert abs(level_db(samples, 1_000) - SINE_DB) < 0.3
        assert level_db(samples, 2_000) < SINE_DB - 30
    assert abs(prepared.duration_ms - 2_000) < 150, "codecs add some of their own"
    assert len(prepared.alaw) == len(prepared.ulaw)
    assert prepared.format.split()[0] in ("WAV", "FLAC", "MP3", "OGG", "M4A")


@pytest.mark.parametrize("rate", [6_000, 8_000, 11_025, 16_000, 22_050, 44_100, 96_000, 192_000])
def test_every_sample_rate_keeps_pitch_length_and_level(rate: int) -> None:
    prepared = prepare(file("wav", tone(1_000, 1, rate=rate), rate))
    assert prepared.duration_ms == pytest.approx(1_000, abs=2)
    assert abs(level_db(codes(prepared.alaw, A_LAW), 1_000) - SINE_DB) < 0.3


@pytest.mark.parametrize("kind", ["wav", "flac", "opus"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_the_mean_of_all_channels_is_taken(kind: str, channels: int) -> None:
    prepared = prepare(file(kind, tone(1_000, 1), channels=channels))
    assert prepared.given_loudness == pytest.approx(-13.5, abs=0.1)


def test_the_band_of_telephones_is_kept_and_nothing_else() -> None:
    kept, left_out = (300, 1_000, 2_500, 3_400), (50, 150, 3_800, 5_000, 7_000, 12_345)
    sound = sum(tone(hertz, 2, 0.05) for hertz in (*kept, *left_out))
    samples = codes(prepare(file("wav", np.asarray(sound))).alaw, A_LAW)
    levels = [level_db(samples, hertz) for hertz in kept]
    assert max(levels) - min(levels) < 0.3
    # What was above half of the new sample rate does not come back below it.
    for hertz in (50, 150, 3_800, 8_000 - 5_000, 8_000 - 7_000 + 7, 12_345 - 8_000 - 1_000):
        assert level_db(samples, hertz) < min(levels) - 25


def test_what_differs_in_level_by_40_db_comes_out_alike() -> None:
    found = []
    for seed, amplitude in enumerate((1.0, 0.5, 0.1, 0.01)):
        prepared = prepare(file("wav24", speechlike(6, seed, amplitude)))
        found.append(prepared)
        heard = loudness.measure(codes(prepared.ulaw, MU_LAW) / 32_768)
        assert abs(heard.loudness - loudness.TARGET) < 0.5
    assert all(abs(one.loudness - loudness.TARGET) < 0.5 for one in found)
    given = [one.given_loudness for one in found]
    assert max(given) - min(given) > 30


def test_peaks_are_limited_and_what_is_between_them_is_not() -> None:
    sound = speechlike(5, 7, 0.02)
    sound[12_000::24_000] = 0.95
    prepared = prepare(file("wav24", sound))
    assert abs(prepared.loudness - loudness.TARGET) < 0.5
    for wav, law in ((prepared.alaw, A_LAW), (prepared.ulaw, MU_LAW)):
        assert loudness.measure(codes(wav, law) / 32_768).true_peak <= loudness.PEAK_MAX


@pytest.mark.parametrize("law", LAWS)
def test_others_read_the_files(law: object) -> None:
    prepared = prepare(file("wav", tone(1_000, 1)))
    wav, codec = (prepared.alaw, "pcm_alaw") if law is A_LAW else (prepared.ulaw, "pcm_mulaw")
    with av.open(io.BytesIO(wav)) as container:
        assert container.streams.audio[0].codec_context.name == codec
        assert sum(frame.samples for frame in container.decode(audio=0)) == 8_000


def test_the_same_file_gives_the_same_bytes() -> None:
    content = file("opus", speechlike(2, 3, 0.3))
    assert prepare(content) == prepare(content)


def test_a_tone_of_a_tenth_of_a_second_is_a_prompt() -> None:
    prepared = prepare(file("wav", tone(1_000, 0.1)))
    assert prepared.duration_ms == 100
    assert abs(prepared.loudness - loudness.TARGET) < 1


def test_a_cover_picture_is_no_video() -> None:
    mp3 = file("mp3", tone(1_000, 1))
    png = b"\x89PNG\r\n\x1a\n" + bytes(40)
    picture = b"\0image/png\0\x03\0" + png
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    assert prepare(b"ID3\x03\0\0" + size + frame + mp3[mp3.index(b"\xff\xfb") :]).format == "MP3 mp3"


def pcm(
    samples: bytes, form: str = "<HHIIHH", tag: int = 1, channels: int = 1, rate: int = 8_000, bits: int = 16
) -> bytes:
    """A WAV whose head says what is given."""
    align = channels * bits // 8
    head = struct.pack(form, tag, channels, rate, rate * align, align, bits)
    chunks = (
        b"WAVEfmt " + len(head).to_bytes(4, "little") + head + b"data" + len(samples).to_bytes(4, "little") + samples
    )
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


def video() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as written:
        stream = written.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            written.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        written.mux(stream.encode(None))
    return out.getvalue()


def nan() -> bytes:
    sound = tone(1_000, 1, rate=8_000).astype("<f4")
    sound[4_000] = np.nan
    return pcm(sound.tobytes(), tag=3, bits=32)


def wav(sound: np.ndarray, rate: int = 8_000) -> bytes:  # type: ignore[type-arg]
    out = io.BytesIO()
    with wave.open(out, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes((sound * 32_767).astype("<i2").tobytes())
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is required"),
    "text": (lambda: b"#EXTM3U\nfile:///etc/passwd\n" * 9, "is neither WAV, FLAC, MP3, Ogg nor M4A"),
    "AAC without a container": (lambda: b"\xff\xf1\x50\x80" * 50, "is neither WAV, FLAC, MP3, Ogg nor M4A"),
    "too large": (lambda: b"RIFF" + bytes(CONTENT_MAX), f"is more than {CONTENT_MAX} bytes"),
    "a head alone": (lambda: b"fLaC" + bytes(100), "is damaged: "),
    "an empty WAV": (lambda: pcm(b""), "is shorter than 0.1 s"),
    "one sample": (lambda: pcm(b"\x01\x02"), "is shorter than 0.1 s"),
    "silence": (lambda: wav(np.zeros(8_000)), "is silent"),
    "opposite channels": (
        lambda: pcm(np.repeat([[9_000, -9_000]], 8_000, 0).astype("<i2").tobytes(), channels=2),
        "is silent",
    ),
    "what no telephone carries": (lambda: wav(tone(30, 5, 0.001, 8_000)), "is silent"),
    "no numbers": (nan, "is damaged: it has samples that are no numbers"),
    "a video": (video, "has video"),
    "9 channels": (lambda: pcm(bytes(18 * 8_000), channels=9), "has 9 channels; 1 to 8 are read"),
    "384,000 a second": (lambda: pcm(bytes(400_000), rate=384_000), "has 384000 samples a second"),
    "one sample a second": (lambda: pcm(bytes(200), rate=1), "has 1 samples a second"),
    "a codec that is not read": (lambda: pcm(bytes(4_000), tag=0x11, bits=4), "has audio that is not read here"),
    "an MP3 that was cut off": (lambda: (mp3 := file("mp3", tone(1_000, 5)))[: len(mp3) // 2], "is damaged: "),
    "a WAV that was cut off": (lambda: wav(tone(1_000, 5, rate=8_000))[:40_000], "is damaged: "),
    "an M4A that was cut off": (lambda: (m4a := file("m4a", tone(1_000, 5)))[: len(m4a) // 2], "is damaged: "),
    "a FLAC that was cut off": (
        lambda: (flac := file("flac", speechlike(5, 1, 0.5)))[: len(flac) // 2],
        "is damaged: ",
    ),
    "a FLAC whose bits have turned": (
        lambda: (
            (flac := bytearray(file("flac", speechlike(3, 1, 0.5))))
            and bytes(flac[:50_000] + b"\x55" * 200 + flac[50_200:])
        ),
        "is damaged: ",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_prompt_is_refused_with_a_reason(what: str) -> None:
    make, reason = HOSTILE[what]
    with pytest.raises(UnusableAudioError) as caught:
        prepare(make())
    assert str(caught.value).startswith(reason)


def test_a_small_file_of_hours_is_given_up_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LONGEST_S", 60)
    bomb = file("flac", np.zeros(8_000 * 1_200), 8_000)
    assert len(bomb) < 500_000
    with pytest.raises(UnusableAudioError, match="is longer than 1 min"):
        prepare(bomb)


def test_an_mp3_whose_length_is_a_guess_is_not_cut_off() -> None:
    mp3 = file("mp3", np.concatenate([np.zeros(96_000), tone(1_000, 2)]))
    for mark in (b"Xing", b"Info"):
        mp3 = mp3.replace(mark, b"none")
    assert prepare(mp3).duration_ms > 3_500


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"APETAGEX" + bytes(100), b"\xff\xfb\x90\x64junk"])
def test_what_is_behind_an_mp3_does_not_matter(tail: bytes) -> None:
    assert prepare(file("mp3", tone(1_000, 2)) + tail).duration_ms == pytest.approx(2_000, abs=150)


def test_channels_without_a_place_in_the_room_are_taken_too() -> None:
    sound = np.repeat(tone(1_000, 1, rate=8_000), 3)
    prepared = prepare(pcm((sound * 32_767).astype("<i2").tobytes(), channels=3))
    assert prepared.given_loudness == pytest.approx(-13.5, abs=0.1)


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_that_was_written_into_a_pipe_is_read(size: int) -> None:
    piped = bytearray(pcm((tone(1_000, 1, rate=8_000) * 32_767).astype("<i2").tobytes()))
    piped[40:44] = size.to_bytes(4, "little")
    assert prepare(bytes(piped)).duration_ms == 1_000


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_loudness_is_measured_as_ebu_tech_3341_has_it(rate: int) -> None:
    # Case 1 is 1 kHz in both channels at -23 dBFS: -23 LUFS. One channel of it is 3.01 LU less.
    sound = tone(1_000, 20, 10 ** (-23 / 20), rate)
    decoded = decoding.decode(file("wav24", sound, rate))
    assert loudness.measure(decoded.samples).loudness == pytest.approx(-26.0, abs=0.1)
