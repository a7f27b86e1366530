"""One stream's sequence numbers and timestamps, made to count on for ever (RFC 3550 appendix A.1).

A stream is cut into *runs* where from one packet to the next sequence number or time leap, and where its delay has
risen for good. A run that goes on where an earlier one was, that was only late, or that waited in a queue, joins its
*epoch*; one that doesn't begins an epoch of its own, whose place in time its arrival tells. So a forged or damaged
timestamp moves only its own packet, and that to where it arrived.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from signalbox.recorder import delays as delaying

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

UNIT_US = 125
"""One unit of RTP time at 8,000 Hz, microseconds."""
SEQUENCES_AHEAD = 3_000
"""MAX_DROPOUT of RFC 3550 appendix A.1: further ahead is a new beginning, unless timestamps say how many were lost."""
SEQUENCES_BEHIND = 500
"""MAX_MISORDER, more than there: 10 s of 20 ms, since late packets still find their place."""
TOGETHER_US = 200_000
"""Timestamps go on if the least delay stays within this."""
NUMBERING = 1 << 40
"""Between the sequence numbers of one beginning and the next."""

_LATE_UNITS = 10 * 8_000
_LOOK = 200
"""Packets at the ends of a run that tell of the least delay there."""
_LOOK_RUNS = 8
"""Runs after one that may tell that it only waited."""
_REMEMBERED = 4
"""Epochs that a run may go on with."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets of a stream, in the order of the file."""

    sequences: NDArray[np.int64]
    """Those of one beginning go on by one; another begins ``NUMBERING`` later."""
    stamps: NDArray[np.int64]
    """Timestamps; comparable within an epoch."""
    epochs: NDArray[np.int32]


class _Run(NamedTuple):
    sequence: int
    """Of the first packet, as it was sent."""
    stamp: int
    counted: int
    """Of the first packet, counted on from the stream's first one."""
    stamped: int
    furthest: int
    """Of the packet with the highest sequence number: how much higher that is than the first one's."""
    furthest_stamp: int
    head_us: int
    """Least delay at the beginning: arrival less counted timestamp."""
    tail_us: int
    """The same at the end."""


@dataclass(slots=True)
class _Epoch:
    number: int
    stamped: int
    """Of its packet with the highest sequence number, counted, ..."""
    tail_us: int
    """Least delay there, or less: it rises no faster than clocks run apart."""
    stamp: int = 0
    """... and modulo 2^32."""
    counted: int = 0
    """Sequence number of that packet, counted, ..."""
    sequence: int = 0
    """... and modulo 2^16."""


class _Place(NamedTuple):
    """Where a run belongs."""

    epoch: int
    add_counted: int
    """What its numbers need to count on."""
    add_stamped: int
    """What its timestamps need."""


def count(sequences: NDArray[np.uint16], timestamps: NDArray[np.uint32], times: NDArray[np.int64]) -> Counted:
    """Counts the packets of one stream, all of which have timestamps that go on with the audio; at least one."""
    steps, stamp_steps = np.diff(sequences).view(np.int16), np.diff(timestamps).view(np.int32)
    counted, stamped = _summed(steps), _summed(stamp_steps)
    delays = times - stamped * UNIT_US
    breaks = (steps > SEQUENCES_AHEAD) | (steps < -SEQUENCES_BEHIND) | (np.abs(stamp_steps) > _LATE_UNITS)
    breaks |= np.abs(np.diff(delays)) > TOGETHER_US
    starts = _with_rises(np.concatenate([[0], np.flatnonzero(breaks) + 1]), delays, stamped)
    del breaks
    ends = np.append(starts[1:], len(sequences))
    epochs = _Epochs(_packet_units(steps, stamp_steps) if len(starts) > 1 else 0)
    del steps, stamp_steps
    runs = _runs(sequences, timestamps, counted, stamped, delays, starts, ends)
    places = np.empty((len(starts), 3), dtype=np.int64)
    coming = deque(islice(runs, 1 + _LOOK_RUNS))
    for index in range(len(starts)):
        places[index] = epochs.place(coming.popleft(), coming)
        coming.extend(islice(runs, 1))
    del delays
    lengths = ends - starts
    counted += np.repeat(places[:, 1], lengths)
    stamped += np.repeat(places[:, 2], lengths)
    return Counted(counted, stamped, np.repeat(places[:, 0].astype(np.int32), lengths))


