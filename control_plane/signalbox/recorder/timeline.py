"""Where in time the audio of a stream belongs, and what of it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalbox.recorder import codecs, drift, epochs
from signalbox.recorder.codecs import Kind
from signalbox.recorder.epochs import UNIT_US

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalbox.recorder.streams import Stream

FILL_MAX = 8
"""Most units that are put in at once where a stream is shifted; they repeat the last sample."""

_FOLLOWED = 100
"""A part of fewer packets does not tell of clocks."""
_KEYS = 16
"""Events of keys: 0 to 15 (RFC 4733 section 3.2)."""
_STRAY = 3_000
"""An event so far from the audio's sequence numbers is none of the stream."""


@dataclass(slots=True)
class Placed:
    """Audio of one stream that can be decoded, in the order of time."""

    positions: NDArray[np.int64]
    """Where each packet begins, units of 125 µs from the reference on."""
    offsets: NDArray[np.int64]
    """Where its payload begins in the file."""
    sizes: NDArray[np.uint16]
    """Bytes of payload."""
    kinds: NDArray[np.uint8]
    fills: NDArray[np.uint8]
    """Units after it that the clocks have run apart by."""


@dataclass(slots=True)
class Tally:
    """What a stream was, as in ``types.v1.RecordedSide``."""

    packets: int = 0
    """Audio, comfort noise and what could not be decoded, without duplicates."""
    lost: int = 0
    gaps: int = 0
    duplicates: int = 0
    undecodable: int = 0
    digits: int = 0
    codecs: tuple[tuple[int, str], ...] = ()
    """When each was first heard, microseconds, and its name."""


@dataclass(slots=True)
class Laid:
    """A stream on the time line."""

    placed: Placed
    tally: Tally
    start: int
    """Where it begins, units of 125 µs from the reference on."""
    end: int
    """Where it ends."""


def lay(stream: Stream, data: NDArray[np.uint8], codec: str, reference_us: int) -> Laid:
    """Lays a stream of the file ``data`` on the time line that begins at ``reference_us``, and uses it up.

    ``codec`` as of ``codecs.kinds``.
    """
    kinds = codecs.kinds(stream.payload_types, stream.sizes, codec)
    stream.times -= reference_us
    rest = stream.times[kinds == Kind.UNKNOWN] // UNIT_US
    bounds = [int(rest.min()), int(rest.max())] if len(rest) else []
    # Indices of 32 bits and what is let go early: a call of twelve hours has millions of packets.
    timed = np.flatnonzero(kinds <= Kind.COMFORT_NOISE).astype(np.int32)
    if not len(timed):
        tally, _ = _tally(stream, kinds, data, codec, *_numbers_of_events(stream.sequences))
        return Laid(_nothing(), tally, min(bounds, default=0), max(bounds, default=0))
    all_timed = len(timed) == len(kinds)
    some = slice(None) if all_timed else timed
    counted = epochs.count(stream.sequences[some], stream.timestamps[some], stream.times[some])
    numbers, ours = _numbers(stream.sequences, timed, counted.sequences)
    stamps, parts = counted.stamps, counted.epochs
    del counted
    tally, first = _tally(stream, kinds, data, codec, numbers, ours)
    del numbers, ours
    if not first.all():
        once = first[some]
        timed, stamps, parts = timed[once], stamps[once], parts[once]
    placed, start, end = _placed(stream, kinds, timed, stamps, parts)
    return Laid(placed, tally, min([start, *bounds]), max([end, *bounds]))


