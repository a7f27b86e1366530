"""Recordings compared with what was said: every packet that came must be in the audio, sample by sample."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalbox_local import g711
from signalbox_local.rtp_load import FRAME

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TRIES = 50
"""Packets that are looked for before a side counts as missing."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One side of one recording."""

    lost: int
    """Packets that came but are not in the recording."""
    unheard: int
    """Packets that are not in the recording and never came."""
    shifted: int
    """Packets that are in the recording, but not at their place beside the loudest one: where a sender falls behind its
    own clock for a time, a recorder puts what follows where it was heard."""
    start: int
    """Sample of the recording at which the side begins; -1: nothing of it is there."""


def channels(file: Path) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Left and right of a WAV file of 16-bit stereo. Raises ValueError for another one."""
    with wave.open(str(file), "rb") as opened:
        if opened.getnchannels() != 2 or opened.getsampwidth() != 2:
            raise ValueError(f"{file}: {opened.getnchannels()} channels of {8 * opened.getsampwidth()} bits")
        samples = np.frombuffer(opened.readframes(opened.getnframes()), "<i2").reshape(-1, 2)
    return np.ascontiguousarray(samples[:, 0]), np.ascontiguousarray(samples[:, 1])


def compare(recorded: NDArray[np.int16], said: NDArray[np.uint8], came: NDArray[np.bool_]) -> Compared:
    """A channel with what its side said (A-law) in packets of 20 ms, of which those of ``came`` arrived at all."""
    frames = g711.decode(said.tobytes()).reshape(-1, FRAME)
    start = _start(recorded, frames, came)
    if start is None:
        return Compared(int(came.sum()), int((~came).sum()), 0, -1)
    room = np.zeros(len(frames) * FRAME, np.int16)
    from_recorded = recorded[max(0, start) : max(0, start + len(room))]
    room[max(0, -start) :][: len(from_recorded)] = from_recorded[: len(room) - max(0, -start)]
    there = (room.reshape(-1, FRAME) == frames).all(axis=1)
    shifted = 0
    for packet in np.flatnonzero(~there):
        if _find(recorded, frames[packet]) is not None:
            there[packet] = True
            shifted += 1
    return Compared(int((came & ~there).sum()), int((~came & ~there).sum()), shifted, start)


def _start(recorded: NDArray[np.int16], frames: NDArray[np.int16], came: NDArray[np.bool_]) -> int | None:
    """Where the first packet of all is or would be, by the first that came and is found."""
    loudness = np.abs(frames.astype(np.int32)).sum(axis=1) * came
    # The loudest are like no other.
    for packet in np.argsort(-loudness)[: min(TRIES, int(came.sum()))]:
        place = _find(recorded, frames[packet])
        if place is not None:
            return place - int(packet) * FRAME
    return None


def _find(samples: NDArray[np.int16], frame: NDArray[np.int16]) -> int | None:
    data, wanted = samples.tobytes(), frame.tobytes()
    at = data.find(wanted)
    while at >= 0 and at % 2:
        at = data.find(wanted, at + 1)
    return None if at < 0 else at // 2
