"""Files: what comes in, how it may be broken, and what goes out."""

from __future__ import annotations

import hashlib
import struct
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.api.types.v1.types_pb2 import RECORDING_FORMAT_OGG_OPUS, RECORDING_FORMAT_WAV
from signalbox.recorder.render import Rendered, SegmentFile, UnreadableCaptureError, render
from support.captures import CALLER, CALLER_PORT, EPOCH_US, G722, Capture, noise, talk
from support.renderings import FACTS, SIDES, a_law, encoded, file_samples, wav

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.api.types.v1.types_pb2 import RecordingFormat

HEAD = 24
RECORD = 16 + 28 + 12 + 160
BOTH = Capture().caller(talk(noise(1, 1))).line(talk(noise(1, 2), ssrc=2, start_ms=3))


def opus(folder: Path, *captures: Capture) -> tuple[Rendered, Path]:
    segments = [SegmentFile(capture.write(folder / f"{index}.pcap"), True) for index, capture in enumerate(captures)]
    output = folder / "audio.ogg"
    return render(segments, FACTS, SIDES, RECORDING_FORMAT_OGG_OPUS, output), output


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("nanoseconds", [False, True])
@pytest.mark.parametrize("link_type", [12, 14, 101, 228])
def test_all_kinds_of_pcap_are_read(tmp_path: Path, big_endian: bool, nanoseconds: bool, link_type: int) -> None:
    sent = noise(1)
    capture = Capture(big_endian=big_endian, nanoseconds=nanoseconds, link_type=link_type)
    audio = wav(tmp_path, capture.caller(talk(sent, start_ms=0.125)))
    assert (audio.left == a_law(sent)).all()
    assert audio.rendered.start_ms == EPOCH_US // 1_000


def test_ipv6_is_read(tmp_path: Path) -> None:
    sent = noise(1)
    capture = Capture(link_type=229).add([talk(sent)], CALLER_PORT, ("2001:db8::1", 4_000))
    assert (wav(tmp_path, capture).left == a_law(sent)).all()
    facts = CallFacts(caller_tag="caller", line_media="[2001:db8:0::1]:4000")
    audio = wav(tmp_path, capture.add([talk(sent, ssrc=2)], 9, ("2001:db8::2", 4_000)), facts=facts, sides=())
    assert (audio.right == a_law(sent)).all()
    assert audio.rendered.reasons == ()


def test_a_file_that_ends_within_a_record_is_read_to_there(tmp_path: Path) -> None:
    content = BOTH.content()
    for cut in (1, RECORD - 1, RECORD - 10):
        audio = wav(tmp_path, content[:-cut], whole=False)
        assert audio.rendered.right.packets == 49
        assert audio.rendered.reasons == ("media_node_died",)


def test_a_segment_that_was_ended_in_order_and_is_cut_could_not_be_written(tmp_path: Path) -> None:
    content = BOTH.content()
    for cut in (1, RECORD - 1, RECORD - 10):
        audio = wav(tmp_path, content[:-cut])
        assert audio.rendered.right.packets == 49
        assert audio.rendered.reasons == ("capture_cut",)
    nothing = wav(tmp_path, content[: HEAD + 10])
    assert (nothing.rendered.duration_ms, nothing.rendered.reasons) == (0, ("capture_cut",))
    assert wav(tmp_path, content[:-RECORD]).rendered.reasons == ()


def test_a_file_that_is_damaged_in_its_midst_is_read_to_there_and_says_so(tmp_path: Path) -> None:
    for at, word in ((8, 0), (8, 0x7FFFFFFF), (4, 1_000_000)):
        content = bytearray(BOTH.content())
        struct.pack_into("<I", content, HEAD + 60 * RECORD + at, word)
        audio = wav(tmp_path, bytes(content))
        assert (audio.rendered.left.packets, audio.rendered.right.packets) == (30, 30)
        assert audio.rendered.reasons == ("capture_damaged",)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xd4\xc3", b"not a pcap file, whatever it may be", Capture(link_type=1).content()],
    ids=["empty", "short", "else", "Ethernet"],
)
def test_a_file_that_is_no_capture_is_refused_unless_another_can_be_read(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnreadableCaptureError):
        wav(tmp_path, content)
    assert not (tmp_path / "audio.wav").exists()
    audio = wav(tmp_path, content, BOTH)
    assert audio.rendered.left.packets == 50
    assert audio.rendered.reasons == ("capture_damaged",)


def test_a_capture_that_is_damaged_before_its_first_packet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCaptureError):
        wav(tmp_path, Capture().content() + bytes(64))


