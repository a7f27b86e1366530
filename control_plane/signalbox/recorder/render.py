"""Captures become audio: all that was captured of a call, whole and in step. ``docs/design/recording.md`` says how.

Takes about 65 MB of memory and 25 MB for each hour of both sides. A packet may be 10 s late and still finds its place.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from signalbox.api.types.v1.recordings_pb2 import RecordedSide
from signalbox.recorder import clock, container, mixing, streams, timeline, whose
from signalbox.recorder.codecs import CLOCK, Kind
from signalbox.recorder.epochs import UNIT_US
from signalbox.recorder.mixing import Voice
from signalbox.recorder.pcap import PcapFile, UnreadableCaptureError
from signalbox.recorder.strangers import Gate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
    from signalbox.api.types.v1.types_pb2 import RecordingFormat
    from signalbox.recorder.rtp import Endpoint
    from signalbox.recorder.streams import Segment
    from signalbox.recorder.timeline import Laid

__all__ = ["Rendered", "SegmentFile", "UnreadableCaptureError", "render"]

MEDIA_NODE_DIED = "media_node_died"
"""A segment was not ended in order: its end may be missing."""
CAPTURE_DAMAGED = "capture_damaged"
"""A capture, or the rest of one, could not be read."""
CAPTURE_CUT = "capture_cut"
"""A segment that was ended in order ends within a packet: what came later could not be written."""
CODEC_UNKNOWN = "codec_unknown"
"""There were packets that could not be decoded."""
SIDES_UNCERTAIN = "sides_uncertain"
"""Nothing told which side was the caller."""
SOURCE_UNVERIFIED = "source_unverified"
"""A side was sent from elsewhere while the party's address was silent, and nothing told whether that was the party."""
CLOCK_UNSTEADY = "clock_unsteady"
"""The capturing machine's clock leapt too often to be followed."""
TOO_MANY_SOURCES = "too_many_sources"
"""There were more streams than a call can have; some are left out."""
TOO_LONG = "too_long"
"""What came later than a file can hold is left out."""

_LATEST = 48 * 3600 * CLOCK
"""Nothing is laid beyond, units: the longest file is shorter."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A part of a capture. ``whole``: rtpengine ended it in order."""

    path: Path
    whole: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was made of a capture."""

    start_ms: int
    """When the audio begins, milliseconds since 1970, by the media node's clock."""
    duration_ms: int
    sample_rate: int
    size_bytes: int
    sha256: str
    left: RecordedSide
    right: RecordedSide
    pauses: tuple[tuple[int, int], ...]
    """Begin and end of each, milliseconds since 1970. Time after a segment whose end is missing is none."""
    reasons: tuple[str, ...]
    """Why it is partial: constant names; empty: it is whole."""


@dataclass(slots=True)
class _Read:
    """What was read of one segment."""

    file: PcapFile
    segment: Segment
    complete: bool
    """All until an order to end is there: what follows is a pause."""
    first_us: int = 0
    last_us: int = 0


@dataclass(slots=True)
class _Channel:
    voices: list[Voice] = field(default_factory=list)
    ssrcs: set[int] = field(default_factory=set)
    heard: list[tuple[int, str]] = field(default_factory=list)
    side: RecordedSide = field(default_factory=RecordedSide)

    def add(self, ssrc: int, laid: Laid, file: PcapFile) -> None:
        tally, side = laid.tally, self.side
        side.packets += tally.packets
        side.lost += tally.lost
        side.gaps += tally.gaps
        side.duplicates += tally.duplicates
        side.undecodable += tally.undecodable
        side.digits += tally.digits
        if tally.packets:
            self.ssrcs.add(ssrc)
        self.heard += tally.codecs
        if len(laid.placed.positions):
            self.voices.append(Voice(laid.placed, file))

    def told(self) -> RecordedSide:
        self.side.sources = len(self.ssrcs)
        self.side.codecs.extend(dict.fromkeys(name for _, name in sorted(self.heard)))
        return self.side


