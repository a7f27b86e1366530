"""One TCP connection of the SIP core (RFC 3261 section 18, RFC 5626 section 3.5.1 for its keep-alives)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from signalbox.sip.errors import MessageError
from signalbox.sip.parser import Framer, Keepalive
from signalbox.sip.source import Source, TransportError

if TYPE_CHECKING:
    from signalbox.sip.source import Address, Failed
    from signalbox.sip.tcp import TcpSide

logger = structlog.get_logger(__name__)

NOWHERE: Address = ("", 0)


class TcpConnection(asyncio.Protocol):
    """Made by us to ``remote``, or accepted. Messages wait in it until it stands, and while the peer does not read.

    A message is taken for sent when the kernel has it. When the connection ends before, its sender is told.
    """

    def __init__(self, side: TcpSide, remote: Address | None = None) -> None:
        self.remote = remote or NOWHERE
        self._ours = remote is not None
        self._side = side
        self._stats = side.stats
        self._transport: asyncio.Transport | None = None
        self._framer = Framer()
        self._source = Source("tcp", self.remote, NOWHERE, self)
        self._waiting: list[tuple[bytes, Failed | None]] = []
        self._unsure: list[Failed | None] = []
        self._active_at = side.loop.time()
        self._stalled_since: float | None = None
        self._deaf = False
        self._over = False

    def send(self, data: bytes, remote: Address, failed: Failed | None) -> bool:
        """Send a message; what fails is told later. False if the connection is gone."""
        transport = self._transport
        if self._over or (transport is not None and (transport.is_closing() or self._deaf)):
            return False
        if transport is None:
            waiting = sum(len(message) for message, _ in self._waiting)
        else:
            waiting = transport.get_write_buffer_size()
        if waiting + len(data) > self._side.limits.queue_bytes:
            self._unsure.append(failed)
            self._give_up_slow()
        elif transport is None:
            self._waiting.append((data, failed))
        else:
            self._write(transport, data, failed)
        return True

    def close(self) -> None:
        """Close when what was sent is gone."""
        if self._transport is not None:
            self._transport.close()
        else:
            self.abort(TransportError(f"{self}: closed"))

    def abort(self, error: TransportError) -> None:
        """End at once. Who waits is told ``error``."""
        if self._over:
            return
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        self._fail(error)
        if self._transport is None:
            self._side.lost(self)

    def judge(self, now: float) -> None:
        """Close if nothing has happened for too long."""
        limits = self._side.limits
        quiet_s = now - self._active_at
        if self._transport is None:
            return
        if self._stalled_since is not None and now - self._stalled_since > limits.stall_s:
            self._give_up_slow()
        elif quiet_s > (limits.hang_up_s if self._deaf else self._side.idle_s):
            self._stats.connections_closed_idle += 1
            self.close()

    def __str__(self) -> str:
        return f"tcp {self.remote[0]}:{self.remote[1]}"

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        if self._over:
            self._transport.abort()
            return
        # With no room at all we are told whenever the kernel has not taken everything, and when it has.
        self._transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        if not self._ours:
            self.remote = peer[:2] if peer else NOWHERE
            if not peer or not self._side.accepted(self):
                self._over = True
                self._transport.abort()
                return
        self._source = Source("tcp", self.remote, local[:2], self)
        self._active_at = self._side.loop.time()
        waiting, self._waiting = self._waiting, []
        for data, failed in waiting:
            self._write(self._transport, data, failed)

    def data_received(self, data: bytes) -> None:
        """Part of the stream has come."""
        while not self._deaf and (whole := self._cut(data)):
            for message in whole:
                self._take(message)
            # A stream that cannot be followed is told of after what came whole before.
            data = b""

    def eof_received(self) -> bool:
        """The peer will send no more. We close, too.

        Whether it would still read cannot be known, and a response is not to be written for nobody: later ones go where
        the Via says, on a connection of their own (section 18.2.2).
        """
        return False

    def pause_writing(self) -> None:
        """The kernel has not taken everything."""
        self._stalled_since = self._side.loop.time()

    def resume_writing(self) -> None:
        """It has now."""
        self._stalled_since = None
        self._unsure.clear()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._over = True
        self._fail(TransportError(f"{self}: {error or 'closed'}"))
        self._side.lost(self)

    def _cut(self, data: bytes) -> list[bytes | Keepalive]:
        try:
            return self._framer.feed(data)
        except MessageError as error:
            self._stats.received += 1
            self._stats.connections_unfollowable += 1
            self._side.bad(error, self._source)
            self._hang_up()
            return []

    def _take(self, message: bytes | Keepalive) -> None:
        self._active_at = self._side.loop.time()
        if isinstance(message, Keepalive):
            self._stats.keepalives += 1
            # Who does not read knows that the connection lives: pongs would only pile up.
            if self._transport is not None and not self._transport.is_closing() and self._stalled_since is None:
                self._transport.write(b"\r\n")
            return
        try:
            self._side.take(message, self._source)
        except Exception:
            logger.exception("sip_message_failed", protocol="tcp")

    def _write(self, transport: asyncio.Transport, data: bytes, failed: Failed | None) -> None:
        transport.write(data)
        self._stats.sent += 1
        self._active_at = self._side.loop.time()
        if self._stalled_since is not None:
            self._unsure.append(failed)

    def _hang_up(self) -> None:
        """Listen no more and close when the peer does: closing at once could destroy our last answer on its way."""
        self._deaf = True
        self._side.receives_no_more(self)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _give_up_slow(self) -> None:
        self._stats.slow_readers += 1
        self.abort(TransportError(f"{self}: the peer does not read"))

    def _fail(self, error: TransportError) -> None:
        failed = [*self._unsure, *(tell for _, tell in self._waiting)]
        self._unsure = []
        self._waiting = []
        self._side.fail(error, *failed)
