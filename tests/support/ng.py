"""A stand-in for rtpengine's ng listener, for unit tests."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from signalbox.bencode import Encodable, decode, encode

from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalbox.ng import Reply

    Answer = Callable[[Reply], Encodable | None]


class FakeNg(asyncio.DatagramProtocol):
    """Answers pings and statistics; ``answer`` may be replaced, ``drop`` counts requests to lose first."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, Reply]] = []
        self.calls = 0
        self.drop = 0
        self.silent = False
        self.raw: bytes | None = None
        """Sent after the cookie instead of a proper reply."""
        self.answer: Answer = self.well
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int = 0) -> AsyncIterator[FakeNg]:
        """Listen on loopback; on a port of one that was closed, or a free one."""
        loop = asyncio.get_running_loop()
        transport, fake = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", port or free_port()))
        try:
            yield fake
        finally:
            transport.close()

    @property
    def address(self) -> str:
        """host:port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def well(self, request: Reply) -> Encodable | None:
        """What a healthy rtpengine says."""
        if request["command"] == "ping":
            return {"result": "pong"}
        if request["command"] == "statistics":
            return {"result": "ok", "statistics": {"currentstatistics": {"sessionstotal": self.calls}}}
        return {"result": "error", "error-reason": "Unrecognized command"}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        cookie, _, body = data.partition(b" ")
        request = decode(body)
        assert isinstance(request, dict)
        self.requests.append((cookie, request))
        if self.silent or self.drop:
            self.drop = max(0, self.drop - 1)
            return
        reply = self.answer(request)
        assert self._transport is not None
        if self.raw is not None:
            self._transport.sendto(cookie + b" " + self.raw, addr)
        elif reply is not None:
            self._transport.sendto(cookie + b" " + encode(reply), addr)