def _numbers_of_events(sequences: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """As ``_numbers``, of a stream without audio."""
    steps = np.diff(sequences, prepend=sequences[0]).view(np.int16).astype(np.int64)
    return np.cumsum(steps), np.abs(steps) < _STRAY


def _numbers(
    sequences: NDArray[np.uint16], timed: NDArray[np.int32], counted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sequence numbers of all packets, counted on, and which are of the stream; events go by the audio before them."""
    if len(timed) == len(sequences):
        return counted, np.ones(len(timed), dtype=np.bool_)
    nearest = np.maximum(np.searchsorted(timed, np.arange(len(sequences)), side="right") - 1, 0)
    further = (sequences - sequences[timed[nearest]]).view(np.int16).astype(np.int64)
    return counted[nearest] + further, np.abs(further) < _STRAY


def _firsts(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which packets are the first of their number."""
    if (np.diff(numbers) > 0).all():
        return np.ones(len(numbers), dtype=np.bool_)
    order = np.argsort(numbers, kind="stable")
    first = np.empty(len(numbers), dtype=np.bool_)
    first[order] = np.concatenate([[True], np.diff(numbers[order]) > 0])
    return first


def _tally(
    stream: Stream,
    kinds: NDArray[np.uint8],
    data: NDArray[np.uint8],
    codec: str,
    numbers: NDArray[np.int64],
    ours: NDArray[np.bool_],
) -> tuple[Tally, NDArray[np.bool_]]:
    """What the stream was, and which packets are the first of their number."""
    first = _firsts(numbers)
    if not ours.all():
        numbers = numbers[ours]
    ordered = numbers if (np.diff(numbers) > 0).all() else np.unique(numbers)
    holes = np.diff(ordered) - 1
    holes = holes[(holes > 0) & (holes < epochs.NUMBERING // 2)]
    audio = first & ours & (kinds != Kind.EVENT)
    events = np.flatnonzero(first & ours & (kinds == Kind.EVENT))
    keys = events[data[stream.offsets[events]] < _KEYS]
    heard = []
    named = np.flatnonzero(audio & (kinds != Kind.COMFORT_NOISE))
    _, firsts = np.unique(stream.payload_types[named], return_index=True)
    for index in named[firsts].tolist():
        name = codecs.name(int(kinds[index]), int(stream.payload_types[index]), codec)
        heard.append((int(stream.times[index]), name))
    tally = Tally(
        packets=int(np.count_nonzero(audio)),
        lost=int(holes.sum()),
        gaps=len(holes),
        duplicates=int(np.count_nonzero(~first & ours)),
        undecodable=int(np.count_nonzero(audio & (kinds == Kind.UNKNOWN))),
        # All packets of an event have the timestamp of its beginning.
        digits=len(np.unique(stream.timestamps[keys])),
        codecs=tuple(heard),
    )
    return tally, first


def _placed(
    stream: Stream,
    kinds: NDArray[np.uint8],
    packets: NDArray[np.int32],
    stamps: NDArray[np.int64],
    parts: NDArray[np.int32],
) -> tuple[Placed, int, int]:
    """Places ``packets`` of a stream; also where they begin and where they end."""
    if not ((np.diff(stamps) > 0) & (np.diff(parts) == 0)).all():
        order = np.lexsort((stamps, parts))
        packets, stamps, parts = packets[order], stamps[order], parts[order]
        del order
    shifts = _shifts(stream.times[packets] - stamps * UNIT_US, stamps, parts)
    lengths = codecs.units(kinds[packets], stream.sizes[packets])
    moved = np.diff(shifts)
    moved[(np.diff(stamps) != lengths[:-1]) | (np.diff(parts) != 0) | (moved < 0) | (moved > FILL_MAX)] = 0
    fills = np.append(moved, 0).astype(np.uint8)
    del moved
    positions = stamps + shifts
    del stamps, shifts, parts
    start, end = int(positions.min()), int((positions + lengths).max())
    if not ((np.diff(positions) > 0).all() and (lengths > 0).all()):
        some = np.argsort(positions, kind="stable")
        some = some[lengths[some] > 0]
        packets, positions, fills = packets[some], positions[some], fills[some]
    return Placed(positions, stream.offsets[packets], stream.sizes[packets], kinds[packets], fills), start, end


def _shifts(delays: NDArray[np.int64], stamps: NDArray[np.int64], numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """What makes positions of timestamps: one number for each epoch, or several where clocks run apart."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
    lengths = np.diff(np.append(starts, len(numbers)))
    shifts = np.repeat(np.minimum.reduceat(delays, starts).astype(np.float64), lengths)
    ends = starts + lengths - 1
    for index in np.flatnonzero((stamps[ends] - stamps[starts] >= 2 * drift.BLOCK_UNITS) & (lengths >= _FOLLOWED)):
        some = slice(int(starts[index]), int(starts[index] + lengths[index]))
        shifts[some] = drift.follow(delays[some], stamps[some])
    return np.rint(shifts / UNIT_US).astype(np.int64)


def _nothing() -> Placed:
    none = np.empty(0, dtype=np.int64)
    return Placed(none, none, none.astype(np.uint16), none.astype(np.uint8), none.astype(np.uint8))
