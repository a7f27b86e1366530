"""Real sockets for the transports of the SIP core: who takes what arrives, and raw peers."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from signalbox.sip.message import Request, response
from signalbox.sip.transport import Transports

from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.errors import MessageError
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address, Source, TransportError
    from signalbox.sip.tcp import Limits

HOST = "127.0.0.1"
PATIENCE_S = 15.0


@dataclass
class Taker:
    """Keeps what arrives. With ``answers``, requests are answered so, and malformed ones 400."""

    transports: Transports
    answers: int = 0
    messages: list[tuple[Request | Response, Source]] = field(default_factory=list)
    bad: list[MessageError] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def on_message(self, message: Request | Response, source: Source) -> None:
        self.messages.append((message, source))
        if self.answers and isinstance(message, Request):
            self.transports.respond(response(message, self.answers, tag="here"), source)

    def on_bad(self, error: MessageError, source: Source) -> None:
        self.bad.append(error)
        if error.request_head is not None:
            self.transports.respond(response(error.request_head, error.code, error.phrase, tag="here"), source)

    def failed(self, error: TransportError) -> None:
        """To be told that a message could not be sent."""
        self.failures.append(str(error))

    async def taken(self, count: int) -> None:
        """Wait until so many messages have come."""
        await until(lambda: len(self.messages) >= count, PATIENCE_S)


@contextlib.asynccontextmanager
async def transports(limits: Limits | None = None, *, answers: int = 0) -> AsyncIterator[Taker]:
    """Transports on free ports of loopback, UDP and TCP, that are closed in the end."""
    made = Transports(limits)
    taker = Taker(made, answers)
    made.receiver = taker
    await made.listen_udp(HOST, 0)
    await made.listen_tcp(HOST, 0)
    try:
        yield taker
    finally:
        await made.close()


def address_of(taker: Taker, protocol: str) -> Address:
    """Where transports listen."""
    host, _, port = taker.transports.sent_by(protocol, (HOST, 0)).rpartition(":")
    return host, int(port)


class Peer(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Address]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.got.append((data, addr))

    @property
    def port(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    async def next(self, count: int = 1) -> bytes:
        """The ``count``-th datagram, once it is there."""
        await until(lambda: len(self.got) >= count, PATIENCE_S)
        return self.got[count - 1][0]


@contextlib.asynccontextmanager
async def udp_peer(host: str = HOST) -> AsyncIterator[Peer]:
    """A peer on a free UDP port."""
    peer = Peer()
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: peer, local_addr=(host, 0))
    try:
        yield peer
    finally:
        peer.transport.close()


@dataclass
class Stream:
    """One TCP connection of a peer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def message(self) -> bytes:
        """The next message without a body."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)

    async def end(self) -> bytes:
        """What comes before the other side has closed."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def stream_to(address: Address) -> AsyncIterator[Stream]:
    """A connection to the transports."""
    stream = Stream(*await asyncio.open_connection(*address))
    try:
        yield stream
    finally:
        await stream.close()


@contextlib.asynccontextmanager
async def tcp_peer(port: int = 0) -> AsyncIterator[tuple[Address, list[Stream]]]:
    """A peer that accepts connections: where, and those that it has."""
    streams: list[Stream] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(Stream(reader, writer))

    server = await asyncio.start_server(accept, HOST, port)
    try:
        yield server.sockets[0].getsockname()[:2], streams
    finally:
        server.close()
        for stream in streams:
            await stream.close()


async def counted(taker: Taker, name: str, count: int = 1) -> None:
    """Wait until a counter of the transports has come so far."""
    await until(lambda: getattr(taker.transports.stats, name) >= count, PATIENCE_S)
