"""Callers and lines that send single SIP messages and RTP packets, for what SIPp cannot time or must not send."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from signalbox.address import split

from support.sip_agent import Agent, Call, Message
from support.site import CALLER_HOST, LINE_HOST, Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FRAME = b"\xd5" * 160
"""20 ms of silence in A-law."""


class Phone(Agent):
    """An agent with an RTP port. It sends where RFC 3261 says: requests along the route set, replies along Via."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        super().__init__(proxy)
        self.outbound: tuple[str, int] | None = None
        """Where requests go instead of along their routes, as with an outbound proxy."""
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._packets = 0

    async def start(self, host: str = CALLER_HOST) -> Phone:
        """Bind free ports."""
        await super().start(host)
        self.rtp.bind((host, 0))
        self.rtp.setblocking(False)
        return self

    def close(self) -> None:
        """Close the sockets."""
        super().close()
        self.rtp.close()

    @property
    def address(self) -> str:
        """Where it takes SIP, host:port."""
        return f"{self.host}:{self.port}"

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:
        """Send a message to its next hop, or where it is told."""
        data = text.encode() if isinstance(text, str) else text
        reply = data.startswith(b"SIP/2.0 ")
        super().send(data, to or (None if reply else self.outbound) or _next_hop(data))

    def sdp(self, direction: str = "sendrecv", version: int = 1) -> str:
        """An offer or answer with the RTP port."""
        return (
            f"v=0\r\no=- 1 {version} IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp.getsockname()[1]} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
        )

    async def hears(self, other: Phone, via: str) -> bool:
        """True if RTP that the other sends to the media address ``via`` arrives here within 2 s."""
        loop = asyncio.get_running_loop()
        self._drain()
        for _ in range(100):
            other._packets += 1
            head = struct.pack("!BBHII", 0x80, 8, other._packets % 65536, other._packets * 160 % 2**32, other.port)
            other.rtp.sendto(head + FRAME, split(via))
            try:
                packet = await asyncio.wait_for(loop.sock_recv(self.rtp, 2048), 0.02)
            except TimeoutError:
                continue
            if packet[8:12] == struct.pack("!I", other.port):
                return True
        return False

    def _drain(self) -> None:
        while True:
            try:
                self.rtp.recv(2048)
            except BlockingIOError:
                return


@dataclass(frozen=True, slots=True)
class Stream:
    """The first stream of an SDP."""

    address: str
    """host:port."""
    direction: str


def stream(message: str) -> Stream:
    """What the SDP of a message, given as text, says of its first stream."""
    host = re.search(r"^c=IN IP4 (\S+)", message, re.MULTILINE)
    port = re.search(r"^m=audio (\d+) ", message, re.MULTILINE)
    assert host is not None, f"no SDP in {message}"
    assert port is not None, f"no audio in {message}"
    direction = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)\r?$", message, re.MULTILINE)
    return Stream(f"{host[1]}:{port[1]}", direction[1] if direction else "sendrecv")


def _next_hop(data: bytes) -> tuple[str, int] | None:
    """First Route of a request, topmost Via of a reply; None: the proxy."""
    if data.startswith(b"SIP/2.0 "):
        found = re.search(rb"\r\nVia: SIP/2.0/UDP ([0-9.]+):(\d+)", data)
    else:
        found = re.search(rb"\r\nRoute: <sip:([0-9.]+):(\d+)", data)
    return (found[1].decode(), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Connected:
    """An answered call, as both sides see it."""

    caller: Phone
    line: Phone
    call: Call
    """The caller's dialog."""
    dialog: Call
    """The line's."""
    invite: Message
    """The INVITE as the line got it."""
    answer: Message
    """The 200 as the caller got it."""

    async def reinvite(self, direction: str = "sendrecv") -> Message:
        """re-INVITE by the caller; returns it as the line got it."""
        answered = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)
        self.caller.send(self.caller.in_dialog(self.call, "INVITE", body=self.caller.sdp(direction, self.call.cseq)))
        invite = await self.line.expect("INVITE")
        self.line.send(self.line.reply(invite, 200, "OK", body=self.line.sdp(answered, self.call.cseq)))
        await self.caller.expect(200)
        self.caller.send(self.caller.in_dialog(self.call, "ACK"))
        await self.line.expect("ACK")
        return invite

    async def both_hear(self) -> bool:
        """True if RTP gets through both ways, through the media node."""
        to_line, to_caller = stream(self.answer.body).address, stream(self.invite.body).address
        return await self.line.hears(self.caller, to_line) and await self.caller.hears(self.line, to_caller)

    async def hang_up(self) -> None:
        """BYE by the line."""
        self.line.send(self.line.in_dialog(self.dialog, "BYE"))
        bye = await self.caller.expect("BYE")
        self.caller.send(self.caller.reply(bye, 200, "OK"))
        await self.line.expect(200, method="BYE")


async def connect(caller: Phone, line: Phone, number: str) -> Connected:
    """Call the number, answer at the line, and acknowledge."""
    call = caller.call(number)
    caller.invite(call, body=caller.sdp())
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, "OK", body=line.sdp()))
    answer = await caller.expect(200)
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    return Connected(caller, line, call, line.dialog(invite), invite, answer)


@pytest.fixture
async def phone(site: Site) -> AsyncIterator[Callable[..., Awaitable[Phone]]]:
    """Makes phones: callers by default. ``proxy`` is the number of the proxy that they call through."""
    phones: list[Phone] = []

    async def make(host: str = CALLER_HOST, *, proxy: int = 1) -> Phone:
        phones.append(await Phone(site.sip(proxy)).start(host))
        return phones[-1]

    yield make
    for each in phones:
        each.close()


@pytest.fixture
async def caller(phone: Callable[..., Awaitable[Phone]]) -> Phone:
    """A caller through the first proxy."""
    return await phone()


@pytest.fixture
async def line(phone: Callable[..., Awaitable[Phone]]) -> Phone:
    """A line."""
    return await phone(LINE_HOST)
