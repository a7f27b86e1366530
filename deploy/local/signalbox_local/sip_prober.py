"""Asks a proxy over SIP what becomes of calls to a number: one INVITE after the other, and how each ends.

For numbers whose calls end with a final response other than 2xx: each is acknowledged (RFC 3261 section 17.1.1.3), and
no dialog is left.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLER = "13800001234"
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
    "a=rtpmap:8 PCMA/8000\r\n"
)
_runs = itertools.count(1)


@dataclass(slots=True)
class Probe:
    """A call: when its INVITE was sent (time.perf_counter) and the final response's code, 0 while there is none."""

    sent_at: float
    code: int = 0


class Prober(asyncio.DatagramProtocol):
    """Calls one number through one proxy."""

    def __init__(self, number: str, proxy: tuple[str, int]) -> None:
        self._number = number
        self._proxy = "{}:{}".format(*proxy)
        self._here = ""
        self._run = f"{os.getpid()}x{next(_runs)}"
        self._next = 0
        self._open: dict[str, tuple[Probe, bytes]] = {}
        self._transport: asyncio.DatagramTransport
        self._answered = asyncio.Event()

    @classmethod
    async def open(cls, number: str, proxy: tuple[str, int]) -> Self:
        """With a socket of its own."""
        loop = asyncio.get_running_loop()
        self = cls(number, proxy)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=proxy)
        self._here = "{}:{}".format(*self._transport.get_extra_info("sockname"))
        return self

    def close(self) -> None:
        """Close the socket; calls without an answer are forgotten."""
        self._transport.close()

    def call(self) -> Probe:
        """Send an INVITE."""
        self._next += 1
        id = f"{self._run}x{self._next}"
        probe = Probe(time.perf_counter())
        self._open[id] = probe, self._request("ACK", id)
        self._transport.sendto(self._request("INVITE", id, _SDP))
        return probe

    async def settle(self, probes: Sequence[Probe], within_s: float) -> None:
        """Wait until each of some calls has its final response, or the time is over."""
        deadline = time.perf_counter() + within_s
        while any(not probe.code for probe in probes):
            left = deadline - time.perf_counter()
            if left <= 0:
                return
            self._answered.clear()
            try:
                async with asyncio.timeout(left):
                    await self._answered.wait()
            except TimeoutError:
                return

    def datagram_received(self, data: bytes, addr: object) -> None:
        status, _, rest = data.partition(b"\r\n")
        if not status.startswith(b"SIP/2.0 ") or (code := int(status[8:11])) < 200:
            return
        # The branch of our Via comes back as it was sent (RFC 3261 section 8.2.6.2).
        id = rest.partition(b"branch=z9hG4bK")[2].partition(b"\r\n")[0].partition(b";")[0].decode()
        if id not in self._open:
            return
        probe, acknowledgement = self._open[id]
        to = next(line for line in rest.split(b"\r\n") if line[:3].lower() in (b"to:", b"t: "))
        self._transport.sendto(acknowledgement.replace(b"To: \r\n", to + b"\r\n"))
        if not probe.code:
            probe.code = code
            self._answered.set()

    def forget(self) -> None:
        """Answers to the calls up to now that come again are no longer acknowledged."""
        self._open.clear()

    def _request(self, method: str, id: str, body: str = "") -> bytes:
        """ACK's To is left open: it is that of the response."""
        uri = f"sip:{self._number}@{self._proxy}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self._here};branch=z9hG4bK{id}\r\n"
            f"From: <sip:{CALLER}@{self._here}>;tag={id}\r\n"
            f"To: {f'<{uri}>' if body else ''}\r\nCall-ID: {id}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:{CALLER}@{self._here}>\r\nMax-Forwards: 70\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