def test_a_writer_that_was_killed_before_it_wrote_leaves_an_empty_recording(tmp_path: Path) -> None:
    audio = wav(tmp_path, b"", whole=False)
    assert (audio.rendered.duration_ms, audio.rendered.reasons) == (0, ("media_node_died",))


@pytest.mark.parametrize("form", [RECORDING_FORMAT_WAV, RECORDING_FORMAT_OGG_OPUS])
def test_a_call_in_which_nobody_sent_anything_gives_a_valid_file(
    tmp_path: Path, form: RecordingFormat.ValueType
) -> None:
    rtcp = np.tile(np.array([0x80, 200] + [0] * 26, dtype=np.uint8), (5, 1))
    capture = Capture().udp(np.arange(5) * 1_000_000, rtcp, CALLER_PORT + 1, CALLER)
    facts = CallFacts()
    facts.answer_time.FromMilliseconds(1_234_567)
    output = tmp_path / "audio"
    rendered = render([SegmentFile(capture.write(tmp_path / "c"), True)], facts, SIDES, form, output)
    assert (rendered.duration_ms, rendered.start_ms, rendered.reasons) == (0, 1_234_567, ())
    assert (rendered.left.packets, rendered.left.sources, list(rendered.left.codecs)) == (0, 0, [])
    if form == RECORDING_FORMAT_WAV:
        with wave.open(str(output)) as file:
            assert file.getnframes() == 0
    else:
        heard = file_samples(output, 8_000)
        assert heard.shape == (2, 160)
        assert not heard.any()


