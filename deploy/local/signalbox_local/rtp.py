"""RTP as it arrives at this machine: captured from the network, put together into streams (RFC 3550)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.capture import DROP, KEEP, Capture, udp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox_local.capture import Endpoint

PCMA = 8
"""Payload type of A-law (RFC 3551)."""
FRAME = 160
"""Bytes of A-law, and ticks of its clock, in a packet of 20 ms."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet."""

    source: Endpoint
    destination: Endpoint
    ssrc: int
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """The packets of one source at one destination."""

    source: Endpoint
    destination: Endpoint
    ssrc: int
    audio: bytes
    """Payloads at the places that their timestamps give, from the first on; ``filling`` where one is missing."""
    packets: int
    lost: int
    """Sequence numbers between the first and the last that never came."""


def parse(datagram: bytes, arrival: float = 0.0) -> Packet | None:
    """The RTP packet in an IPv4 packet; None if it is something else or cut short."""
    if (found := udp(datagram)) is None:
        return None
    source, destination, rtp = found
    if len(rtp) < 12 or rtp[0] >> 6 != 2:
        return None
    start = 12 + (rtp[0] & 0x0F) * 4
    if rtp[0] & 0x10:
        if len(rtp) < start + 4:
            return None
        start += 4 + struct.unpack_from("!H", rtp, start + 2)[0] * 4
    end = len(rtp) - (rtp[-1] if rtp[0] & 0x20 else 0)
    if end < start:
        return None
    sequence, timestamp, ssrc = struct.unpack_from("!HII", rtp, 2)
    return Packet(source, destination, ssrc, sequence, timestamp, rtp[1] & 0x7F, rtp[start:end])


def streams(packets: Iterable[Packet], filling: int) -> list[Stream]:
    """Streams in the order of their first packets, whose audio has a byte per tick of the clock (G.711)."""
    groups: dict[tuple[Endpoint, Endpoint, int], list[Packet]] = {}
    for packet in packets:
        groups.setdefault((packet.source, packet.destination, packet.ssrc), []).append(packet)
    return [_stream(group, filling) for group in groups.values()]


def _stream(packets: list[Packet], filling: int) -> Stream:
    first = packets[0]
    audio = bytearray()
    seen: set[int] = set()
    for packet in packets:
        # Differences are taken modulo the size of the field, so that it may wrap around.
        seen.add((packet.sequence - first.sequence + 0x8000) % 0x10000)
        place = (packet.timestamp - first.timestamp) % 0x100000000
        if place >= 0x80000000:
            continue
        audio.extend(bytes([filling]) * (place + len(packet.payload) - len(audio)))
        audio[place : place + len(packet.payload)] = packet.payload
    lost = max(seen) - min(seen) + 1 - len(seen)
    return Stream(first.source, first.destination, first.ssrc, bytes(audio), len(packets), lost)


def capture() -> Capture[Packet]:
    """Begin to collect the A-law RTP packets that arrive at this machine. Raises CaptureError."""
    return Capture.open(_ONLY_A_LAW, parse)


# RTP version 2, payload type PCMA: everything else is dropped in the kernel, however busy the machine is.
_ONLY_A_LAW = (
    (0x50, 0, 0, 8),
    (0x54, 0, 0, 0xC0),
    (0x15, 0, 3, 0x80),
    (0x50, 0, 0, 9),
    (0x54, 0, 0, 0x7F),
    (0x15, 1, 0, PCMA),
    DROP,
    KEEP,
)
