"""A UDP socket of the SIP core. Datagrams that are there together are read together."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import structlog

from signalbox.sip.source import Source, TransportError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from signalbox.sip.source import Address, Failed
    from signalbox.sip.stats import Stats

logger = structlog.get_logger(__name__)

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
MAX_DATAGRAM = 65_535
MAX_AT_ONCE = 64
"""So many datagrams are read before timers and other sockets get their turn."""

LOST = frozenset({errno.ENOBUFS, errno.EPERM})
"""A queue, or the table of connections that the kernel tracks, is full: it may have room for the retransmission."""


class UdpSocket:
    """Bound to one IP address and port. ``take`` gets each datagram and where it came from.

    What the socket's full buffer does not take is lost like any datagram, and sent again by its transaction. ICMP
    errors are not heard: a peer that is gone is known by its silence.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int, stats: Stats, take: Callable[[bytes, Source], None]
    ) -> None:
        """Raises OSError if the address cannot be had."""
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._loop = loop
        self._stats = stats
        self._take = take
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.local: Address = self._socket.getsockname()[:2]
        loop.add_reader(self._socket.fileno(), self._read)

    def send(self, data: bytes, remote: Address, failed: Failed | None) -> bool:
        """Send a datagram. What cannot be sent is told later; False once the socket is closed."""
        try:
            self._socket.sendto(data, remote)
        except (BlockingIOError, InterruptedError):
            self._stats.dropped_udp_full += 1
            return True
        except OSError as error:
            if error.errno in LOST:
                self._stats.dropped_udp_full += 1
                return True
            if self._socket.fileno() < 0:
                return False
            self._stats.send_failed += 1
            if failed is not None:
                self._loop.call_soon(failed, TransportError(f"udp {remote[0]}:{remote[1]}: {error}"))
            return True
        self._stats.sent += 1
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        receive = self._socket.recvfrom
        for _ in range(MAX_AT_ONCE):
            if self._socket.fileno() < 0:
                return
            try:
                data, remote = receive(MAX_DATAGRAM)
            except OSError:
                # Nothing more, or the error of an earlier datagram: the socket goes on.
                return
            try:
                self._take(data, Source("udp", remote[:2], self.local, self))
            except Exception:
                logger.exception("sip_message_failed", protocol="udp")
