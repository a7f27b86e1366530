"""Networks that lose datagrams: of a telephone's SIP, and between proxies and a worker with voice.

Which ones are lost is drawn by a seed; how they come one after another is not the same in each run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from signalbox.sip.transport import Transports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.headers import Via
    from signalbox.sip.source import Address, Failed, Source


class Loss:
    """Loses ``share`` of all datagrams; ``lost`` counts them."""

    def __init__(self, share: float, seed: int = 1) -> None:
        self.share = share
        self.lost = 0
        self._random = random.Random(seed)

    def takes(self) -> bool:
        """True if the next one is lost."""
        taken = self._random.random() < self.share
        self.lost += taken
        return taken


class LossyTransports(Transports):
    """UDP of which datagrams are lost, in both directions."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def send(self, data: bytes, protocol: str, remote: Address, failed: Failed | None = None) -> None:
        if protocol != "udp" or not self._loss.takes():
            super().send(data, protocol, remote, failed)

    def reply(self, data: bytes, via: Via | None, source: Source, failed: Failed | None = None) -> None:
        if source.protocol != "udp" or not self._loss.takes():
            super().reply(data, via, source, failed)

    def _take_datagram(self, data: bytes, source: Source) -> None:
        if not self._loss.takes():
            super()._take_datagram(data, source)


class Relay(asyncio.DatagramProtocol):
    """In front of a server, which one client talks to by UDP; datagrams of both are lost."""

    def __init__(self, server: Address, loss: Loss) -> None:
        self.loss = loss
        self._server = server
        self._client: Address | None = None
        self._outside: asyncio.DatagramTransport
        self._inside: asyncio.DatagramTransport

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: Address, server: Address, loss: Loss) -> AsyncIterator[Relay]:
        """Listen at an address."""
        loop = asyncio.get_running_loop()
        relay = cls(server, loss)
        relay._outside, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=address)
        inside = _Inside(relay)
        relay._inside, _ = await loop.create_datagram_endpoint(lambda: inside, local_addr=(address[0], 0))
        try:
            yield relay
        finally:
            relay._outside.close()
            relay._inside.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._client = addr
        if not self.loss.takes():
            # Answers are to come back here (RFC 3581), not to the port that the client has put into its Via.
            asking = not data.startswith(b"SIP/2.0 ")
            self._inside.sendto(data.replace(b";branch=", b";rport;branch=", 1) if asking else data, self._server)

    def answer(self, data: bytes) -> None:
        """What the server says."""
        if self._client is not None and not self.loss.takes():
            self._outside.sendto(data, self._client)


class _Inside(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._relay.answer(data)
