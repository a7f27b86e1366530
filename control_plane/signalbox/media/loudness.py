"""When a caller was last heard, by what rtpengine has captured of the call: G.711 that is loud enough. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from signalbox.g711 import A_LAW, MU_LAW

if TYPE_CHECKING:
    from collections.abc import Iterator

THRESHOLD_DBM0 = -45.0
"""Below is silence. Speech is to arrive at about -20 dBm0 (-26 dBov, ITU-T P.830); what lies 15.9 dB below somebody's
active level is no speech (ITU-T P.56 section 4), so even who is heard 9 dB too low is not cut off."""
RUN = 2
"""So many packets in a row must be loud: one is a click."""

_FULL_DBM0 = 3.14
"""A sine that just does not overload (ITU-T G.711 section 6; µ-law: 3.17)."""
_LOUD = 32_768**2 / 2 * 10 ** ((THRESHOLD_DBM0 - _FULL_DBM0) / 10)
"""Least mean square of samples that are loud."""
_SQUARES = {
    0: [int(sample) ** 2 for sample in MU_LAW.decoded],
    8: [int(sample) ** 2 for sample in A_LAW.decoded],
}
"""Of each code, by the payload type (RFC 3551 section 6)."""
_COMFORT_NOISE = 13
_EVENT_BYTES = 4
"""No codec has so little in a packet that says something: keys (RFC 4733), discontinued transmission."""

_FILE_HEAD = 24
_RECORD_HEAD = struct.Struct("<IIII")
_RECORD_BYTES_MAX = 65_535
_IPV4 = 4
_IPV6_HEAD = 40
_UDP_HEAD = 8
_RTP_HEAD = 12
_RTCP, _RTCP_END = 64, 96
"""Second bytes of RTCP (RFC 5761 section 4)."""


class Loudness:
    """Of one file of packets as rtpengine writes it, which may still grow. Times are microseconds since 1970."""

    def __init__(self) -> None:
        self.first_us = 0
        """The first packet; 0: none has come."""
        self.last_us = 0
        """The latest packet."""
        self.sound_us = 0
        """The latest one that was heard; 0: none was."""
        self.position = 0
        """Bytes that were taken in."""
        self._begun = False
        self._rest = b""
        self._run = 0

    def feed(self, content: bytes) -> None:
        """What follows in the file."""
        self.position += len(content)
        content = self._rest + content
        at = 0
        if not self._begun:
            if len(content) < _FILE_HEAD:
                self._rest = content
                return
            self._begun, at = True, _FILE_HEAD
        for end, time_us, packet in _records(content, at):
            self._take(time_us, packet)
            at = end
        self._rest = content[at:]

    def _take(self, time_us: int, packet: bytes) -> None:
        found = _payload(packet)
        if found is None:
            return
        self.first_us = self.first_us or time_us
        self.last_us = max(self.last_us, time_us)
        kind, payload = found
        if len(payload) <= _EVENT_BYTES:
            return
        self._run = self._run + 1 if _is_loud(kind, payload) else 0
        if self._run >= RUN:
            self.sound_us = max(self.sound_us, time_us)


def until(content: bytes, time_us: int) -> int:
    """Bytes of a whole file up to the last packet of this time or before."""
    kept = min(_FILE_HEAD, len(content))
    for end, packet_us, _ in _records(content, _FILE_HEAD):
        if packet_us > time_us:
            break
        kept = end
    return kept


def _records(content: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Whole records from a position on: where each ends, its time and its IP packet."""
    while at + _RECORD_HEAD.size <= len(content):
        seconds, micros, size, _ = _RECORD_HEAD.unpack_from(content, at)
        start = at + _RECORD_HEAD.size
        at = start + size
        if size > _RECORD_BYTES_MAX or at > len(content):
            return
        yield at, seconds * 1_000_000 + micros, content[start:at]


def _payload(packet: bytes) -> tuple[int, bytes] | None:
    """Payload type and payload of an RTP packet (RFC 3550 section 5.1) in UDP; None: it is none."""
    udp = (packet[0] & 0x0F) * 4 if packet[:1] and packet[0] >> 4 == _IPV4 else _IPV6_HEAD
    rtp = udp + _UDP_HEAD
    head = packet[rtp : rtp + _RTP_HEAD]
    if len(head) < _RTP_HEAD or head[0] >> 6 != 2 or _RTCP <= head[1] & 0x7F < _RTCP_END:
        return None
    begin, end = rtp + _RTP_HEAD + 4 * (head[0] & 0x0F), len(packet)
    if head[0] & 0x10:
        begin += 4 + 4 * int.from_bytes(packet[begin + 2 : begin + 4], "big")
    if head[0] & 0x20:
        end -= packet[-1]
    return head[1] & 0x7F, packet[begin:end]


def _is_loud(kind: int, payload: bytes) -> bool:
    squares = _SQUARES.get(kind)
    if squares is None:
        # How loud another codec is cannot be told.
        return kind != _COMFORT_NOISE
    return sum(map(squares.__getitem__, payload)) >= _LOUD * len(payload)
