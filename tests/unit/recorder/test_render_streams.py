"""What was sent is what is heard: streams and what becomes of them on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.api.recording.v1.recording_pb2 import Side
from support.captures import (
    A_LAW_SILENCE,
    COMFORT_NOISE,
    EPOCH_US,
    G722,
    G729,
    PCMU,
    Capture,
    key,
    noise,
    talk,
)
from support.renderings import SIDES, a_law, decoded, encoded, mu_law, wav

if TYPE_CHECKING:
    from pathlib import Path


def test_both_sides_are_there_sample_by_sample_and_in_step(tmp_path: Path) -> None:
    caller, line = noise(3, 1), noise(2, 2)
    audio = wav(tmp_path, Capture().caller(talk(caller)).line(talk(line, ssrc=2, payload_type=PCMU, start_ms=510)))
    assert (audio.left == a_law(caller)).all()
    assert (audio.right[510 * 8 : 2510 * 8] == mu_law(line)).all()
    assert not audio.right[: 510 * 8].any()
    rendered = audio.rendered
    assert (rendered.start_ms, rendered.duration_ms, rendered.sample_rate) == (EPOCH_US // 1000, 3_000, 8_000)
    assert (rendered.left.packets, rendered.right.packets) == (150, 100)
    assert (list(rendered.left.codecs), list(rendered.right.codecs)) == (["PCMA"], ["PCMU"])
    assert (rendered.left.sources, rendered.left.lost, rendered.left.duplicates) == (1, 0, 0)
    assert (rendered.pauses, rendered.reasons) == ((), ())


def test_lost_packets_are_silence_and_counted(tmp_path: Path) -> None:
    sent = noise(2)
    audio = wav(tmp_path, Capture().caller(talk(sent).without(10, 11, 12, 50, 70)))
    expected = a_law(sent).reshape(100, 160).copy()
    expected[[10, 11, 12, 50, 70]] = 0
    assert (audio.left == expected.reshape(-1)).all()
    assert (audio.rendered.left.packets, audio.rendered.left.lost, audio.rendered.left.gaps) == (95, 5, 3)
    assert audio.rendered.reasons == ()


def test_reordered_doubled_and_late_packets_are_in_their_places(tmp_path: Path) -> None:
    sent = noise(12)
    flow = talk(sent, sequence=65_400, timestamp=2**32 - 20_000).jittered(40).late(100, 3_000).late(200, 7_500)
    audio = wav(tmp_path, Capture().caller(flow.doubled(5, 6, 300)))
    assert (audio.left == a_law(sent)).all()
    left = audio.rendered.left
    assert (left.packets, left.lost, left.duplicates, left.gaps) == (600, 0, 3, 0)


def test_silence_that_is_not_sent_is_no_loss(tmp_path: Path) -> None:
    first, second = noise(1, 1), noise(1, 2)
    noises = talk(np.zeros(3, dtype=np.uint8), payload_type=COMFORT_NOISE, size=1, units=8_000, sequence=1_050,
                  timestamp=50_000 + 8_000, start_ms=1_000)  # fmt: skip
    later = talk(second, sequence=1_053, timestamp=50_000 + 32_000, start_ms=4_000)
    audio = wav(tmp_path, Capture().caller(talk(first), noises, later))
    assert (audio.left[:8_000] == a_law(first)).all()
    assert not audio.left[8_000:32_000].any()
    assert (audio.left[32_000:] == a_law(second)).all()
    assert (audio.rendered.left.lost, audio.rendered.left.packets) == (0, 103)
    assert list(audio.rendered.left.codecs) == ["PCMA"]


def test_another_source_goes_on_where_it_arrives(tmp_path: Path) -> None:
    first, second = noise(2, 1), noise(2, 2)
    audio = wav(tmp_path, Capture().caller(talk(first), talk(second, ssrc=9, start_ms=2_100, sequence=7, timestamp=9)))
    assert (audio.left[:16_000] == a_law(first)).all()
    assert not audio.left[16_000:16_800].any()
    assert (audio.left[16_800:] == a_law(second)).all()
    assert (audio.rendered.left.sources, audio.rendered.left.lost) == (2, 0)


def test_two_sources_of_one_side_at_once_are_both_heard(tmp_path: Path) -> None:
    sent = noise(45, 1)
    quiet = np.full(8_000 * 45, A_LAW_SILENCE, dtype=np.uint8)
    audio = wav(tmp_path, Capture().caller(talk(quiet), talk(sent, ssrc=2)))
    assert (audio.left - a_law(sent).astype(np.int32) == 8).all()


@pytest.mark.parametrize(("sequence", "lost"), [(1_100, 0), (30_000, 0), (1_103, 3)])
def test_a_stream_whose_timestamps_begin_anew_is_placed_by_its_arrival(
    tmp_path: Path, sequence: int, lost: int
) -> None:
    first, second = noise(2, 1), noise(2, 2)
    later = talk(second, start_ms=5_000, sequence=sequence, timestamp=3_000_000_000)
    audio = wav(tmp_path, Capture().caller(talk(first), later))
    assert (audio.left[:16_000] == a_law(first)).all()
    assert (audio.left[40_000:] == a_law(second)).all()
    assert not audio.left[16_000:40_000].any()
    assert (audio.rendered.left.lost, audio.rendered.left.sources) == (lost, 1)


def test_a_held_stream_whose_timestamps_stood_still_is_placed_by_its_arrival(tmp_path: Path) -> None:
    first, second, music = noise(2, 1), noise(2, 2), noise(34, 3)
    later = talk(second, start_ms=32_000, sequence=1_100, timestamp=50_000 + 16_000)
    audio = wav(tmp_path, Capture().caller(talk(first), later).line(talk(music, ssrc=2)))
    assert (audio.left[:16_000] == a_law(first)).all()
    assert (audio.left[32_000 * 8 :] == a_law(second)).all()
    assert (audio.right == a_law(music)).all()
    assert audio.rendered.left.lost == 0


def test_a_codec_may_change_within_a_stream(tmp_path: Path) -> None:
    first, second = noise(1, 1), noise(1, 2)
    later = talk(second, payload_type=PCMU, sequence=1_050, timestamp=58_000, start_ms=1_000)
    audio = wav(tmp_path, Capture().caller(talk(first), later))
    assert (audio.left == np.concatenate([a_law(first), mu_law(second)])).all()
    assert list(audio.rendered.left.codecs) == ["PCMA", "PCMU"]


def test_keys_are_counted_once_each_and_not_heard(tmp_path: Path) -> None:
    first, second = noise(1, 1), noise(1, 2)
    capture = Capture().caller(
        talk(first),
        key(5, at_ms=1_000, sequence=1_050, timestamp=58_000),
        key(11, at_ms=1_200, sequence=1_058, timestamp=59_600),
        talk(second, start_ms=1_400, sequence=1_066, timestamp=50_000 + 1_400 * 8),
    )
    audio = wav(tmp_path, capture)
    assert (audio.left[:8_000] == a_law(first)).all()
    assert not audio.left[8_000:11_200].any()
    assert (audio.left[11_200:] == a_law(second)).all()
    left = audio.rendered.left
    assert (left.digits, left.lost, left.packets, left.undecodable) == (2, 0, 100, 0)
    assert list(left.codecs) == ["PCMA"]


def test_keys_before_any_audio_and_other_events(tmp_path: Path) -> None:
    capture = (
        Capture()
        .caller(key(1, at_ms=0, sequence=1, timestamp=1, packets=5))
        .line(key(40, at_ms=0, sequence=1, timestamp=1, ssrc=2))
    )
    audio = wav(tmp_path, capture)
    assert len(audio.left) == 0
    assert (audio.rendered.left.digits, audio.rendered.left.packets, audio.rendered.left.lost) == (1, 0, 0)
    assert audio.rendered.right.digits == 0


def test_g722_is_heard_with_all_it_has_and_the_other_side_beside_it(tmp_path: Path) -> None:
    tone = (9_000 * np.sin(np.arange(25 * 16_000) * 2 * np.pi * 5_000 / 16_000)).astype(np.int16)
    wide = encoded("g722", tone, 16_000)
    narrow = noise(25, 3)
    audio = wav(tmp_path, Capture().caller(talk(wide, payload_type=G722)).line(talk(narrow, ssrc=2)))
    assert audio.rendered.sample_rate == 16_000
    assert (audio.left == decoded("g722", wide.tobytes(), 16_000)).all()
    assert (audio.right[0::2] == a_law(narrow)).all()
    assert list(audio.rendered.left.codecs) == ["G722"]


def test_what_is_put_between_samples_for_g722_is_what_was_between_them(tmp_path: Path) -> None:
    seconds = 21
    times = np.arange(seconds * 16_000) / 16_000
    tone = (8_000 * np.sin(2 * np.pi * 1_000 * times)).astype(np.int16)
    law = encoded("pcm_alaw", tone[::2], 8_000)
    wide = encoded("g722", tone, 16_000)
    audio = wav(tmp_path, Capture().caller(talk(law)).line(talk(wide, ssrc=2, payload_type=G722)))
    error = audio.left[200:-200].astype(float) - tone[200:-200]
    # 38 dB is what A-law itself has.
    assert np.sqrt((error**2).mean()) < 8_000 / np.sqrt(2) / 10 ** (35 / 20)


def test_g729_is_decoded_and_its_comfort_noise_is_not(tmp_path: Path) -> None:
    frames = noise(1)[: 50 * 20]
    flow = talk(frames, payload_type=G729, size=20)
    shorter = talk(frames[:12], payload_type=G729, size=12, sequence=1_050, timestamp=58_000, start_ms=1_000)
    audio = wav(tmp_path, Capture().caller(flow, shorter))
    assert (audio.left == decoded("g729", frames.tobytes() + frames[:10].tobytes(), 8_000)).all()
    assert len(audio.left) == 8_080
    assert list(audio.rendered.left.codecs) == ["G729"]


def test_what_cannot_be_decoded_is_counted_and_makes_the_recording_partial(tmp_path: Path) -> None:
    opus = talk(noise(1), payload_type=111)
    line = noise(3)
    sides = (Side(local_port=SIDES[0].local_port, tag="caller", codec="opus/48000/2"), SIDES[1])
    audio = wav(tmp_path, Capture().caller(opus).line(talk(line, ssrc=2)), sides=sides)
    assert not audio.left.any()
    assert (audio.right == a_law(line)).all()
    left = audio.rendered.left
    assert (left.undecodable, left.packets, left.lost, list(left.codecs)) == (50, 50, 0, ["opus"])
    assert audio.rendered.reasons == ("codec_unknown",)
    alone = wav(tmp_path, Capture().caller(talk(noise(1), payload_type=4)))
    assert (list(alone.rendered.left.codecs), alone.rendered.duration_ms) == (["payload type 4"], 980)


def test_a_dynamic_payload_type_is_what_the_side_says(tmp_path: Path) -> None:
    sent = noise(1)
    sides = (Side(local_port=SIDES[0].local_port, tag="caller", codec="PCMU/8000"), SIDES[1])
    audio = wav(tmp_path, Capture().caller(talk(sent, payload_type=97)), sides=sides)
    assert (audio.left == mu_law(sent)).all()


def test_thirty_milliseconds_and_ten_stand_beside_each_other(tmp_path: Path) -> None:
    caller, line = noise(45, 1), noise(45, 2)
    capture = Capture().caller(talk(caller, size=240, units=240)).line(talk(line, ssrc=2, size=80, units=80))
    audio = wav(tmp_path, capture)
    assert (audio.left == a_law(caller)).all()
    assert (audio.right == a_law(line)).all()