def _summed(steps: NDArray[np.int16] | NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each is that is a step from the one before; the first at 0."""
    sums = np.zeros(len(steps) + 1, dtype=np.int64)
    np.cumsum(steps, out=sums[1:])
    return sums


def _with_rises(starts: NDArray[np.int64], delays: NDArray[np.int64], stamped: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs are cut where their least delay has risen for good."""
    ends = np.append(starts[1:], len(delays))
    rises: list[int] = []
    for index in np.flatnonzero(ends - starts >= delaying.LEAST_PACKETS).tolist():
        some = slice(int(starts[index]), int(ends[index]))
        rises += (some.start + at for at in delaying.rises(delays[some], stamped[some], TOGETHER_US))
    return np.sort(np.append(starts, rises)).astype(np.int64) if rises else starts


def _packet_units(steps: NDArray[np.int16], stamp_steps: NDArray[np.int32]) -> int:
    """Length of most packets, units."""
    every = max(1, len(steps) // 10_000)
    lengths = stamp_steps[::every][steps[::every] == 1]
    return int(np.median(lengths)) if len(lengths) else 0


def _runs(
    sequences: NDArray[np.uint16],
    timestamps: NDArray[np.uint32],
    counted: NDArray[np.int64],
    stamped: NDArray[np.int64],
    delays: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> Iterator[_Run]:
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        furthest = start + int(counted[start:end].argmax())
        yield _Run(
            sequence=int(sequences[start]),
            stamp=int(timestamps[start]),
            counted=int(counted[start]),
            stamped=int(stamped[start]),
            furthest=int(counted[furthest] - counted[start]),
            furthest_stamp=int(stamped[furthest] - stamped[start]),
            head_us=int(delays[start : min(end, start + _LOOK)].min()),
            tail_us=int(delays[max(start, end - _LOOK) : end].min()),
        )


class _Epochs:
    """Those of one stream. ``packet_units``: length of most of its packets, 0 if that is not known."""

    def __init__(self, packet_units: int) -> None:
        self._packet_units = packet_units
        self._number = 0
        self._last: list[_Epoch] = []

    def place(self, run: _Run, coming: Iterable[_Run]) -> _Place:
        """Where ``run`` belongs, after which others come."""
        for epoch in reversed(self._last):
            further, later = _signed(run.sequence - epoch.sequence, 16), _signed(run.stamp - epoch.stamp, 32)
            add_stamped = epoch.stamped + later - run.stamped
            if -SEQUENCES_BEHIND <= further <= 0 and -_LATE_UNITS <= later <= 0:
                place = _Place(epoch.number, epoch.counted + further - run.counted, add_stamped)
                if further + run.furthest > 0:
                    _advance(epoch, run, place)
                return place
            together = self._together(run, epoch)
            ahead = self._ahead(run, epoch) if together else further
            queued = ahead <= SEQUENCES_AHEAD and (self._sooner(run, epoch) or self._waited(run, epoch, coming))
            if ahead > 0 and (together or queued):
                place = _Place(epoch.number, epoch.counted + ahead - run.counted, add_stamped)
                _advance(epoch, run, place)
                return place
        return self._begin(run)

    def _together(self, run: _Run, epoch: _Epoch) -> bool:
        """Whether timestamps go on at the pace of time, and a clock runs away meanwhile."""
        later = _signed(run.stamp - epoch.stamp, 32)
        delay_us = run.head_us - (epoch.stamped + later - run.stamped) * UNIT_US
        return abs(delay_us - epoch.tail_us) <= TOGETHER_US + delaying.apart_us(abs(later))

    def _waited(self, run: _Run, epoch: _Epoch, coming: Iterable[_Run]) -> bool:
        """Whether a run was in a queue: what was sent after it goes on with the epoch, in less time."""
        later = _signed(run.stamp - epoch.stamp, 32)
        delay_us = run.head_us - (epoch.stamped + later - run.stamped) * UNIT_US
        if later <= 0 or not 0 < delay_us - epoch.tail_us <= _LATE_UNITS * UNIT_US:
            return False
        return any(
            0 < _signed(other.sequence - run.sequence, 16) <= SEQUENCES_AHEAD
            and 0 < _signed(other.stamp - run.stamp, 32) <= 2 * _LATE_UNITS
            and self._together(other, epoch)
            for other in coming
        )

    def _sooner(self, run: _Run, epoch: _Epoch) -> bool:
        """Whether the epoch so far was in a queue: a run goes on with it to a packet, and took less time."""
        further, later = _signed(run.sequence - epoch.sequence, 16), _signed(run.stamp - epoch.stamp, 32)
        delay_us = run.head_us - (epoch.stamped + later - run.stamped) * UNIT_US
        to_a_packet = abs(later - further * self._packet_units) <= self._packet_units
        return delay_us < epoch.tail_us and later > 0 and to_a_packet

    def _ahead(self, run: _Run, epoch: _Epoch) -> int:
        """How many packets were sent since, of which timestamps say that time went by; 0 if nothing tells."""
        further = (run.sequence - epoch.sequence) & 0xFFFF
        units = max(0, _signed(run.stamp - epoch.stamp, 32))
        sent = units / self._packet_units if self._packet_units > 0 else 0.0
        # Sequence numbers come round each 65,536.
        all_sent = further + (max(0, round((sent - further) / 65_536)) << 16)
        # A sender that was silent for so long is more likely than one that was away, unless it is so to a packet.
        if all_sent > SEQUENCES_AHEAD and abs(all_sent - sent) <= (10 if all_sent > 65_535 else 10 + sent / 50):
            return all_sent
        # In silence fewer are sent.
        return further if further <= max(SEQUENCES_AHEAD, sent) else 0

    def _begin(self, run: _Run) -> _Place:
        further = _signed(run.sequence - self._last[-1].sequence, 16) if self._last else 0
        if 0 < further <= SEQUENCES_AHEAD:
            # Timestamps began anew, sequence numbers did not.
            add_counted = self._last[-1].counted + further - run.counted
        else:
            add_counted = self._number * NUMBERING - run.counted
        epoch = _Epoch(self._number, run.stamped, run.head_us)
        place = _Place(self._number, add_counted, 0)
        _advance(epoch, run, place)
        self._last.append(epoch)
        del self._last[:-_REMEMBERED]
        self._number += 1
        return place


def _advance(epoch: _Epoch, run: _Run, place: _Place) -> None:
    later = run.stamped + place.add_stamped - epoch.stamped
    before_us = epoch.tail_us + delaying.apart_us(max(0, later + run.furthest_stamp))
    epoch.sequence = run.sequence + run.furthest
    epoch.stamp = run.stamp + run.furthest_stamp
    epoch.counted = run.counted + run.furthest + place.add_counted
    epoch.stamped = run.stamped + run.furthest_stamp + place.add_stamped
    # A run of few packets may have waited as a whole; and small steps must not add up.
    epoch.tail_us = min(run.tail_us - place.add_stamped * UNIT_US, before_us)


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((difference + half) & ((1 << bits) - 1)) - half
