"""What a recording was made of against what its media node has now. No I/O."""

from __future__ import annotations

from enum import Enum

from signalbox.api.recording.v1.recording_pb2 import Capture, Segment


class Fit(Enum):
    """What a capture is to a recording that is stored."""

    COVERED = "covered"
    """All that it has is in the recording."""
    GROWN = "grown"
    """It has what the recording was made of, and more: a recording of it all can take the place of the other."""
    SEVERED = "severed"
    """It has more, and something of what the recording was made of is gone."""


def summary(capture: Capture) -> bytes:
    """What is kept of a capture with the recording that is made of it."""
    segments = [Segment(name=one.name, size_bytes=one.size_bytes) for one in capture.segments]
    return Capture(start_time=capture.start_time, segments=segments).SerializeToString()


def compare(kept: bytes | None, capture: Capture) -> Fit:
    """``kept``: :func:`summary` of what the recording was made of; what is not known of is covered.

    Names alone tell nothing: a node that has deleted a capture may use them again for the same call.
    """
    if kept is None:
        return Fit.COVERED
    old = Capture.FromString(kept)
    now = {one.name: one.size_bytes for one in capture.segments}
    before = {one.name: one.size_bytes for one in old.segments}
    same = old.start_time == capture.start_time
    if not now or (same and all(before.get(name, -1) >= size for name, size in now.items())):
        return Fit.COVERED
    if same and all(now.get(name, -1) >= size for name, size in before.items()):
        return Fit.GROWN
    return Fit.SEVERED
