"""A UDP socket on loopback for requests of ours to our own proxy, and the replies to them."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from abc import ABC, abstractmethod

from signalbox import address

_BRANCH = re.compile(rb"^v(?:ia)?\s*:[^\r\n]*?;branch=([^;,\s]+)", re.IGNORECASE | re.MULTILINE)


class SipSocket(asyncio.DatagramProtocol, ABC):
    """Sends to ``proxy``, host and port. Replies are known by the branch of our Via (RFC 3261 section 17.1.3)."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        self._proxy = proxy
        self._transport: asyncio.DatagramTransport | None = None
        self._address = ""

    async def open(self) -> None:
        """Bind a free port of the loopback address. Raises OSError."""
        family, host = (socket.AF_INET6, "::1") if ":" in self._proxy[0] else (socket.AF_INET, "127.0.0.1")
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0), family=family)
        self._transport = transport
        self._address = address.join(*transport.get_extra_info("sockname")[:2])

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def via(self) -> tuple[str, bytes]:
        """A Via header field for a new request, and its branch."""
        branch = f"z9hG4bK{secrets.token_hex(12)}"
        return f"Via: SIP/2.0/UDP {self._address};branch={branch}", branch.encode()

    def transmit(self, message: bytes) -> None:
        """Send a message."""
        assert self._transport is not None
        self._transport.sendto(message, self._proxy)

    @abstractmethod
    def replied(self, branch: bytes, code: int) -> None:
        """A final reply has come; its top Via has this branch."""

    def datagram_received(self, data: bytes, address: object) -> None:
        """Part of asyncio's protocol."""
        branch = _BRANCH.search(data)
        code = data[8:11]
        if branch is not None and data.startswith(b"SIP/2.0 ") and code.isdigit() and code >= b"200":
            self.replied(branch[1], int(code))
