"""HTTP servers on loopback for tests: one that notes what it is asked, and one that says any bytes."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from signalbox import pki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

HOST = "127.0.0.1"


class HangUp(Exception):
    """An ``answer`` raises it to end the connection without one."""


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """What came, how many at most at a time, and how it is answered."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[], Awaitable[web.StreamResponse]] | None = None
    now: int = 0
    most: int = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.path_qs, dict(request.headers), await request.read()))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.answer() if self.answer is not None else web.json_response({})
        except HangUp:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        finally:
            self.now -= 1


@asynccontextmanager
async def service(tls: ssl.SSLContext | None = None, host: str = HOST, port: int = 0) -> AsyncIterator[Service]:
    """A server that answers every request with ``answer``; by default on a free port."""
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made._handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        made.port = runner.addresses[0][1]
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def saying(*pieces: bytes, stays: bool = False) -> AsyncIterator[int]:
    """The port of a server that says these bytes to whoever has asked, and hangs up, unless it ``stays``."""
    end = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if stays:
                await end.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        end.set()
        server.close()
        await server.wait_closed()


def server_tls(directory: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of that name, and its authority."""
    files = pki.issue(directory, "server", server=True, hosts=(name,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context, files.ca
