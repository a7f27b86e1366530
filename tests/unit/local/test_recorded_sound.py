"""A recording compared with what was said: what is lost, what is moved, what never came."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox_local import g711
from signalbox_local.recorded_sound import Compared, channels, compare
from signalbox_local.rtp_load import FRAME, pool, said

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PACKETS = 100
SAID = said(pool(), 7, 1, PACKETS)
EVERYTHING = np.ones(PACKETS, bool)


def recorded(before: int = 333, without: tuple[int, ...] = ()) -> NDArray[np.int16]:
    """The recording of it, after so many silent samples, with silence in place of some packets."""
    samples = g711.decode(SAID.tobytes()).copy()
    for packet in without:
        samples[packet * FRAME : (packet + 1) * FRAME] = 0
    return np.concatenate([np.zeros(before, np.int16), samples, np.zeros(50, np.int16)])


def test_everything_is_there() -> None:
    assert compare(recorded(), SAID, EVERYTHING) == Compared(0, 0, 0, 333)


def test_a_packet_that_came_and_is_not_there_is_lost() -> None:
    assert compare(recorded(without=(20, 21)), SAID, EVERYTHING) == Compared(2, 0, 0, 333)


def test_a_packet_that_never_came_is_not_lost_by_the_recorder() -> None:
    came = EVERYTHING.copy()
    came[[20, 50]] = False
    assert compare(recorded(without=(20,)), SAID, came) == Compared(0, 1, 0, 333)


def test_the_first_packets_may_be_missing() -> None:
    assert compare(recorded(without=(0, 1)), SAID, EVERYTHING) == Compared(2, 0, 0, 333)


def test_a_side_that_begins_before_the_recording_has_lost_its_beginning() -> None:
    assert compare(recorded()[333 + 2 * FRAME + 10 :], SAID, EVERYTHING) == Compared(3, 0, 0, -2 * FRAME - 10)


def test_what_is_shifted_by_some_samples_is_there() -> None:
    samples = recorded()
    middle = 333 + 50 * FRAME
    shifted = np.concatenate([samples[:middle], np.zeros(3, np.int16), samples[middle:]])
    found = compare(shifted, SAID, EVERYTHING)
    assert (found.lost, found.unheard, found.shifted) == (0, 0, 50)


def test_another_call_is_not_taken_for_this_one() -> None:
    assert compare(recorded(), said(pool(), 60, 1, PACKETS), EVERYTHING) == Compared(PACKETS, 0, 0, -1)


def test_both_channels_of_a_file_are_told_apart(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.array([[1, 2], [3, 4]], "<i2").tobytes())
    left, right = channels(tmp_path / "a.wav")
    assert (left.tolist(), right.tolist()) == ([1, 3], [2, 4])


def test_a_file_with_one_channel_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    with pytest.raises(ValueError, match="1 channels of 16 bits"):
        channels(tmp_path / "a.wav")
