"""Queues, outages and timestamps that stand still: what was sent is where it belongs, and what is gone is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.recorder import epochs
from support.captures import Capture, Flow, noise, talk
from support.renderings import a_law, wav

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("stall_ms", "waited", "dropped"), [(300, 12, 5), (500, 12, 14), (1_000, 36, 14), (400, 1, 20)]
)
def test_what_waited_in_a_queue_whose_tail_was_dropped_is_in_its_place(
    tmp_path: Path, stall_ms: int, waited: int, dropped: int
) -> None:
    sent = noise(20)
    flow = talk(sent)
    times = flow.times_us.copy()
    gone: list[int] = []
    for first in range(100, 900, 200):
        burst = times[first] + stall_ms * 1_000 + np.arange(waited) * 200
        times[first : first + waited] = np.maximum(burst, times[first : first + waited])
        gone += range(first + waited, first + waited + dropped)
    audio = wav(tmp_path, Capture().caller(replace(flow, times_us=times).without(*gone)))
    expected = a_law(sent).reshape(-1, 160).copy()
    expected[gone] = 0
    assert (audio.left == expected.reshape(-1)).all()
    assert (audio.rendered.left.lost, audio.rendered.left.gaps) == (len(gone), 4)


@pytest.mark.parametrize("ways", [(600, 0), (700, 350, 0), (0, 700, 350), (300, 900, 100, 800)])
def test_delays_that_leap_and_fall_lay_nothing_over_anything(tmp_path: Path, ways: tuple[int, ...]) -> None:
    sent = noise(6)
    flow = talk(sent)
    # What is sent later may not come sooner: a queue is emptied all at once.
    times = flow.times_us + 1_000 * np.array(ways)[np.arange(len(flow)) * len(ways) // len(flow)]
    times = np.minimum.accumulate(times[::-1])[::-1] if ways[-1] < ways[0] else times
    audio = wav(tmp_path, Capture().caller(replace(flow, times_us=times)))
    packets = a_law(sent).reshape(-1, 160)
    heard = {packet.tobytes() for packet in np.lib.stride_tricks.sliding_window_view(audio.left, 160)}
    assert all(packet.tobytes() in heard for packet in packets)
    assert audio.rendered.left.lost == 0


def test_jitter_of_more_than_half_a_second_moves_nothing(tmp_path: Path) -> None:
    sent = noise(60)
    audio = wav(tmp_path, Capture().caller(talk(sent).jittered(300)))
    assert (audio.left == a_law(sent)).all()


def test_an_outage_of_more_than_a_minute_is_lost_packets(tmp_path: Path) -> None:
    sent = noise(50)
    flow = talk(sent, size=80, units=80).without(*range(1_000, 4_500))
    audio = wav(tmp_path, Capture().caller(flow))
    assert (audio.left[:80_000] == a_law(sent)[:80_000]).all()
    assert not audio.left[80_000:360_000].any()
    assert (audio.left[360_000:] == a_law(sent)[360_000:]).all()
    assert (audio.rendered.left.lost, audio.rendered.left.gaps, audio.rendered.left.sources) == (3_500, 1, 1)


@pytest.mark.parametrize("away", [3_001, 32_700, 40_000, 65_300, 65_536, 65_600, 70_000, 200_000])
@pytest.mark.parametrize("units", [80, 160, 480])
def test_sequence_numbers_come_round_in_an_outage(away: int, units: int) -> None:
    counted = counted_after(away, away, units)
    assert (counted.sequences == np.concatenate([np.arange(500), 500 + away + np.arange(500)])).all()
    assert (np.diff(counted.epochs) == 0).all()


def test_a_long_silence_in_which_nothing_is_sent_loses_nothing() -> None:
    for quiet in (5_000, 60_000, 65_500, 300_000):
        assert (np.diff(counted_after(quiet, 0, 160).sequences) == 1).all()
    # Some was sent, and lost.
    assert counted_after(40_000, 10_000, 160).sequences[500] == 10_500


def test_sequence_numbers_that_began_anew_are_no_loss() -> None:
    counted = counted_after(5_000, 30_000, 160)
    assert counted.sequences[500] >= epochs.NUMBERING


def counted_after(away: int, numbers: int, units: int) -> epochs.Counted:
    """500 packets, a time of ``away`` packets in which ``numbers`` are used, and 500 more."""
    order = np.arange(1_000)
    later = order >= 500
    stamps = (order + away * later) * units
    return epochs.count(
        (60_000 + order + numbers * later).astype(np.uint16),
        (2**32 - 90_000 + stamps).astype(np.uint32),
        np.int64(10**15) + stamps * epochs.UNIT_US,
    )


@pytest.mark.parametrize(("every", "ms"), [(100, 180), (500, 150), (25, 40), (1_500, 190)])
def test_timestamps_that_stand_still_for_a_moment_again_and_again_make_no_drift(
    tmp_path: Path, every: int, ms: int
) -> None:
    sent = noise(90)
    flow = talk(sent)
    flow = replace(flow, times_us=flow.times_us + np.arange(len(flow)) // every * ms * 1_000)
    late = lateness_ms(wav(tmp_path, Capture().caller(flow)).left, flow)
    # Nobody knows of the last seconds whether they wait in a queue.
    assert max(late[:-30]) <= 210
    assert max(late) <= 600
    assert min(late) >= -15


def lateness_ms(channel: NDArray[np.int16], flow: Flow) -> list[float]:
    """By how much some packets came later than their places."""
    late = []
    for index in range(0, len(flow), 9):
        arrival = int(flow.times_us[index]) // 125
        around = channel[max(0, arrival - 8_000) : arrival + 8_000]
        # Where samples are put in is not known: a quarter of a packet tells.
        found = around.tobytes().find(a_law(flow.payloads[index][:40]).tobytes())
        if found >= 0:
            late.append((arrival - max(0, arrival - 8_000) - found // 2) / 8)
    assert len(late) > len(flow) / 9 * 0.8
    return late


@pytest.mark.parametrize(("ppm", "size"), [(200, 160), (-200, 160), (200, 480), (-200, 480)])
def test_a_clock_is_followed_however_few_packets_there_are(tmp_path: Path, ppm: float, size: int) -> None:
    sent = noise(300)
    flow = talk(sent, size=size, units=size)
    if size == 160:
        # Two seconds of speech in eight.
        flow = flow[np.arange(len(flow)) // 100 % 4 == 0]
    flow = flow.drifting(ppm)
    late = lateness_ms(wav(tmp_path, Capture().caller(flow.jittered(5))).left, flow)
    assert max(np.abs(late)) < 15


def test_a_queue_that_never_ends_does_not_split_what_is_said(tmp_path: Path) -> None:
    sent = noise(30)
    flow = talk(sent)
    # A second before the end of the call the way gets longer, by and by.
    times = flow.times_us + np.maximum(0, np.arange(len(flow)) - 1_450) * 10_000
    audio = wav(tmp_path, Capture().caller(replace(flow, times_us=times)))
    assert (audio.left == a_law(sent)).all()
