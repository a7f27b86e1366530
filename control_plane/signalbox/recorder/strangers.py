"""Packets of a call's parties told from those of strangers.

rtpengine captures all that comes to a port, what it drops for its source too. What nobody in the call could hear must
not be in its recording. Where a port takes packets from is told by the media node, which looks now and then; of a port
that it tells nothing of, the addresses that were in the SDP are taken. While such an address sends, others are
strangers. One that is not known and follows when those that are have stopped may be a party that moved after the last
look: it is kept and said. A port that nothing known ever sent to takes all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.recorder import whose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
    from signalbox.recorder.rtp import Endpoint

WAITING_MAX = 1_000
"""Unknown sources of which it is not known yet whether a known one goes on sending; more are left out."""
MOVE_US = 1_000_000
"""A party that moves may still send from where it was for so long."""

_REMEMBERED_MAX = 10_000
"""Strangers that are known again; with more than that every unknown source is one, where a known one has sent."""


class Gate:
    """Decides on the packets of one call, segments and packets in their order."""

    def __init__(self, facts: CallFacts, sides: Iterable[Side]) -> None:
        self.strangers: dict[int, int] = {}
        """Packets of strangers by the port that they came to."""
        self._told: dict[int, set[Endpoint]] = {}
        for side in sides:
            ends = {end for text in side.endpoints if (end := whose.endpoint(text)) is not None}
            self._told.setdefault(side.local_port, set()).update(ends)
        named = (whose.endpoint(facts.caller_media), whose.endpoint(facts.line_media))
        self._named = {end for end in named if end is not None}
        self._segment = 0
        self._heard: dict[int, tuple[int, int]] = {}
        """Segment and time of the last packet from a known source to each port."""
        self._since: dict[tuple[int, Endpoint], tuple[int, int]] = {}
        """The same of the first packet of sources that wait to be decided on."""
        self._refused: set[tuple[int, Endpoint]] = set()
        self._left_out: dict[int, int] = {}

    def next_segment(self) -> None:
        """What comes now is of another segment."""
        self._segment += 1

    def knows(self, port: int, source: Endpoint) -> bool:
        """Whether a source is one of those that rtpengine took packets from."""
        return source in (self._told.get(port) or self._named)

    def hear(self, port: int, time_us: int) -> None:
        """A known source has sent until then."""
        self._heard[port] = (self._segment, time_us)

    def admits(self, port: int, source: Endpoint, time_us: int, packets: int) -> bool:
        """Whether packets of an unknown source, the first of them of ``time_us``, may be a party's; counts others."""
        who = (port, source)
        if who not in self._refused and who not in self._since:
            if len(self._since) >= WAITING_MAX or (len(self._refused) >= _REMEMBERED_MAX and port in self._heard):
                self.leave_out(port, packets)
                return False
            self._since[who] = (self._segment, time_us)
        if self.refuses(port, source):
            self.count(port, packets)
            return False
        return True

    def refuses(self, port: int, source: Endpoint) -> bool:
        """Whether a source is a stranger, by what is known so far."""
        who = (port, source)
        since, heard = self._since.get(who), self._heard.get(port)
        if since is None or heard is None:
            return who in self._refused
        stranger = heard[0] > since[0] or heard[1] - since[1] > MOVE_US
        if stranger:
            del self._since[who]
            self._refused.add(who)
        return stranger

    def leave_out(self, port: int, packets: int) -> None:
        """There was no room for these: of strangers if a known source has sent there when all is over."""
        if packets:
            self._left_out[port] = self._left_out.get(port, 0) + packets

    def count(self, port: int, packets: int) -> None:
        """So many packets to a port were of strangers."""
        self.strangers[port] = self.strangers.get(port, 0) + packets

    def close(self) -> tuple[bool, int]:
        """Nothing comes any more: whether sources are kept that could not be verified, and how many packets of what
        may have been parties were left out."""
        left_out = 0
        for port, packets in self._left_out.items():
            if port in self._heard:
                self.count(port, packets)
            else:
                left_out += packets
        kept = {port for port, source in list(self._since) if not self.refuses(port, source)}
        return any(port in self._heard or self._told.get(port) for port in kept), left_out
