"""A SIP agent over TCP, for tests message by message."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from support.sip_agent import Agent, Message

if TYPE_CHECKING:
    from support.sip_agent import Call


class TcpAgent(Agent):
    """An agent on one TCP connection (:meth:`connect`), or listening for the proxy's."""

    async def start(self, host: str = "127.0.0.1") -> TcpAgent:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        self.host, self.port = self._server.sockets[0].getsockname()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None] | None] = set()
        return self

    async def connect(self) -> TcpAgent:
        """Connect to the proxy."""
        reader, writer = await asyncio.open_connection(*self.proxy)
        self._writers.append(writer)
        self._tasks.add(asyncio.create_task(self._read(reader)))
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._tasks.add(asyncio.current_task())
        await self._read(reader)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(Message(head).get("Content-Length"))
                self.datagram_received(head + await reader.readexactly(length), self.proxy)

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:
        """Send a message on the newest connection."""
        self._writers[-1].write(text.encode() if isinstance(text, str) else text)

    def request(self, call: Call, method: str, **more: Any) -> str:
        """As of an agent over UDP, with the transport in Via and Contact."""
        text = super().request(call, method, **more).replace("SIP/2.0/UDP", "SIP/2.0/TCP", 1)
        return text.replace(f":{self.port}>\r\nMax", f":{self.port};transport=tcp>\r\nMax")

    def reply(self, request: Message, code: int, phrase: str = "-", **more: Any) -> str:
        """As of an agent over UDP, with the transport in Contact."""
        text = super().reply(request, code, phrase, **more)
        return text.replace(f"<sip:line@{self.host}:{self.port}>", f"<sip:line@{self.host}:{self.port};transport=tcp>")

    async def stop(self) -> None:
        """Close the socket and all connections."""
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await asyncio.gather(*(task for task in self._tasks if task is not None), return_exceptions=True)
