"""A TCP relay that tests put between a client and a server, to cut and to freeze connections."""

from __future__ import annotations

import asyncio
import contextlib

from signalbox.address import split


class Relay:
    """Listens on loopback, by default at a port of its own, and passes everything on to ``target`` (host:port)."""

    def __init__(self, target: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self._target = split(target)
        self._host = host
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._left: int | None = None
        self._over = False
        self.port = port
        self.connections = 0
        """Connections taken so far."""

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"{self._host}:{self.port}"

    async def __aenter__(self) -> Relay:
        self._over = False
        self._server = await asyncio.start_server(self._accept, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._over = True
        self._flowing.set()
        self.cut()
        await asyncio.gather(*self._serving)

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Swallow everything without a word, as a network that lost its route does."""
        self._flowing.clear()

    def freeze_after(self, size: int) -> None:
        """Freeze once so many bytes, or little more, have come from servers."""
        self._left = size

    def thaw(self) -> None:
        """Pass on what was held back, and everything new."""
        self._left = None
        self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._over:
            # It was taken in the moment in which all was closed: nobody would end it any more.
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            back_reader, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, back), self._pass(back_reader, writer, counted=True))
        for end in (writer, back):
            end.transport.abort()
            self._writers.discard(end)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if counted and self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        self.freeze()
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
