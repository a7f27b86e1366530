"""IP packets as a capture gives them."""

from __future__ import annotations

import socket
import struct

Endpoint = tuple[str, int]


def ipv4(
    payload: bytes,
    *,
    source: Endpoint = ("192.0.2.1", 1000),
    destination: Endpoint = ("192.0.2.2", 2000),
    protocol: int = 17,
    options: bytes = b"",
    version: int = 4,
) -> bytes:
    """An IPv4 packet with a UDP header."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    head = 20 + len(options)
    return (
        struct.pack("!BBHHHBBH", version << 4 | head // 4, 0, head + len(udp), 0, 0, 64, protocol, 0)
        + socket.inet_aton(source[0])
        + socket.inet_aton(destination[0])
        + options
        + udp
    )
