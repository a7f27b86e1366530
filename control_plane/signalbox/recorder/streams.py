"""The RTP streams of one segment of a capture: packets sorted out by port, source and SSRC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from signalbox.recorder import rtp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from signalbox.recorder.pcap import PcapFile
    from signalbox.recorder.rtp import Endpoint, Packets, Reports
    from signalbox.recorder.strangers import Gate

SOURCES_MAX = 1_000
"""Streams of a segment; packets of further ones are left out. A call has two to ten."""
JUMP_US = 200_000
"""From one packet of a capture to the next: so much time, forward or back, may be a step of the clock."""
REPORTS_MAX = 20_000
"""Sender reports of a segment that are kept: a call of twelve hours sends fewer."""
JUMPS_MAX = 20_000


class Key(NamedTuple):
    """What tells streams apart."""

    port: int
    source: Endpoint
    ssrc: int


class Report(NamedTuple):
    """A sender's word on the time that went by."""

    offset: int
    """Where it is in the file."""
    time: int
    """Arrival, microseconds."""
    ssrc: int
    clock: int
    """The sender's own, microseconds."""


class Jump(NamedTuple):
    """A place in a file where time makes a leap."""

    offset: int
    """What is at this byte or later came after it."""
    before: int
    """When the last packet before was captured, microseconds."""
    after: int
    """When the next one was."""


@dataclass(slots=True)
class Stream:
    """RTP packets of one SSRC from one source to one port, in the order of the file."""

    key: Key
    times: NDArray[np.int64]
    """Arrival, microseconds."""
    offsets: NDArray[np.int64]
    """Where payloads begin in the file."""
    sizes: NDArray[np.uint16]
    sequences: NDArray[np.uint16]
    timestamps: NDArray[np.uint32]
    payload_types: NDArray[np.uint8]


@dataclass(slots=True)
class Segment:
    """What is in one file."""

    streams: list[Stream] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    """In the order of the file."""
    ignored: int = 0
    """RTP packets from known sources beyond ``SOURCES_MAX`` streams."""
    unsteady: bool = False
    """There are more than ``JUMPS_MAX`` jumps."""


def scan(file: PcapFile, gate: Gate) -> Segment:
    """Reads a file once, from its beginning to its end; what it takes of memory is 25 bytes for each packet.

    Packets that ``gate`` refuses are left out, and ``settle`` does the rest of that.
    """
    segment = Segment()
    known: dict[Key, list[Stream]] = {}
    unknown: dict[Key, list[Stream]] = {}
    last = 0
    gate.next_segment()
    for records in file.blocks():
        last = _note_jumps(segment, records.starts, records.times, last)
        packets = rtp.parse(file.data, records)
        _keep_reports(segment, packets.reports)
        groups = [(_key(file, packets, group), group) for group in _sorted_out(packets)]
        others = []
        ends: dict[int, int] = {}
        for key, group in groups:
            if gate.knows(key.port, key.source):
                ends[key.port] = max(ends.get(key.port, 0), int(group[-1]))
                segment.ignored += _add(known, key, packets, group)
            else:
                others.append((key, group))
        for port, end in ends.items():
            gate.hear(port, int(packets.times[end]))
        for key, group in others:
            if gate.admits(key.port, key.source, int(packets.times[group[0]]), len(group)):
                gate.leave_out(key.port, _add(unknown, key, packets, group))
        for key in [key for key in unknown if gate.refuses(key.port, key.source)]:
            gate.count(key.port, sum(len(part.times) for part in unknown.pop(key)))
        file.forget()
    for parts in (known, unknown):
        for key in list(parts):
            segment.streams.append(_joined(key, parts.pop(key)))
    segment.streams.sort(key=lambda stream: int(stream.offsets[0]))
    return segment


def settle(segments: Iterable[Segment], gate: Gate) -> None:
    """Takes out what turned out to be of strangers when all segments were read."""
    for segment in segments:
        for stream in segment.streams:
            if gate.refuses(stream.key.port, stream.key.source):
                gate.count(stream.key.port, len(stream.times))
        segment.streams = [stream for stream in segment.streams if not gate.refuses(stream.key.port, stream.key.source)]


def _keep_reports(segment: Segment, reports: Reports) -> None:
    some = slice(max(0, REPORTS_MAX - len(segment.reports)))
    columns = (reports.ips[some], reports.times[some], reports.ssrcs[some], reports.clocks[some])
    segment.reports += map(Report._make, zip(*(column.tolist() for column in columns), strict=True))


def _key(file: PcapFile, packets: Packets, group: NDArray[np.int64]) -> Key:
    first = group[0]
    return Key(int(packets.ports[first]), rtp.source(file.data, int(packets.ips[first])), int(packets.ssrcs[first]))


def _add(parts: dict[Key, list[Stream]], key: Key, packets: Packets, group: NDArray[np.int64]) -> int:
    """Adds packets of a stream; gives how many there was no room for."""
    if key not in parts and len(parts) >= SOURCES_MAX:
        return len(group)
    parts.setdefault(key, []).append(_picked(key, packets, group))
    return 0


def _note_jumps(segment: Segment, starts: NDArray[np.int64], times: NDArray[np.int64], last: int) -> int:
    """Notes where the clock leaps; gives the time of the last packet."""
    steps = np.diff(times, prepend=last or times[0])
    for index in np.flatnonzero(np.abs(steps) > JUMP_US):
        if len(segment.jumps) == JUMPS_MAX:
            segment.unsteady = True
            break
        after = int(times[index])
        segment.jumps.append(Jump(int(starts[index]), after - int(steps[index]), after))
    return int(times[-1])


def _sorted_out(packets: Packets) -> list[NDArray[np.int64]]:
    """Indices of the packets of each stream, streams as they come."""
    if not len(packets.times):
        return []
    # In a block are fewer sources than 16 bits count.
    _, sources = np.unique(packets.sources, return_inverse=True)
    keys = packets.ports.astype(np.uint64) << np.uint64(48) | packets.ssrcs.astype(np.uint64) << np.uint64(16)
    keys |= sources.astype(np.uint64)
    order = np.argsort(keys, kind="stable")
    bounds = np.flatnonzero(np.diff(keys[order])) + 1
    return sorted(np.split(order, bounds), key=lambda group: int(group[0]))


def _picked(key: Key, packets: Packets, some: NDArray[np.int64]) -> Stream:
    return Stream(
        key,
        packets.times[some],
        packets.offsets[some],
        packets.sizes[some],
        packets.sequences[some],
        packets.timestamps[some],
        packets.payload_types[some],
    )


def _joined(key: Key, parts: list[Stream]) -> Stream:
    return Stream(
        key,
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.sequences for part in parts]),
        np.concatenate([part.timestamps for part in parts]),
        np.concatenate([part.payload_types for part in parts]),
    )