def test_the_same_capture_gives_the_same_file_which_is_as_described(tmp_path: Path) -> None:
    first, output = opus(tmp_path, BOTH)
    content = output.read_bytes()
    again, _ = opus(tmp_path, BOTH)
    assert again == first
    assert output.read_bytes() == content
    assert (first.size_bytes, first.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    audio = wav(tmp_path, BOTH)
    content = (tmp_path / "audio.wav").read_bytes()
    assert (audio.rendered.size_bytes, audio.rendered.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.pcap", "audio.ogg", "audio.wav"]


def test_ogg_opus_sounds_like_what_was_sent_and_when(tmp_path: Path) -> None:
    caller, line = encoded("pcm_alaw", speech(30, 1), 8_000), encoded("pcm_alaw", speech(30, 2), 8_000)
    rendered, output = opus(tmp_path, Capture().caller(talk(caller)).line(talk(line, ssrc=2)))
    heard = file_samples(output, 8_000)
    assert rendered.duration_ms == 30_000
    assert abs(heard.shape[1] - 240_000) <= 8
    for channel, sent in zip(heard, (caller, line), strict=True):
        assert best_lag(a_law(sent), channel) == 0
        assert np.corrcoef(a_law(sent)[: len(channel)], channel[:240_000])[0, 1] > 0.97


def test_ogg_opus_of_g722_keeps_the_upper_band(tmp_path: Path) -> None:
    tone = (6_000 * np.sin(np.arange(5 * 16_000) * 2 * np.pi * 5_000 / 16_000)).astype(np.int16)
    rendered, output = opus(tmp_path, Capture().caller(talk(encoded("g722", tone, 16_000), payload_type=G722)))
    assert rendered.sample_rate == 16_000
    heard = file_samples(output, 16_000)[0][8_000:-8_000]
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() / len(heard) * 16_000 == pytest.approx(5_000, abs=5)
    assert np.sqrt((heard.astype(float) ** 2).mean()) == pytest.approx(6_000 / np.sqrt(2), rel=0.05)


def test_a_folder_that_cannot_be_written_to_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = BOTH.write(tmp_path / "c")
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "none" / "audio", tmp_path / "taken"):
        with pytest.raises(OSError, match=target.name):
            render([SegmentFile(path, True)], FACTS, SIDES, RECORDING_FORMAT_WAV, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "taken"]
    with pytest.raises(FileNotFoundError):
        render([SegmentFile(tmp_path / "gone", True)], FACTS, SIDES, RECORDING_FORMAT_WAV, tmp_path / "audio")


def test_a_disk_that_is_full_is_an_error(tmp_path: Path) -> None:
    path = BOTH.write(tmp_path / "c")
    for form in (RECORDING_FORMAT_WAV, RECORDING_FORMAT_OGG_OPUS):
        (tmp_path / ".audio.part").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left"):
            render([SegmentFile(path, True)], FACTS, SIDES, form, tmp_path / "audio")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_forged_timestamps_and_sequence_numbers_make_no_long_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sent = noise(3)
    flow = talk(sent)
    forged = flow[np.array([20, 50, 51, 90])]
    forged = forged.__class__(
        255 - forged.payloads, rng.integers(0, 1 << 16, 4), rng.integers(0, 1 << 32, 4), forged.times_us + 9_000
    )
    audio = wav(tmp_path, Capture().caller(flow, forged))
    assert audio.rendered.duration_ms <= 3_050
    right_ones = (audio.left == a_law(sent)[: len(audio.left)]).mean()
    assert right_ones > 0.9
    three = talk(noise(0.06), ssrc=5)
    three.times_us[:] = [0, 6 * 3600 * 10**6, 12 * 3600 * 10**6]
    assert wav(tmp_path, Capture().caller(three)).rendered.duration_ms <= 100


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(HEAD, HEAD + 40 * RECORD - 1), st.integers(0, 255)), max_size=60),
    cut=st.integers(0, 40 * RECORD),
)
def test_damage_of_any_kind_gives_a_file_of_bounded_length(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(Capture().caller(talk(noise(0.4, 1))).line(talk(noise(0.4, 2), ssrc=2)).content())
    for at, value in changes:
        content[at] = value
    path = tmp_path / "c"
    path.write_bytes(content[: len(content) - cut])
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("signalbox.recorder.clock.SILENCE_MAX_US", 10_000_000)
            rendered = render([SegmentFile(path, True)], FACTS, SIDES, RECORDING_FORMAT_WAV, tmp_path / "audio")
    except UnreadableCaptureError:
        return
    assert rendered.size_bytes == (tmp_path / "audio").stat().st_size
    # Whatever the times of records say, none is believed that is further from the one before.
    assert rendered.duration_ms < (1 + len(changes)) * 10_000


def test_records_whose_times_are_damaged_stay_where_they_are_in_the_file(tmp_path: Path) -> None:
    caller, line = noise(1, 1), noise(1, 2)
    content = bytearray(Capture().caller(talk(caller)).line(talk(line, ssrc=2, start_ms=3)).content())
    for record, seconds in ((20, 9_000), (40, -60), (41, 100_000), (70, 30)):
        at = HEAD + record * RECORD
        struct.pack_into("<I", content, at, struct.unpack_from("<I", content, at)[0] + seconds)
    audio = wav(tmp_path, bytes(content))
    assert (audio.left[:8_000] == a_law(caller)).all()
    assert (audio.right[24:] == a_law(line)).all()


def test_more_sources_than_a_call_can_have_are_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("signalbox.recorder.streams.SOURCES_MAX", 10)
    capture = Capture().caller(talk(noise(2))).line(*(talk(noise(0.02), ssrc=ssrc) for ssrc in range(10, 30)))
    audio = wav(tmp_path, capture)
    assert audio.rendered.reasons == ("too_many_sources",)
    assert (audio.rendered.left.sources, audio.rendered.right.sources) == (1, 9)


def test_a_clock_that_never_rests_is_said_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("signalbox.recorder.streams.JUMPS_MAX", 10)
    capture = Capture(clock=lambda times: times // 1_000_000 * 3_000_000)
    assert wav(tmp_path, capture.caller(talk(noise(15)))).rendered.reasons == ("clock_unsteady",)


def test_what_a_file_cannot_hold_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("signalbox.recorder.container.SAMPLES_MAX", 8_000 * 3)
    sent = noise(4)
    audio = wav(tmp_path, Capture().caller(talk(sent)))
    assert (audio.left == a_law(sent)[:24_000]).all()
    assert (audio.rendered.duration_ms, audio.rendered.reasons) == (3_000, ("too_long",))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_are_a_capture_or_refused(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "c"
    path.write_bytes(Capture().content() + rest)
    try:
        rendered = render([SegmentFile(path, True)], FACTS, SIDES, RECORDING_FORMAT_WAV, tmp_path / "audio")
    except UnreadableCaptureError:
        return
    assert rendered.size_bytes >= 44


def speech(seconds: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Something with a pitch that moves, syllables and pauses."""
    rng = np.random.default_rng(seed)
    times = np.arange(seconds * 8_000) / 8_000
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * times + seed)) / 8_000
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 3 * times + seed), 0, 1)
    return (voice * loud * 4_000 + rng.normal(0, 30, len(times))).astype(np.int16)


def best_lag(sent: np.ndarray, heard: np.ndarray) -> int:
    """By how many samples what was heard is late."""
    part = sent[80_000:120_000].astype(float)
    return int(np.correlate(heard[79_900:120_100].astype(float), part, "valid").argmax()) - 100
