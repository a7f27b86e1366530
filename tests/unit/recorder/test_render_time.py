"""Both sides stay in step, whatever clocks and networks do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.captures import A_LAW_SILENCE, CALLER, CALLER_PORT, EPOCH_US, LINE_PORT, Capture, Flow, noise, talk
from support.renderings import FACTS, SIDES, a_law, wav

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MARK = noise(0.2, 99)
MARK_EVERY_S = 20


def marked(minutes: float, ppm: float, ssrc: int) -> Flow:
    """A side that says the same as the other at the same times, by a clock that is slow by ``ppm``."""
    rate = 8_000 / (1 + ppm / 1e6)
    audio = np.full(int(minutes * 60 * 8_000), A_LAW_SILENCE, dtype=np.uint8)
    for second in range(5, int(minutes * 60) - 1, MARK_EVERY_S):
        at = round(second * rate)
        audio[at : at + len(MARK)] = MARK
    return talk(audio, ssrc=ssrc).drifting(ppm)


def mark_errors_ms(channel: NDArray[np.int16]) -> list[float]:
    """By how much each mark comes too late."""
    mark = a_law(MARK).astype(np.float64)
    errors = []
    for second in range(5, len(channel) // 8_000 - 1, MARK_EVERY_S):
        begin = second * 8_000 - 800
        around = channel[begin : begin + len(MARK) + 1_600].astype(np.float64)
        errors.append((int(np.correlate(around, mark, "valid").argmax()) - 800) / 8)
    return errors


@pytest.mark.parametrize(("ours", "theirs"), [(100, -100), (-100, 0), (250, 250)])
def test_sides_with_clocks_that_drift_stay_within_20_ms_for_ten_minutes(
    tmp_path: Path, ours: float, theirs: float
) -> None:
    caller = marked(10, ours, 1).jittered(40, seed=1).losing(0.05, seed=2)
    line = marked(10, theirs, 2).jittered(40, seed=3).losing(0.05, seed=4)
    audio = wav(tmp_path, Capture().caller(caller).line(line))
    left, right = mark_errors_ms(audio.left), mark_errors_ms(audio.right)
    apart = np.subtract(left, right)
    assert len(apart) == 30
    assert np.abs(apart).max() < 15
    assert np.abs([*left, *right]).max() < 15
    assert audio.rendered.left.lost == 30_000 - audio.rendered.left.packets


@pytest.mark.parametrize("jitter", ["even", "normal", "bursts"])
def test_nothing_is_moved_where_no_clock_drifts(tmp_path: Path, jitter: str) -> None:
    sent = noise(180)
    flow = talk(sent)
    rng = np.random.default_rng(5)
    waits = {
        "even": rng.uniform(0, 80_000, len(flow)),
        "normal": np.abs(rng.normal(0, 20_000, len(flow))),
        # A queue that is full for 20 s: 120 ms more for all.
        "bursts": rng.uniform(0, 10_000, len(flow)) + np.where(np.arange(len(flow)) // 1_000 % 4 == 2, 120_000, 0),
    }[jitter]
    late = Flow(flow.payloads, flow.sequences, flow.timestamps, flow.times_us + waits.astype(np.int64))
    audio = wav(tmp_path, Capture().caller(late))
    assert (audio.left == a_law(sent)).all()


def test_what_is_put_in_for_drift_is_not_heard(tmp_path: Path) -> None:
    loud = np.full(8_000 * 120, 0x2A, dtype=np.uint8)
    audio = wav(tmp_path, Capture().caller(talk(loud).drifting(300)))
    assert len(audio.left) > len(loud)
    assert (audio.left == audio.left[0]).all()


@pytest.mark.parametrize("step_s", [3600, -3600, 2, -2, 0.5])
def test_a_step_of_the_clock_in_mid_call_is_taken_out(tmp_path: Path, step_s: float) -> None:
    caller, line = noise(40, 1), noise(40, 2)
    clock = stepping((20_005_000, step_s))
    capture = Capture(clock=clock).caller(talk(caller).jittered(10)).line(talk(line, ssrc=2).jittered(10, seed=8))
    audio = wav(tmp_path, capture)
    assert audio.rendered.duration_ms in range(40_000, 40_010)
    assert contains(audio.left, a_law(caller))
    assert contains(audio.right, a_law(line))
    assert (audio.rendered.left.sources, audio.rendered.left.lost, audio.rendered.reasons) == (1, 0, ())


def test_steps_back_and_forth(tmp_path: Path) -> None:
    caller, line = noise(40, 1), noise(30, 2)
    clock = stepping((10_005_000, 5), (20_005_000, -8), (35_005_000, -2))
    audio = wav(tmp_path, Capture(clock=clock).caller(talk(caller)).line(talk(line, ssrc=2)))
    assert (audio.left == a_law(caller)).all()
    assert (audio.right[: 30 * 8_000] == a_law(line)).all()


def test_what_one_stream_alone_says_is_silence_and_no_step_ahead(tmp_path: Path) -> None:
    first, second, line = noise(5, 1), noise(5, 2), noise(2, 3)
    held = talk(second, start_ms=15_000, sequence=1_250, timestamp=50_000 + 40_000)
    for other in ([], [talk(line, ssrc=2)]):
        audio = wav(tmp_path, Capture().caller(talk(first), held).line(*other))
        assert (audio.left[:40_000] == a_law(first)).all()
        assert not audio.left[40_000:120_000].any()
        assert (audio.left[120_000:] == a_law(second)).all()


@pytest.mark.parametrize(("stops_ms", "goes_on_ms"), [(0, 40), (120, 0), (-80, 60), (60, 20)])
def test_a_hold_in_which_timestamps_of_both_stand_still_is_silence_and_no_step_ahead(
    tmp_path: Path, stops_ms: int, goes_on_ms: int
) -> None:
    capture = Capture()
    audios = []
    for add, ssrc, stop, start in (
        (capture.caller, 1, 5_000, 35_003),
        (capture.line, 2, 5_000 + stops_ms, 35_003 + goes_on_ms),
    ):
        first, second = noise(stop / 1_000, ssrc), noise(5, ssrc + 2)
        add(
            talk(first, ssrc=ssrc),
            talk(second, ssrc=ssrc, start_ms=start, sequence=1_000 + stop // 20, timestamp=50_000 + stop * 8),
        )
        audios.append((first, second, start))
    audio = wav(tmp_path, capture)
    for channel, (first, second, start) in zip((audio.left, audio.right), audios, strict=True):
        assert (channel[: len(first)] == a_law(first)).all()
        assert (channel[start * 8 :][: len(second)] == a_law(second)).all()
    assert (audio.rendered.left.lost, audio.rendered.right.lost) == (0, 0)


def test_senders_whose_clocks_went_on_were_on_hold_however_equally_and_others_were_not(tmp_path: Path) -> None:
    hold, step = Capture(), Capture(clock=stepping((5_001_000, 30)))
    for port, ssrc in ((CALLER_PORT, 1), (LINE_PORT, 2)):
        first, second = (
            talk(noise(5, ssrc), ssrc=ssrc),
            talk(noise(5, ssrc + 2), ssrc=ssrc, sequence=1_250, timestamp=90_000),
        )
        later = replace(second, times_us=second.times_us + 35_000_000)
        hold.add((first, later), port, CALLER).reports(port, ssrc, 2_000_000, 4_000_000, 37_000_000, clock_us=10**15)
        at_once = replace(second, times_us=second.times_us + 5_002_000)
        step.add((first, at_once), port, CALLER).reports(port, ssrc, 4_000_000, 9_000_000, clock_us=10**15)
    assert wav(tmp_path, hold).rendered.duration_ms == 40_000
    assert wav(tmp_path, step).rendered.duration_ms in range(10_000, 10_005)


def test_a_clock_that_is_set_back_in_silence_costs_no_audio(tmp_path: Path) -> None:
    first, second = noise(5, 1), noise(5, 2)
    later = talk(second, start_ms=9_000, sequence=1_250, timestamp=50_000 + 72_000)
    audio = wav(tmp_path, Capture(clock=stepping((7_000_000, -60))).caller(talk(first), later))
    assert (audio.left[:40_000] == a_law(first)).all()
    assert (audio.left[72_000:] == a_law(second)).all()
    # Another source, which cannot tell how long it was.
    other = talk(second, ssrc=2, start_ms=9_000)
    audio = wav(tmp_path, Capture(clock=stepping((7_000_000, -60))).caller(talk(first), other))
    assert (audio.left == np.concatenate([a_law(first), a_law(second)])).all()


def test_a_machine_that_stood_still_did_not_set_its_clock(tmp_path: Path) -> None:
    caller, line = noise(30, 1), noise(30, 2)

    def held_up(flow: Flow) -> Flow:
        times = np.where((flow.times_us > 10_000_000) & (flow.times_us < 13_000_000), 13_000_000, flow.times_us)
        return Flow(flow.payloads, flow.sequences, flow.timestamps, times, ssrc=flow.ssrc)

    audio = wav(tmp_path, Capture().caller(held_up(talk(caller))).line(held_up(talk(line, ssrc=2))))
    assert (audio.left == a_law(caller)).all()
    assert (audio.right == a_law(line)).all()


def test_silence_of_both_is_no_step_of_the_clock(tmp_path: Path) -> None:
    first, second = noise(5, 1), noise(5, 2)
    capture = Capture()
    for add, ssrc in ((capture.caller, 1), (capture.line, 2)):
        later = talk(second, ssrc=ssrc, start_ms=15_000, sequence=1_250, timestamp=50_000 + 120_000)
        add(talk(first, ssrc=ssrc), later)
    audio = wav(tmp_path, capture)
    for channel in (audio.left, audio.right):
        assert (channel[:40_000] == a_law(first)).all()
        assert (channel[120_000:] == a_law(second)).all()
    assert audio.rendered.left.lost == 0


def test_silence_that_no_call_lives_through_was_a_step_of_the_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("signalbox.recorder.clock.SILENCE_MAX_US", 20_000_000)
    first, second, third = noise(2, 1), noise(2, 2), noise(2, 3)
    capture = Capture().caller(
        talk(first), talk(second, ssrc=2, start_ms=10_000), talk(third, ssrc=3, start_ms=1_000_000)
    )
    audio = wav(tmp_path, capture)
    assert (audio.left[80_000:] == np.concatenate([a_law(second), a_law(third)])).all()


def test_a_pause_between_segments_is_silence_and_told(tmp_path: Path) -> None:
    first, second = noise(5, 1), noise(4, 2)
    one = Capture().caller(talk(first))
    two = Capture().caller(talk(second, start_ms=12_000, sequence=1_600, timestamp=50_000 + 96_000))
    audio = wav(tmp_path, one, two)
    assert (audio.left[:40_000] == a_law(first)).all()
    assert not audio.left[40_000:96_000].any()
    assert (audio.left[96_000:] == a_law(second)).all()
    begin = EPOCH_US // 1_000
    assert audio.rendered.pauses == ((begin + 4_980, begin + 12_000),)
    assert (audio.rendered.left.lost, audio.rendered.left.packets, audio.rendered.left.sources) == (0, 450, 1)


def test_time_after_a_segment_whose_end_is_missing_is_no_pause(tmp_path: Path) -> None:
    parts = [Capture().caller(talk(noise(2, seed), start_ms=5_000 * seed)) for seed in range(4)]
    audio = wav(tmp_path, *parts, whole=(True, False, True, True))
    begin = EPOCH_US // 1_000
    assert audio.rendered.pauses == ((begin + 1_980, begin + 5_000), (begin + 11_980, begin + 15_000))
    assert audio.rendered.reasons == ("media_node_died",)
    cut = wav(tmp_path, parts[0].content()[:-1], parts[1])
    assert (cut.rendered.pauses, cut.rendered.reasons) == ((), ("capture_cut",))
    # One that was begun in the midst and of which nothing is left.
    for lost in (b"", Capture()):
        audio = wav(tmp_path, parts[0], lost, parts[1], whole=(True, False, True))
        assert (audio.rendered.pauses, audio.rendered.reasons) == ((), ("media_node_died",))


def test_a_step_in_one_segment_is_taken_out_of_the_next_too(tmp_path: Path) -> None:
    first, second = noise(5, 1), noise(4, 2)
    clock = stepping((2_005_000, 600))
    one = Capture(clock=clock).caller(talk(first)).line(talk(noise(5, 3), ssrc=2))
    two = Capture(clock=clock).caller(talk(second, start_ms=12_000))
    audio = wav(tmp_path, one, two)
    assert (audio.left[:40_000] == a_law(first)).all()
    assert (audio.left[96_000:] == a_law(second)).all()


def test_a_segment_that_seems_to_begin_before_the_last_ended_follows_it_at_once(tmp_path: Path) -> None:
    first, second = noise(5, 1), noise(4, 2)
    one = Capture().caller(talk(first))
    two = Capture(clock=stepping((0, -100))).caller(talk(second, start_ms=12_000))
    audio = wav(tmp_path, one, two)
    assert len(audio.left) == 40_000 + 32_000
    assert (audio.left[-32_000:] == a_law(second)).all()
    end = EPOCH_US // 1_000 + 4_980
    assert audio.rendered.pauses == ((end, end + 20),)


def test_a_segment_without_packets_is_part_of_the_pause(tmp_path: Path) -> None:
    first, second = noise(2, 1), noise(2, 2)
    audio = wav(tmp_path, Capture().caller(talk(first)), Capture(), Capture().caller(talk(second, start_ms=9_000)))
    assert len(audio.rendered.pauses) == 1
    assert (audio.left[72_000:] == a_law(second)).all()
    assert audio.rendered.reasons == ()


def test_the_start_is_told_by_the_clock_of_the_node_to_the_millisecond(tmp_path: Path) -> None:
    audio = wav(tmp_path, Capture().caller(talk(noise(1), start_ms=1_234.6)), facts=FACTS, sides=SIDES)
    assert audio.rendered.start_ms == EPOCH_US // 1_000 + 1_234


def stepping(*steps: tuple[int, float]) -> object:
    """A clock that is set by so many seconds when so many microseconds are over."""

    def clock(times: NDArray[np.int64]) -> NDArray[np.int64]:
        return times + sum(np.where(times >= at, int(by * 1_000_000), 0) for at, by in steps)

    return clock


def contains(channel: NDArray[np.int16], part: NDArray[np.int16]) -> bool:
    """Whether it is there without a sample more or less."""
    return any((channel[begin : begin + len(part)] == part).all() for begin in range(len(channel) - len(part) + 1))
