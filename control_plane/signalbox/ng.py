"""Asyncio client of rtpengine's ng protocol over UDP (docs/ng_control_protocol.md of rtpengine).

A message is a cookie, a space and a bencoded dictionary; the reply carries the same cookie. A request that got no reply
is sent again with its cookie: rtpengine remembers recent cookies and repeats its reply, so nothing is done twice.

::

    NgError
     ├─ NgUnreachableError   nobody listens at the address: known at once, from ICMP
     ├─ NgTimeoutError       no reply to any attempt
     ├─ NgProtocolError      a reply that is not understood
     └─ NgRefusedError       rtpengine says no; ``reason`` has its words
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import secrets
from typing import TYPE_CHECKING, Self

from signalbox import address
from signalbox.bencode import BencodeError, Encodable, Value, decode, encode
from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS = 3
ATTEMPT_TIMEOUT_S = 0.2
UNHEARD_S = 1.0
"""So long an answer is awaited that nobody wants any more: see :meth:`NgClient.settle`."""

NOBODY = "127.0.0.1"
"""Where rtpengine is told that the other side is while there is none: at the node itself, where nothing listens. Not
0.0.0.0, which is a hold (RFC 3264 section 8.4): rtpengine 12 does not look into what is sent to a party on hold, and
hears no keys in it."""
NOBODY_IPV6 = "::1"
NOBODY_PORT = 9
"""Discard (RFC 863)."""

Reply = dict[str, Value]


class NgError(SignalboxError):
    """A request to rtpengine failed."""


class NgUnreachableError(NgError):
    """Nobody listens at the address."""


class NgTimeoutError(NgError):
    """No reply in time. The request may have been carried out."""


class NgProtocolError(NgError):
    """The reply is not understood."""


class NgRefusedError(NgError):
    """rtpengine refused the request."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(f"rtpengine refused {command}: {reason}")
        self.refusal = reason


class _Protocol(asyncio.DatagramProtocol):
    """Matches replies with the requests that wait for them."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Future[bytes]] = {}

    def datagram_received(self, data: bytes, addr: object) -> None:
        cookie, _, body = data.partition(b" ")
        # A reply to an attempt that was given up, or a second one to a repeated request, has nobody waiting.
        future = self.waiting.pop(cookie, None)
        if future is not None and not future.done():
            future.set_result(body)

    def error_received(self, exc: Exception) -> None:
        self._fail(NgUnreachableError(f"rtpengine cannot be reached: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(NgUnreachableError("the connection to rtpengine is closed"))

    def _fail(self, error: NgError) -> None:
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(error)


class NgClient:
    """One rtpengine. Any number of requests may be under way at once."""

    def __init__(self, transport: asyncio.DatagramTransport, protocol: _Protocol) -> None:
        self._transport = transport
        self._protocol = protocol
        # Asked for once: each time costs a system call (Python 3.11).
        self._loop = asyncio.get_running_loop()
        # The prefix keeps clients apart: rtpengine remembers cookies of all of them together.
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._unheard: set[asyncio.Future[bytes]] = set()
        """Of requests that were sent, and given up by who asked."""

    @classmethod
    async def connect(cls, control: str) -> Self:
        """A client of the rtpengine at ``host:port``. Sends nothing yet. Raises NgUnreachableError for a wrong name."""
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.create_datagram_endpoint(_Protocol, remote_addr=address.split(control))
        except (OSError, ValueError) as error:
            raise NgUnreachableError(f"{control}: {error}") from error
        return cls(transport, protocol)

    def close(self) -> None:
        """Close the socket; requests under way fail with NgUnreachableError."""
        self._transport.close()

    async def request(
        self,
        command: str,
        arguments: Mapping[str, Encodable] | None = None,
        *,
        attempts: int = ATTEMPTS,
        timeout_s: float = ATTEMPT_TIMEOUT_S,
    ) -> Reply:
        """Send a command and return the reply's dictionary.

        ``timeout_s`` is the time for each attempt, so that the whole takes at most ``attempts * timeout_s`` seconds.
        Raises NgUnreachableError, NgTimeoutError, NgProtocolError, NgRefusedError.
        """
        cookie = f"{self._prefix}_{next(self._numbers)}".encode()
        message = cookie + b" " + encode({"command": command, **(arguments or {})})
        body = await self._exchange(cookie, message, attempts, timeout_s, command)
        try:
            reply = decode(body)
        except BencodeError as error:
            raise NgProtocolError(f"reply to {command}: {error}") from error
        if not isinstance(reply, dict) or not isinstance(reply.get("result"), str):
            raise NgProtocolError(f"reply to {command} has no result")
        if reply["result"] not in ("ok", "pong"):
            raise NgRefusedError(command, str(reply.get("error-reason", reply["result"])))
        return reply

    async def _exchange(self, cookie: bytes, message: bytes, attempts: int, timeout_s: float, command: str) -> bytes:
        if self._transport.is_closing():
            raise NgUnreachableError("the connection to rtpengine is closed")
        loop = self._loop
        reply: asyncio.Future[bytes] = loop.create_future()
        timer: asyncio.TimerHandle | None = None

        def attempt(left: int) -> None:
            nonlocal timer
            if reply.done() or self._transport.is_closing():
                return
            if left:
                self._transport.sendto(message)
                timer = loop.call_later(timeout_s, attempt, left - 1)  # noqa: F821 (it is deleted at the end)
            else:
                reply.set_exception(NgTimeoutError(f"no reply to {command} within {attempts} x {timeout_s} s"))

        self._protocol.waiting[cookie] = reply
        try:
            attempt(attempts)
            return await reply
        finally:
            if timer is not None:
                timer.cancel()
            # It has itself: all of the request would wait for the collector.
            del attempt
            if self._protocol.waiting.pop(cookie, None) is not None and reply.cancelled():
                self._await_unheard(cookie)

    def _await_unheard(self, cookie: bytes) -> None:
        """Who asked went away before the reply came."""
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._protocol.waiting[cookie] = reply
        self._unheard.add(reply)
        reply.add_done_callback(functools.partial(self._heard, cookie))
        self._loop.call_later(UNHEARD_S, reply.cancel)

    def _heard(self, cookie: bytes, reply: asyncio.Future[bytes]) -> None:
        self._protocol.waiting.pop(cookie, None)
        self._unheard.discard(reply)
        if not reply.cancelled():
            reply.exception()

    async def settle(self) -> None:
        """Wait until what nobody waits for any more is answered, UNHEARD_S at most.

        rtpengine has several threads: what is sent next may overtake what it was asked for before.
        """
        if self._unheard:
            await asyncio.wait(set(self._unheard))

    async def ping(self, timeout_s: float) -> None:
        """One ping, one attempt. Raises NgError if there is no pong in time."""
        reply = await self.request("ping", attempts=1, timeout_s=timeout_s)
        if reply["result"] != "pong":
            raise NgProtocolError(f"reply to ping is {reply['result']}")

    async def process_is_gone(self, timeout_s: float) -> bool:
        """True if nobody listens. What does not refuse may carry calls, though its TCP port is closed."""
        try:
            await self.ping(timeout_s)
        except NgUnreachableError:
            return True
        except NgError:
            pass
        return False

    async def calls(self) -> int:
        """How many calls the rtpengine carries now."""
        reply = await self.request("statistics")
        statistics = reply.get("statistics", reply)
        current = statistics.get("currentstatistics") if isinstance(statistics, dict) else None
        count = current.get("sessionstotal") if isinstance(current, dict) else None
        if not isinstance(count, int):
            raise NgProtocolError("statistics without currentstatistics.sessionstotal")
        return count
