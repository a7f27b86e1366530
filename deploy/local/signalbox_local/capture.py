"""Packets as they arrive at this machine, chosen by a filter in the kernel, with the kernel's own time of arrival.

Capturing needs the right to open packet sockets (root, or CAP_NET_RAW): a process has no other way to hear what another
one's socket receives. IPv4 and UDP only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

PacketT = TypeVar("PacketT")
Endpoint = tuple[str, int]
Instruction = tuple[int, int, int, int]
"""Of classic BPF (kernel: Documentation/networking/filter.rst): opcode, jumps if true and if false, constant."""


class CaptureError(Exception):
    """The network cannot be captured."""


class Capture(Generic[PacketT]):
    """Collects in ``packets`` what arrives at this machine, loopback included, while it is open."""

    def __init__(self, raw: socket.socket, parse: Callable[[bytes, float], PacketT | None]) -> None:
        self._raw = raw
        self._parse = parse
        self.packets: list[PacketT] = []

    @classmethod
    def open(cls, payload: tuple[Instruction, ...], parse: Callable[[bytes, float], PacketT | None]) -> Self:
        """Begin. Needs a running event loop. Raises CaptureError if packet sockets are not allowed.

        ``payload`` looks at unfragmented UDP packets, with the length of the IP header in X, and ends with the
        instructions :data:`DROP` and :data:`KEEP`. ``parse`` makes of an IPv4 packet and its time of arrival (seconds
        since 1970) what is collected, or None of what does not matter.
        """
        try:
            # ETH_P_IP, not ETH_P_ALL: that would see what is sent on loopback as well, and so everything twice.
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        except OSError as error:
            raise CaptureError(f"cannot capture packets (root or CAP_NET_RAW is needed): {error}") from error
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _attach(raw, (*_unfragmented_udp(len(payload)), *payload))
        self = cls(raw, parse)
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
                datagram, ancillary, _, _ = self._raw.recvmsg(_LONGEST, _ANCILLARY_BYTES)
                packet = self._parse(datagram, _arrival(ancillary))
                if packet is not None:
                    self.packets.append(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def udp(datagram: bytes) -> tuple[Endpoint, Endpoint, bytes] | None:
    """Source, destination and payload of an IPv4 packet with UDP; None if it is something else or cut short."""
    if len(datagram) < 20 or datagram[0] >> 4 != 4 or datagram[9] != socket.IPPROTO_UDP:
        return None
    header = (datagram[0] & 0x0F) * 4
    if len(datagram) < header + 8:
        return None
    source_port, destination_port = struct.unpack_from("!HH", datagram, header)
    payload = datagram[header + 8 : struct.unpack_from("!H", datagram, 2)[0]]
    source = socket.inet_ntoa(datagram[12:16]), source_port
    return source, (socket.inet_ntoa(datagram[16:20]), destination_port), payload


DROP: Instruction = (0x06, 0, 0, 0)
KEEP: Instruction = (0x06, 0, 0, 0xFFFF)

_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_BUFFER_BYTES = 4 << 20
_LONGEST = 4096


def _unfragmented_udp(instructions: int) -> tuple[Instruction, ...]:
    """What comes before a filter of so many instructions, of which the last but one is DROP."""
    drop = instructions - 2
    return (
        (0x30, 0, 0, 9),
        (0x15, 0, drop + 3, socket.IPPROTO_UDP),
        (0x28, 0, 0, 6),
        (0x45, drop + 1, 0, 0x1FFF),
        (0xB1, 0, 0, 0),
    )


def _attach(raw: socket.socket, program: tuple[Instruction, ...]) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("ll", data[:16])
            return float(seconds + nanoseconds / 1e9)
    return 0.0
