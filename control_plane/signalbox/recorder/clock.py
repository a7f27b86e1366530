"""Steps of the capturing machine's clock, found and taken out.

A clock that was set shows in the order of a file: time goes back, or it leaps ahead while the streams of the call go on
as if nothing had happened. How far it was set is told by the streams: their timestamps go on at the sender's pace, so
the least delay (arrival less timestamp) of each is higher or lower by the step from there on. A machine that only stood
still for a while makes up for it at once, and the least delay is what it was.

*Back* is always a step. *Ahead* is one only if streams to two ports at least, that is of two sides, were active right
before and after it and all that were agree on how far: a clock that is set moves all of them equally, the ends of a
hold, in which timestamps may stand still too, don't. RTCP that says by the senders' own clocks that time went by is
believed. What one stream alone says is silence. Where nobody sent for
``SILENCE_MAX_US`` the clock was set too: no call lives on so long in silence. A step ahead while one side sends or
none, or in a pause, cannot be told from time that went by.

A few records that are far from those before and after them, which go on together, were damaged: they belong where they
are in the file.
"""

from __future__ import annotations

from bisect import bisect_left
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalbox.recorder.streams import Jump, Report, Segment, Stream

SILENCE_MAX_US = 2 * 3600 * 1_000_000
PACKET_US = 20_000
"""Between two packets of most senders."""

_WITNESSES = 8
"""Streams that are asked, those with the most packets."""
_WINDOW = 200
"""Packets before and after that tell of the least delay."""
_ACTIVE_US = 200_000
"""A stream is active if it has a packet so close to the leap."""
_LEAST_US = 150_000
_FORGED_US = 5_000_000
"""No packet waits longer than that more than the next."""
_AGREE_US = 10_000
"""By how much the word of two streams may differ: jitter, of which the least delay of many packets has little."""
_SEQUENCES_MAX = 50
_STRAYS_MAX = 8
_REPORTS = 16
"""Sender reports before and after that are looked at."""
_BACK_US = 200_000
_UNIT_US = 125


def straighten(segment: Segment, ahead: int = 0) -> int:
    """Takes steps out of the times of all streams; they are by the clock as it was at first.

    ``ahead``: by how much it was set already in earlier segments, microseconds. Gives the same for later ones.
    """
    witnesses = sorted(segment.streams, key=lambda stream: -len(stream.times))[:_WITNESSES]
    jumps = segment.jumps
    offsets, totals = [0], [ahead]
    index = 0
    while index < len(jumps):
        if strays := _strays(jumps, index):
            back = jumps[index + strays - 1]
            offsets += [jump.offset for jump in jumps[index : index + strays]]
            totals += [ahead + jump.after - back.after for jump in jumps[index : index + strays]]
            index += strays
            continue
        until = jumps[index + 1].offset if index + 1 < len(jumps) else None
        step = _step(witnesses, jumps[index], jumps[index - 1].offset if index else 0, until)
        if 0 < step <= SILENCE_MAX_US and _went_by(segment.reports, jumps[index], step):
            step = 0
        if step:
            ahead += step
            offsets.append(jumps[index].offset)
            totals.append(ahead)
        index += 1
    if any(totals):
        sums = np.array(totals)
        for stream in segment.streams:
            stream.times -= sums[np.searchsorted(offsets, stream.offsets, side="right") - 1]
    return ahead


def _strays(jumps: Sequence[Jump], index: int) -> int:
    """How many leaps from ``index`` on are no steps, but records whose times were damaged: the last one leads back."""
    for strays in range(2, _STRAYS_MAX + 1):
        some = jumps[index : index + strays]
        if len(some) == strays and abs(some[-1].after - some[0].before) <= _BACK_US:
            return strays
    return 0


def _step(witnesses: Sequence[Stream], jump: Jump, since: int, until: int | None) -> int:
    """By how much the clock was set at ``jump``, microseconds; 0 if it was not."""
    leap = jump.after - jump.before
    active_us = _ACTIVE_US if leap > 0 else SILENCE_MAX_US
    asked = [(stream.key.port, _asked(stream, jump, (since, until), active_us)) for stream in witnesses]
    words = [word for _, word in asked if word is not None]
    sure = [shift for shift in words if shift != _UNSURE]
    if leap < 0:
        # How long it was meanwhile is not known if nobody can tell: no longer than a packet takes.
        return round(median(sure)) if sure else leap - PACKET_US
    of_two_sides = len({port for port, word in asked if word is not None}) > 1 and len(sure) == len(words)
    if of_two_sides and max(sure) - min(sure) <= _AGREE_US and min(sure) >= _least_step(leap):
        return round(median(sure))
    return leap - PACKET_US if leap > SILENCE_MAX_US else 0


def _went_by(reports: Sequence[Report], jump: Jump, step: int) -> bool:
    """Whether a sender's clock has gone on by what seems to be a step of ours."""
    at = bisect_left(reports, jump.offset, key=lambda report: report.offset)
    before = {report.ssrc: report for report in reports[max(0, at - _REPORTS) : at]}
    for report in reports[at : at + _REPORTS]:
        last = before.pop(report.ssrc, None)
        if last is not None and abs((report.time - last.time) - (report.clock - last.clock)) < step / 2:
            return True
    return False


def _least_step(leap: int) -> int:
    """Of what seems to be a step ahead: streams that make up for it afterwards were held up."""
    return max(leap - _LEAST_US, _LEAST_US)


_UNSURE = -(1 << 62)


def _asked(stream: Stream, jump: Jump, around: tuple[int, int | None], active_us: int) -> int | None:
    """How much higher the least delay of a stream is after the leap, microseconds.

    ``around``: where in the file the leap before and the next one are. None if the stream was not active before and
    after; ``_UNSURE`` if it did not go on as it was.
    """
    since, until = around
    bounds = [since, jump.offset] if until is None else [since, jump.offset, until]
    found = np.searchsorted(stream.offsets, bounds)
    first, at = int(found[0]), int(found[1])
    end = len(stream.offsets) if until is None else int(found[2])
    if first == at or at == end:
        return None
    if jump.before - stream.times[at - 1] > active_us or stream.times[at] - jump.after > active_us:
        return None
    further = (int(stream.sequences[at]) - int(stream.sequences[at - 1])) & 0xFFFF
    later = _signed(stream.timestamps[at : at + 1] - stream.timestamps[at - 1])[0] * _UNIT_US
    if not 0 < further <= _SEQUENCES_MAX or not 0 <= later <= 2 * active_us:
        return _UNSURE
    before, after = slice(max(first, at - _WINDOW), at), slice(at, min(end, at + _WINDOW))
    return _least(stream, after, at, at) - _least(stream, before, at - 1, at)


def _least(stream: Stream, some: slice, nearest: int, zero: int) -> int:
    """Least delay of some packets, timestamps counted from ``zero``; a forged one is far from ``nearest``."""
    delays = stream.times[some] - _signed(stream.timestamps[some] - stream.timestamps[zero]) * _UNIT_US
    return int(delays[np.abs(delays - delays[nearest - some.start]) <= _FORGED_US].min())


def _signed(timestamps: NDArray[np.uint32]) -> NDArray[np.int64]:
    return timestamps.view(np.int32).astype(np.int64)
