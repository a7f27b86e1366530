"""RTP as it arrives at this machine: captured from the network, put together into streams (RFC 3550).

Capturing needs the right to open packet sockets (root, or CAP_NET_RAW): a process has no other way to hear what another
one's socket receives. IPv4 only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

PCMA = 8
"""Payload type of A-law (RFC 3551)."""
FRAME = 160
"""Bytes of A-law, and ticks of its clock, in a packet of 20 ms."""

Endpoint = tuple[str, int]


class CaptureError(Exception):
    """The network cannot be captured."""


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


def parse(datagram: bytes) -> Packet | None:
    """The RTP packet in an IPv4 packet; None if it is something else or cut short."""
    if len(datagram) < 20 or datagram[0] >> 4 != 4:
        return None
    header = (datagram[0] & 0x0F) * 4
    rtp = datagram[header + 8 : header + struct.unpack_from("!H", datagram, 2)[0]]
    if datagram[9] != socket.IPPROTO_UDP or len(rtp) < 12 or rtp[0] >> 6 != 2:
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
    source_port, destination_port = struct.unpack_from("!HH", datagram, header)
    return Packet(
        source=(socket.inet_ntoa(datagram[12:16]), source_port),
        destination=(socket.inet_ntoa(datagram[16:20]), destination_port),
        ssrc=ssrc,
        sequence=sequence,
        timestamp=timestamp,
        payload_type=rtp[1] & 0x7F,
        payload=rtp[start:end],
    )


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


class Capture:
    """Collects the A-law RTP packets that arrive at this machine, loopback included, while it is open."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self.packets: list[Packet] = []

    @classmethod
    def open(cls) -> Self:
        """Begin. Needs a running event loop. Raises CaptureError if packet sockets are not allowed."""
        try:
            # ETH_P_IP, not ETH_P_ALL: that would see what is sent on loopback as well, and so everything twice.
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        except OSError as error:
            raise CaptureError(f"cannot capture RTP (root or CAP_NET_RAW is needed): {error}") from error
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        _attach(raw, _ONLY_A_LAW)
        self = cls(raw)
        asyncio.get_running_loop().add_reader(raw, self._read)
        return self

    def close(self) -> None:
        """End, with what the kernel has still got."""
        if self._raw.fileno() >= 0:
            self._read()
            asyncio.get_running_loop().remove_reader(self._raw)
            self._raw.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = parse(self._raw.recv(2048))
                if packet is not None:
                    self.packets.append(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_BUFFER_BYTES = 4 << 20

# Classic BPF (kernel: Documentation/networking/filter.rst): opcode, jump if true, jump if false, constant. UDP, no
# fragment, RTP version 2, payload type PCMA; everything else is dropped in the kernel, however busy the machine is.
_ONLY_A_LAW = (
    (0x30, 0, 0, 9),
    (0x15, 0, 9, socket.IPPROTO_UDP),
    (0x28, 0, 0, 6),
    (0x45, 7, 0, 0x1FFF),
    (0xB1, 0, 0, 0),
    (0x50, 0, 0, 8),
    (0x54, 0, 0, 0xC0),
    (0x15, 0, 3, 0x80),
    (0x50, 0, 0, 9),
    (0x54, 0, 0, 0x7F),
    (0x15, 1, 0, PCMA),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFF),
)


def _attach(raw: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))