def render(
    segments: Sequence[SegmentFile],
    facts: CallFacts,
    sides: Sequence[Side],
    format: RecordingFormat.ValueType,
    output: Path,
) -> Rendered:
    """Makes one stereo file of the segments of a call, in order of time: the caller left, the line right.

    ``output`` appears when it is complete. A call in which nobody sent anything gives a file without audio. Raises
    UnreadableCaptureError if not one packet can be read and not for that; OSError.
    """
    with ExitStack() as stack:
        reasons: dict[str, None] = {}
        gate = Gate(facts, sides)
        reads = _read(segments, stack, gate, reasons)
        left, right, begin, end, twice = _lay(reads, facts, sides, gate.strangers, reasons)
        rate = 2 * CLOCK if twice else CLOCK
        length = end - begin
        if length * (rate // CLOCK) > container.SAMPLES_MAX:
            reasons[TOO_LONG] = None
            length = container.SAMPLES_MAX // (rate // CLOCK)
        for voice in (*left.voices, *right.voices):
            voice.placed.positions -= begin
        blocks = mixing.stereo(left.voices, right.voices, length, twice=twice)
        written = container.write(output, format, rate, length * (rate // CLOCK), blocks)
        start_us = (reads[0].first_us + begin * UNIT_US) if reads else facts.answer_time.ToMicroseconds()
        return Rendered(
            start_ms=start_us // 1000,
            duration_ms=round(length * UNIT_US / 1000),
            sample_rate=rate,
            size_bytes=written.size,
            sha256=written.sha256,
            left=left.told(),
            right=right.told(),
            pauses=tuple(
                (before.last_us // 1000, after.first_us // 1000) for before, after in pairwise(reads) if before.complete
            ),
            reasons=tuple(reasons),
        )


def _read(segments: Sequence[SegmentFile], stack: ExitStack, gate: Gate, reasons: dict[str, None]) -> list[_Read]:
    """Reads all segments and puts them on one clock; those without RTP of a party are left out."""
    reads: list[_Read] = []
    unreadable: UnreadableCaptureError | None = None
    for part in segments:
        if not part.whole:
            reasons[MEDIA_NODE_DIED] = None
        try:
            file = stack.enter_context(PcapFile(part.path))
        except UnreadableCaptureError as error:
            # A writer that was killed at once has not written as much as a head.
            if part.whole or part.path.stat().st_size:
                reasons[CAPTURE_DAMAGED] = None
                unreadable = unreadable or error
            _leave_hole(reads)
            continue
        segment = streams.scan(file, gate)
        if file.cut and part.whole:
            reasons[CAPTURE_CUT] = None
        if file.damaged:
            reasons[CAPTURE_DAMAGED] = None
            unreadable = unreadable or UnreadableCaptureError(f"{part.path.name}: damaged")
        if segment.unsteady:
            reasons[CLOCK_UNSTEADY] = None
        reads.append(_Read(file, segment, complete=part.whole and not file.cut and not file.damaged))
    streams.settle([read.segment for read in reads], gate)
    unverified, left_out = gate.close()
    if unverified:
        reasons[SOURCE_UNVERIFIED] = None
    if left_out or any(read.segment.ignored for read in reads):
        reasons[TOO_MANY_SOURCES] = None
    if unreadable is not None and not gate.strangers and not any(read.segment.streams for read in reads):
        raise unreadable
    return _in_order(_on_one_clock(reads))


def _on_one_clock(reads: Sequence[_Read]) -> list[_Read]:
    """Those that have packets, times as the clock was at first."""
    kept: list[_Read] = []
    ahead = 0
    for read in reads:
        ahead = clock.straighten(read.segment, ahead)
        if read.segment.streams:
            times = [stream.times for stream in read.segment.streams]
            read.first_us, read.last_us = min(int(some.min()) for some in times), max(int(some.max()) for some in times)
            kept.append(read)
        if not read.complete:
            _leave_hole(kept)
    return kept


def _leave_hole(reads: list[_Read]) -> None:
    """Something is missing after what was read so far: the time until the next packet is no pause."""
    if reads:
        reads[-1].complete = False


def _in_order(reads: list[_Read]) -> list[_Read]:
    """Segments don't overlap: where the clock was set back in a pause, the next one follows at once."""
    end = None
    for read in reads:
        if end is not None and read.first_us < end + clock.PACKET_US:
            back = end + clock.PACKET_US - read.first_us
            read.first_us += back
            read.last_us += back
            for stream in read.segment.streams:
                stream.times += back
        end = read.last_us
    return reads


def _lay(
    reads: Sequence[_Read],
    facts: CallFacts,
    sides: Sequence[Side],
    strangers: Mapping[int, int],
    reasons: dict[str, None],
) -> tuple[_Channel, _Channel, int, int, bool]:
    """Both channels, where audio begins and ends, units since the first packet, and whether there is G.722."""
    left, right, twice = _Channel(), _Channel(), False
    sources = _sources(reads)
    for port in strangers:
        sources.setdefault(port, set())
    callers, certain = whose.decide(sources, facts, sides)
    for port, packets in strangers.items():
        (left if port in callers else right).side.strangers += packets
    if not certain:
        reasons[SIDES_UNCERTAIN] = None
    codecs = {side.local_port: side.codec for side in sides}
    starts, ends = [], []
    for read in reads:
        while read.segment.streams:
            stream = read.segment.streams.pop(0)
            laid = timeline.lay(stream, read.file.data, codecs.get(stream.key.port, ""), reads[0].first_us)
            (left if stream.key.port in callers else right).add(stream.key.ssrc, laid, read.file)
            twice = twice or bool((laid.placed.kinds == Kind.G722).any())
            if laid.tally.packets:
                starts.append(laid.start)
                ends.append(min(laid.end, _LATEST))
        read.file.forget()
    if left.side.undecodable or right.side.undecodable:
        reasons[CODEC_UNKNOWN] = None
    begin = min(starts, default=0)
    return left, right, begin, max([begin, *ends]), twice


def _sources(reads: Sequence[_Read]) -> dict[int, set[Endpoint]]:
    """Where the packets to each port came from, ports as they were used first."""
    found: dict[int, set[Endpoint]] = {}
    for read in reads:
        for stream in sorted(read.segment.streams, key=lambda stream: int(stream.times[0])):
            found.setdefault(stream.key.port, set()).add(stream.key.source)
    return found
