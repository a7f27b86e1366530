"""Sound of a test call: RTP (RFC 3550) in A-law that is like no other, so that who hears it knows whose it is.

What is sent are the two smallest codes in random order: 160 random bits a packet, and no louder than a hiss. A media
node passes G.711 on code by code, so the packets of one party are known again at the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.errors import ConfigurationError
from signalbox.sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.source import Address

FRAME = 160
"""Codes in a packet: 20 ms."""
FRAME_S = 0.02
PCMA = 8
"""Payload type of A-law (RFC 3551 section 6)."""

_DIFFERENT = 50
"""Packets until the sound begins anew: a second of it."""
_CODES = (0xD5, 0x55)
_HEADER = struct.Struct("!BBHII")


class Sound(asyncio.DatagramProtocol):
    """One socket, which says its own sound again and again as soon as it is told to whom."""

    def __init__(self) -> None:
        self.frames = tuple(_frame() for _ in range(_DIFFERENT))
        self.target: Address | None = None
        """Where it sends to."""
        self._heard: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._talking: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._ssrc = secrets.randbits(32)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator[Sound]:
        """At an IP address; port 0 is a free one. Raises ConfigurationError if the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            _, sound = await loop.create_datagram_endpoint(cls, local_addr=(host, port))
        except OSError as error:
            raise ConfigurationError(f"rtp udp {address.join(host, port)}: {error}") from error
        try:
            yield sound
        finally:
            await sound._close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """The socket is open (asyncio calls this)."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed (asyncio calls this)."""
        self._closed.set()

    def datagram_received(self, data: bytes, source: Address) -> None:
        """A datagram has come (asyncio calls this): RTCP and whatever is no A-law is left alone."""
        if len(data) == _HEADER.size + FRAME and data[0] == 0x80 and data[1] & 0x7F == PCMA:
            self._heard.append(data[_HEADER.size :])

    @property
    def local(self) -> Address:
        """Where it listens."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return str(host), int(port)

    def description(self) -> SessionDescription:
        """What it offers, or answers (RFC 8866)."""
        host, port = self.local
        family = "IP6" if ":" in host else "IP4"
        lines = [
            "v=0",
            f"o=- {secrets.randbits(31)} 1 IN {family} {host}",
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {PCMA}",
            f"a=rtpmap:{PCMA} PCMA/8000",
            "a=ptime:20",
            "a=sendrecv",
            "",
        ]
        return SessionDescription.parse("\r\n".join(lines))

    def talk_to(self, target: Address) -> None:
        """Begin to speak."""
        self.target = target
        if self._talking is None:
            self._talking = asyncio.create_task(self._talk(), name="test call sound")

    def heard_of(self, other: Sound) -> int:
        """How many packets of another's sound have come."""
        theirs = set(other.frames)
        return sum(one in theirs for one in self._heard)

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due, sequence, timestamp = loop.time(), secrets.randbelow(1 << 15), secrets.randbits(31)
        while True:
            assert self._transport is not None
            header = _HEADER.pack(0x80, PCMA, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, self._ssrc)
            self._transport.sendto(header + self.frames[sequence % _DIFFERENT], self.target)
            sequence, timestamp = sequence + 1, timestamp + FRAME
            due += FRAME_S
            await asyncio.sleep(due - loop.time())

    async def _close(self) -> None:
        """Until the port is free again: the next call has the same."""
        if self._talking is not None:
            self._talking.cancel()
            await asyncio.wait([self._talking])
        assert self._transport is not None
        self._transport.close()
        await self._closed.wait()


def _frame() -> bytes:
    return bytes(_CODES[byte & 1] for byte in secrets.token_bytes(FRAME))
