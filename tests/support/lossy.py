"""Networks that lose datagrams: of a telephone's SIP, and between proxies and a worker with voice.

Which ones are lost is drawn by a seed; how they come one after another is not the same in each run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from typing import TYPE_CHECKING

from signalbox.address import join
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
    """Between a proxy and a worker, which talk to it in place of each other; what either says by UDP is lost at times.

    The worker is told that the proxy is here, wherever a message names it, so requests of its own come here, too.
    """

    def __init__(self, proxy: Address, worker: Address, loss: Loss) -> None:
        self.loss = loss
        self.requests = 0
        """Of the worker, lost or not."""
        self._proxy = proxy
        self._worker = worker
        self._outside: asyncio.DatagramTransport
        self._inside: asyncio.DatagramTransport

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: Address, proxy: Address, worker: Address, loss: Loss) -> AsyncIterator[Relay]:
        """``address``: where the proxy finds the worker, at the host from which its requests come."""
        loop = asyncio.get_running_loop()
        relay = cls(proxy, worker, loss)
        relay._outside, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=address)
        inside = _Inside(relay)
        relay._inside, _ = await loop.create_datagram_endpoint(lambda: inside, local_addr=(address[0], 0))
        try:
            yield relay
        finally:
            relay._outside.close()
            relay._inside.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if not self.loss.takes():
            self._inside.sendto(_renamed(data, self._proxy, self._here), self._worker)

    def said(self, data: bytes) -> None:
        """By the worker, to the proxy."""
        self.requests += not data.startswith(b"SIP/2.0 ")
        if not self.loss.takes():
            self._outside.sendto(_renamed(data, self._here, self._proxy), self._proxy)

    @property
    def _here(self) -> Address:
        host, port = self._inside.get_extra_info("sockname")
        return host, port


class _Inside(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._relay.said(data)


def _renamed(message: bytes, address: Address, to: Address) -> bytes:
    """A message with an address in place of another one."""
    return re.sub(re.escape(join(*address).encode()) + rb"(?![0-9])", join(*to).encode(), message)
