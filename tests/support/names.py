"""A name server of a test's own: names whose addresses change when the test says so."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

A = 1
INTERNET = 1
ANSWER, NO_SUCH_NAME = 0x8580, 0x8583
"""QR, AA, RD, RA, and the code (RFC 1035 section 4.1.1)."""


class Names(asyncio.DatagramProtocol):
    """``addresses``: IPv4 addresses by name. Answers are not to be kept (TTL 0)."""

    def __init__(self) -> None:
        self.addresses: dict[str, Sequence[str]] = {}
        self.asked = 0
        self.address = ""
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def start(cls) -> Names:
        """Listen on a free port of loopback."""
        loop = asyncio.get_running_loop()
        transport, self = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        self._transport = transport
        self.address = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        return self

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = 12
        labels = []
        while length := data[end]:
            labels.append(data[end + 1 : end + 1 + length].decode())
            end += 1 + length
        (kind, _) = struct.unpack("!HH", data[end + 1 : end + 5])
        known = self.addresses.get(".".join(labels).lower())
        found = [] if known is None or kind != A else known
        self.asked += 1
        answer = data[:2] + struct.pack("!HHHHH", ANSWER if known is not None else NO_SUCH_NAME, 1, len(found), 0, 0)
        answer += data[12 : end + 5]
        for one in found:
            answer += struct.pack("!HHHIH", 0xC00C, A, INTERNET, 0, 4) + ipaddress.ip_address(one).packed
        self._transport.sendto(answer, addr)
