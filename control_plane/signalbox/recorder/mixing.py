"""Packets on the time line become two channels of samples, a window of time after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from signalbox.recorder import codecs
from signalbox.recorder.codecs import AUDIO, CLOCK, Decoder, Kind
from signalbox.recorder.upsampling import MARGIN, doubled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from signalbox.recorder.pcap import PcapFile
    from signalbox.recorder.timeline import Placed

WINDOW = 20 * CLOCK
"""Units of time that are made at once."""

_SPILL = 1 << 19
"""The longest packet, 64 KiB of G.729, reaches less far beyond a window."""
_FORGET = 16
"""Windows after which pages of files are given back."""


@dataclass(slots=True)
class Voice:
    """One stream, its file, and where it stands."""

    placed: Placed
    file: PcapFile
    decoder: Decoder = field(default_factory=Decoder)
    done: int = 0
    """Packets that have been decoded."""
    end: int = 0
    """Where those end, units."""


class Side:
    """One channel. ``twice``: 16,000 samples a second, else 8,000."""

    def __init__(self, voices: Sequence[Voice], *, twice: bool) -> None:
        self._voices = voices
        self._twice = twice
        size = MARGIN + WINDOW + MARGIN + _SPILL
        self._narrow = np.zeros(size, dtype=np.int16)
        self._wide = np.zeros(2 * size if twice else 0, dtype=np.int16)
        self._begin = -MARGIN
        """Unit that the buffers begin with."""

    def next(self) -> NDArray[np.int16]:
        """The next ``WINDOW``, from 0 on."""
        limit = self._begin + MARGIN + WINDOW + MARGIN
        parts = [(voice, self._take(voice, limit)) for voice in self._voices]
        parts = [(voice, some) for voice, some in parts if some.stop > some.start]
        alone = len(parts) == 1 and all(
            voice is parts[0][0] or voice.end <= self._begin + MARGIN for voice in self._voices
        )
        for voice, some in parts:
            self._lay(voice, some, alone=alone)
        made = self._made()
        self._begin += WINDOW
        for buffer, step in ((self._narrow, WINDOW), (self._wide, 2 * WINDOW)):
            buffer[:-step] = buffer[step:]
            buffer[-step:] = 0
        return made

    def _take(self, voice: Voice, limit: int) -> slice:
        start = voice.done
        voice.done = int(np.searchsorted(voice.placed.positions, limit))
        return slice(start, voice.done)

    def _lay(self, voice: Voice, some: slice, *, alone: bool) -> None:
        kinds = voice.placed.kinds[some]
        for kind in AUDIO:
            mine = np.flatnonzero(kinds == kind) + some.start
            if not len(mine):
                continue
            buffer, scale = (self._wide, 2) if kind == Kind.G722 else (self._narrow, 1)
            if alone:
                self._decode(voice, kind, mine, buffer, scale)
            else:
                # Two at once, as when a transferred party overlaps with the one before: both are heard.
                other = np.zeros_like(buffer)
                self._decode(voice, kind, mine, other, scale)
                _add(buffer, other)

    def _decode(
        self, voice: Voice, kind: Kind, packets: NDArray[np.int64], buffer: NDArray[np.int16], scale: int
    ) -> None:
        placed = voice.placed
        sizes = placed.sizes[packets].astype(np.int64)
        payload = voice.file.data[_ranges(placed.offsets[packets], sizes)]
        samples = voice.decoder.decode(kind, payload, sizes)
        units = codecs.units(placed.kinds[packets], placed.sizes[packets]).astype(np.int64)
        voice.end = max(voice.end, int((placed.positions[packets] + units).max()))
        starts = (placed.positions[packets] - self._begin) * scale
        buffer[_ranges(starts, units * scale)] = samples
        ends = starts + units * scale
        for index in np.flatnonzero(placed.fills[packets]).tolist():
            end = ends[index]
            buffer[end : end + int(placed.fills[packets[index]]) * scale] = buffer[end - 1]

    def _made(self) -> NDArray[np.int16]:
        if not self._twice:
            return self._narrow[MARGIN : MARGIN + WINDOW].copy()
        made = self._wide[2 * MARGIN : 2 * (MARGIN + WINDOW)].copy()
        narrow = self._narrow[: MARGIN + WINDOW + MARGIN]
        if narrow.any():
            _add(made, doubled(narrow))
        return made


def stereo(left: Sequence[Voice], right: Sequence[Voice], length: int, *, twice: bool) -> Iterator[NDArray[np.int16]]:
    """Samples of both channels side by side, ``length`` units altogether, in blocks of at most ``WINDOW``."""
    sides = Side(left, twice=twice), Side(right, twice=twice)
    files = {id(voice.file): voice.file for voice in (*left, *right)}
    rate = 2 if twice else 1
    for begin in range(0, length, WINDOW):
        if begin % (_FORGET * WINDOW) == 0:
            for file in files.values():
                file.forget()
        some = min(WINDOW, length - begin) * rate
        block = np.empty((some, 2), dtype=np.int16)
        for channel, side in enumerate(sides):
            block[:, channel] = side.next()[:some]
        yield block


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ... of each, one after the other."""
    before = np.cumsum(lengths) - lengths
    total = int(before[-1] + lengths[-1])
    return np.repeat(starts - before, lengths) + np.arange(total)


def _add(to: NDArray[np.int16], other: NDArray[np.int16]) -> None:
    to[:] = np.clip(to.astype(np.int32) + other, -32768, 32767)
