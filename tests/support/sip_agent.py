"""A small SIP user agent over UDP, for tests message by message."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SDP = (
    "v=0\r\no=t 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
_numbers = itertools.count(1)


class Message:
    """A SIP message as it came."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.decode().partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in (li.partition(":") for li in lines)]
        self.received_at = time.monotonic()

    def all(self, name: str) -> list[str]:
        """Values of all headers of a name, in order."""
        return [value for header, value in self.headers if header == name.lower()]

    def get(self, name: str) -> str:
        """Value of the first header of a name; empty if there is none."""
        return next(iter(self.all(name)), "")

    @property
    def code(self) -> int:
        """Status code; 0 for a request."""
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/") else 0

    @property
    def method(self) -> str:
        """Method of a request, or of the request that a reply is for."""
        return self.get("CSeq").split(" ")[1]

    @property
    def uri(self) -> str:
        """Request URI."""
        return self.first.split(" ")[1]

    def __repr__(self) -> str:
        return self.first


@dataclass
class Call:
    """What an agent knows of one dialog."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str] = field(default_factory=list)
    cseq: int = 1
    branch: str = ""


class Agent(asyncio.DatagramProtocol):
    """A user agent that sends and receives single messages over UDP. Knows no transactions: tests see every message."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        self.proxy = proxy
        self.inbox: list[Message] = []
        self.seen: list[Message] = []
        self._arrived = asyncio.Event()
        self._transport: asyncio.DatagramTransport
        self.port = 0
        self.host = "127.0.0.1"

    async def start(self, host: str = "127.0.0.1") -> Agent:
        """Bind a free port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self.host, self.port = self._transport.get_extra_info("sockname")
        return self

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = Message(data)
        self.inbox.append(message)
        self.seen.append(message)
        self._arrived.set()

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:
        """Send a message, by default to the proxy."""
        self._transport.sendto(text.encode() if isinstance(text, str) else text, to or self.proxy)

    async def expect(self, what: int | str, *, method: str = "INVITE", within: float = 10.0) -> Message:
        """The next message that is a reply of a code (to a method) or a request of a method; others stay."""
        limit = time.monotonic() + within
        while True:
            for message in self.inbox:
                if (message.code == what and message.method == method) or (not message.code and message.method == what):
                    self.inbox.remove(message)
                    return message
            left = limit - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {what} within {within} s; inbox: {self.inbox}")
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def call(self, called: str = "4001234567", calling: str = "13800001234") -> Call:
        """A new dialog, not begun."""
        number = f"{next(_numbers)}x{os.getpid()}x{time.monotonic_ns()}"
        uri = f"sip:{called}@{self.proxy[0]}:{self.proxy[1]}"
        local = f"<sip:{calling}@{self.host}:{self.port}>;tag=c{number}"
        return Call(f"{number}@{self.host}", local, f"<{uri}>", uri, branch=f"z9hG4bK{number}")

    def request(
        self,
        call: Call,
        method: str,
        *,
        headers: Iterable[str] = (),
        body: str = "",
        branch: str | None = None,
        cseq: int = 0,
    ) -> str:
        """Text of a request in a dialog."""
        lines = [
            f"{method} {call.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch={branch or call.branch}",
            *(f"Route: {route}" for route in call.routes),
            f"From: {call.local}",
            f"To: {call.remote}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq or call.cseq} {method}",
            f"Contact: <sip:agent@{self.host}:{self.port}>",
            "Max-Forwards: 70",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def invite(self, call: Call, *, headers: Iterable[str] = (), body: str = SDP) -> None:
        """Send the first INVITE."""
        self.send(self.request(call, "INVITE", headers=headers, body=body))

    def ack_failure(self, call: Call, reply: Message) -> None:
        """ACK a negative final reply, hop by hop."""
        remote, call.remote = call.remote, reply.get("To")
        self.send(self.request(call, "ACK"))
        call.remote = remote

    def answered(self, call: Call, reply: Message) -> None:
        """Take the dialog over from a 2xx."""
        call.remote = reply.get("To")
        call.routes = record_route(reply)[::-1]
        call.target = _uri(reply.get("Contact"))

    def in_dialog(self, call: Call, method: str, *, headers: Iterable[str] = (), body: str = "") -> str:
        """Text of the next request of a dialog; ACK keeps the number of its INVITE."""
        if method != "ACK":
            call.cseq += 1
        return self.request(call, method, headers=headers, body=body, branch=f"z9hG4bK{next(_numbers)}x{os.getpid()}")

    def reply(
        self,
        request: Message,
        code: int,
        phrase: str = "-",
        *,
        tag: str = "line",
        headers: Iterable[str] = (),
        body: str = "",
    ) -> str:
        """Text of a reply to a request, sent back with :meth:`send`."""
        to = request.get("To")
        lines = [
            f"SIP/2.0 {code} {phrase}",
            *(f"Via: {via}" for via in request.all("Via")),
            *(f"Record-Route: {route}" for route in request.all("Record-Route")),
            f"From: {request.get('From')}",
            f"To: {to}" if code == 100 or "tag=" in to else f"To: {to};tag={tag}",
            f"Call-ID: {request.get('Call-ID')}",
            f"CSeq: {request.get('CSeq')}",
            f"Contact: <sip:line@{self.host}:{self.port}>",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def dialog(self, invite: Message, tag: str = "line") -> Call:
        """The dialog of an INVITE that was answered, as the answering side sees it."""
        return Call(
            invite.get("Call-ID"), f"{invite.get('To')};tag={tag}", invite.get("From"), _uri(invite.get("Contact")),
            record_route(invite),
        )  # fmt: skip


def record_route(message: Message) -> list[str]:
    """The entries of all Record-Route headers."""
    return [part.strip() for value in message.all("Record-Route") for part in value.split(",")]


def _uri(contact: str) -> str:
    found = re.search(r"<([^>]*)>", contact)
    return found.group(1) if found else contact


async def connect(caller: Agent, line: Agent) -> tuple[Call, Message]:
    """A call that is answered and acknowledged: the caller's dialog, and the INVITE as the line got it."""
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, "OK", body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    return call, invite
