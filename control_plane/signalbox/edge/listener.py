"""The UDP socket between proxy and sidecar: questions in, decisions out.

The socket is read until it is empty at every wake-up of the loop: under load one wake-up serves several questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.edge.stats import Stats

RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
MAX_DATAGRAM = 65_535
MAX_PER_WAKEUP = 128
"""So many datagrams are read before answers get their turn."""


class Listener:
    """Takes questions at ``ask`` and sends decisions to ``route``, both (host, port) on loopback."""

    def __init__(self, ask: tuple[str, int], route: tuple[str, int], stats: Stats) -> None:
        self._ask = ask
        self._route = route
        self._stats = stats
        self._take: Callable[[bytes], None] = lambda datagram: None
        family = socket.AF_INET6 if ":" in ask[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._set_buffers()

    @property
    def address(self) -> tuple[str, int]:
        """Where questions are taken."""
        name = self._socket.getsockname()
        return name[0], name[1]

    def open(self, take: Callable[[bytes], None]) -> None:
        """Bind and begin to take. Raises ConfigurationError if the address is taken."""
        try:
            self._socket.bind(self._ask)
        except OSError as error:
            raise ConfigurationError(f"edge.ask_listen: {address.join(*self._ask)}: {error}") from error
        self._take = take
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def send(self, message: bytes) -> None:
        """Send a decision. A full buffer or no listener is counted: the proxy's own timer serves the call."""
        try:
            self._socket.sendto(message, self._route)
        except OSError:
            self._stats.send_failed += 1

    def stop_reading(self) -> None:
        """Take what has arrived, then no more."""
        if self._socket.fileno() >= 0:
            self._read()
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        receive, take = self._socket.recvfrom, self._take
        for _ in range(MAX_PER_WAKEUP):
            try:
                datagram, (host, *_) = receive(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMP error of an earlier send: the socket goes on.
                self._stats.send_failed += 1
                continue
            if host.startswith("127.") or host == "::1":
                take(datagram)
            else:
                self._stats.refused_source += 1

    def _set_buffers(self) -> None:
        force = getattr(socket, "SO_RCVBUFFORCE", 33)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
