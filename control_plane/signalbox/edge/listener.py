"""The UDP socket between proxy and sidecar: questions in, decisions out.

Up to :data:`CALM_RATE` questions a second the socket is read as soon as something is in it. Above, it is read by a
timer, less and less often: questions wait for company, for what it costs to wake up and to send a message on a stream
is the same for one question or for ten (``docs/design/asking.md``).
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
MAX_AT_ONCE = 128
"""So many datagrams are read before answers get their turn."""

CALM_RATE = 600.0
FULL_RATE = 1000.0
"""Questions per second from which on they wait, and from which on they wait the whole ``batch_window_ms``."""

RATE_INTERVAL_S = 0.1
"""The rate of questions is measured over so long."""


class Listener:
    """Takes questions at ``ask`` and sends decisions to ``route``, both (host, port) on loopback.

    Questions wait ``window_s`` seconds at most.
    """

    def __init__(self, ask: tuple[str, int], route: tuple[str, int], window_s: float, stats: Stats) -> None:
        self._ask = ask
        self._route = route
        self._stats = stats
        self._longest_window_s = window_s
        self._window_s = 0.0
        self._counted = 0
        self._counting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._take: Callable[[list[bytes]], None] = lambda datagrams: None
        family = socket.AF_INET6 if ":" in ask[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._set_buffers()

    @property
    def address(self) -> tuple[str, int]:
        """Where questions are taken."""
        name = self._socket.getsockname()
        return name[0], name[1]

    def open(self, take: Callable[[list[bytes]], None]) -> None:
        """Bind and begin to take. Raises ConfigurationError if the address is taken."""
        try:
            self._socket.bind(self._ask)
        except OSError as error:
            raise ConfigurationError(f"edge.ask_listen: {address.join(*self._ask)}: {error}") from error
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._counting_since = self._loop.time()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def send(self, message: bytes) -> None:
        """Send a decision. A full buffer or no listener is counted: the proxy's own timer serves the call."""
        try:
            self._socket.sendto(message, self._route)
        except OSError:
            self._stats.send_failed += 1

    def stop_reading(self) -> None:
        """Take what has arrived, then no more."""
        if self._socket.fileno() >= 0:
            self._watch(False)
            while datagrams := self._receive():
                self._take(datagrams)

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._watch(False)
            self._socket.close()

    def _watch(self, on: bool) -> None:
        """Have the socket call us, or nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if on:
            self._loop.add_reader(self._socket.fileno(), self._read)
        else:
            self._loop.remove_reader(self._socket.fileno())

    def _read(self) -> None:
        datagrams = self._receive()
        if datagrams:
            self._take(datagrams)
        self._adapt_window(len(datagrams))
        if datagrams and self._window_s > 0:
            wait_s = self._window_s if len(datagrams) < MAX_AT_ONCE else 0.0
            if self._timer is None:
                self._loop.remove_reader(self._socket.fileno())
            self._timer = self._loop.call_later(wait_s, self._read)
        elif self._timer is not None:
            self._watch(True)

    def _adapt_window(self, count: int) -> None:
        self._counted += count
        elapsed = self._loop.time() - self._counting_since
        if elapsed >= RATE_INTERVAL_S:
            share = (self._counted / elapsed - CALM_RATE) / (FULL_RATE - CALM_RATE)
            self._window_s = self._longest_window_s * min(max(share, 0.0), 1.0)
            self._counted = 0
            self._counting_since += elapsed

    def _receive(self) -> list[bytes]:
        """What is in the socket."""
        receive = self._socket.recvfrom
        datagrams: list[bytes] = []
        for _ in range(MAX_AT_ONCE):
            try:
                datagram, (host, *_) = receive(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # An ICMP error of an earlier send: the socket goes on.
                self._stats.send_failed += 1
                continue
            if host.startswith("127.") or host == "::1":
                datagrams.append(datagram)
            else:
                self._stats.refused_source += 1
        return datagrams

    def _set_buffers(self) -> None:
        force = getattr(socket, "SO_RCVBUFFORCE", 33)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
