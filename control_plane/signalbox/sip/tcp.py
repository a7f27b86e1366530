"""The TCP connections of the SIP core: who is connected, who may be, and for how long."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.sip.connection import TcpConnection
from signalbox.sip.source import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.errors import MessageError
    from signalbox.sip.source import Address, Failed, Source
    from signalbox.sip.stats import Stats

CLOSE_S = 2.0
"""At the end connections have so long to take what is still to be sent."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of TCP. Times in seconds."""

    connections: int = 1024
    """Connections at once, made and accepted."""
    queue_bytes: int = 1024 * 1024
    """A connection that has not taken so much of what we sent is given up."""
    connect_s: float = 4.0
    """Longest time to make a connection."""
    stall_s: float = 32.0
    """A connection that takes nothing for so long, while something waits, is given up."""
    hang_up_s: float = 4.0
    """A peer whose stream cannot be followed has so long to take our answer and close."""
    idle_s: float = 600.0
    """A connection without a whole message for so long is closed; longer than any transaction lasts (section 18)."""
    crowded_idle_s: float = 64.0
    """The same while three quarters of the connections are taken."""


class TcpSide:
    """All connections, by remote address. ``take`` gets each message, ``bad`` what ends a stream."""

    def __init__(
        self,
        limits: Limits,
        stats: Stats,
        take: Callable[[bytes, Source], None],
        bad: Callable[[MessageError, Source], None],
    ) -> None:
        self.limits = limits
        self.stats = stats
        self.take = take
        self.bad = bad
        self.loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._all: set[TcpConnection] = set()
        self._by_remote: dict[Address, TcpConnection] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._none_left = asyncio.Event()
        self._closing = False

    @property
    def idle_s(self) -> float:
        """How long a connection may be idle now."""
        crowded = 4 * len(self._all) >= 3 * self.limits.connections
        return min(self.limits.crowded_idle_s, self.limits.idle_s) if crowded else self.limits.idle_s

    def __len__(self) -> int:
        """How many connections there are, those that are being made among them."""
        return len(self._all)

    async def listen(self, host: str, port: int) -> Address:
        """Accept connections at an IP address. Raises OSError."""
        server = await self.loop.create_server(lambda: TcpConnection(self), host, port, family=_family(host))
        self._servers.append(server)
        address: Address = server.sockets[0].getsockname()[:2]
        return address

    def send(self, data: bytes, remote: Address, local_host: str, failed: Failed | None) -> None:
        """Send over the connection to a remote address; if there is none, over a new one from ``local_host``."""
        connection = self._by_remote.get(remote)
        if connection is None or not connection.send(data, remote, failed):
            connection = self._connect(remote, local_host)
            if connection is not None:
                connection.send(data, remote, failed)
            else:
                self.fail(TransportError(f"tcp {remote[0]}:{remote[1]}: too many connections"), failed)

    def fail(self, error: TransportError, *failed: Failed | None) -> None:
        """Tell, later, that messages could not be sent."""
        self.stats.send_failed += len(failed)
        for tell in failed:
            if tell is not None:
                self.loop.call_soon(tell, error)

    async def close(self) -> None:
        """Accept no more, let connections take what waits for a while, and close them."""
        self._closing = True
        for server in self._servers:
            server.close()
        for task in tuple(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in tuple(self._all):
            connection.close()
        for give_up in (False, True):
            if give_up:
                for connection in tuple(self._all):
                    connection.abort(TransportError("closed"))
            if self._all:
                self._none_left.clear()
                try:
                    await asyncio.wait_for(self._none_left.wait(), CLOSE_S)
                except TimeoutError:
                    continue
            break
        if self._sweeper is not None:
            self._sweeper.cancel()

    # What connections tell.

    def accepted(self, connection: TcpConnection) -> bool:
        """A connection was accepted. False if it must go at once."""
        if self._closing or len(self._all) >= self.limits.connections:
            self.stats.connections_refused += 1
            return False
        self.stats.connections_accepted += 1
        self._add(connection)
        return True

    def receives_no_more(self, connection: TcpConnection) -> None:
        """Nothing new is sent over this one."""
        if self._by_remote.get(connection.remote) is connection:
            del self._by_remote[connection.remote]

    def lost(self, connection: TcpConnection) -> None:
        """A connection is no more."""
        self.receives_no_more(connection)
        self._all.discard(connection)
        if not self._all:
            self._none_left.set()

    def _add(self, connection: TcpConnection) -> None:
        self._all.add(connection)
        self._by_remote[connection.remote] = connection
        self._sweep_later()

    def _connect(self, remote: Address, local_host: str) -> TcpConnection | None:
        if self._closing or len(self._all) >= self.limits.connections:
            self.stats.connections_refused += 1
            return None
        connection = TcpConnection(self, remote)
        self._add(connection)
        task = self.loop.create_task(self._open(connection, remote, local_host), name=f"sip-connect {connection}")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return connection

    async def _open(self, connection: TcpConnection, remote: Address, local_host: str) -> None:
        try:
            async with asyncio.timeout(self.limits.connect_s):
                await self.loop.create_connection(
                    lambda: connection, *remote, family=_family(remote[0]), local_addr=(local_host, 0)
                )
        except TimeoutError:
            self._not_made(connection, f"no connection within {self.limits.connect_s} s")
        except OSError as error:
            self._not_made(connection, str(error))
        except asyncio.CancelledError:
            connection.abort(TransportError(f"tcp {remote[0]}:{remote[1]}: closed"))
            raise
        else:
            self.stats.connections_made += 1

    def _not_made(self, connection: TcpConnection, why: str) -> None:
        self.stats.connect_failed += 1
        connection.abort(TransportError(f"tcp {connection.remote[0]}:{connection.remote[1]}: {why}"))

    def _sweep(self) -> None:
        self._sweeper = None
        now = self.loop.time()
        for connection in tuple(self._all):
            connection.judge(now)
        if self._all:
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            limits = self.limits
            shortest_s = min(limits.idle_s, limits.crowded_idle_s, limits.stall_s, limits.hang_up_s)
            self._sweeper = self.loop.call_later(shortest_s / 4, self._sweep)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
