"""A real Kamailio on free loopback ports with a fake sidecar, and a small SIP agent for tests message by message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalbox.edge import eventrow, kamailio_config
from signalbox.settings import EdgeSettings, KamailioSettings

from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.api.events.v1 import events_pb2

TOKEN = "token-for-tests-0123456789"
CLUSTER_KEY = "cluster-key-for-tests-0123456789"
START_LIMIT_S = 15.0
SDP = (
    "v=0\r\no=t 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
_numbers = itertools.count(1)


class Kamailio:
    """One proxy process, rendered from settings, with its files in a directory of its own."""

    def __init__(
        self,
        *,
        id: str = "edge-1",
        host: str = "127.0.0.1",
        static_destination: str | None = None,
        trunks: Iterable[tuple[str, str]] = (("127.0.0.1", "trunk-a"),),
        disabled_trunks: Iterable[str] = (),
        peers: Iterable[str] = (),
        media_nodes: Iterable[tuple[int, str]] = (),
        **settings: Any,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sbk-"))
        self.host, self.port, self.route_port, self.ask_port = host, free_port(host), free_port(), free_port()
        self.settings = EdgeSettings(
            id=id,
            ask_listen=f"127.0.0.1:{self.ask_port}",
            kamailio=KamailioSettings(
                listen=[f"{host}:{self.port}"],
                route_listen=f"127.0.0.1:{self.route_port}",
                runtime_dir=self.directory,
                event_dir=self.directory / "events",
                **{"shared_memory_mb": 256, **settings},
            ),
        )
        self.config = kamailio_config.write(
            self.settings, token=TOKEN, cluster_key=CLUSTER_KEY, static_destination=static_destination
        )
        addresses = [(1, address, tag) for address, tag in trunks] + [
            (2, address, "off") for address in disabled_trunks
        ]
        self.table(
            "address", [f"{n}:{g}:{a.replace(':', chr(92) + ':')}:32:0:{t}" for n, (g, a, t) in enumerate(addresses, 1)]
        )
        self.table("domain", [f"{n}:{peer}:{peer}:0" for n, peer in enumerate(peers, 1)])
        escaped = [(number, url.replace(":", "\\:")) for number, url in media_nodes]
        self.table("rtpengine", [f"{n}:{number}:{url}:1:0:0" for n, (number, url) in enumerate(escaped, 1)])
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def table(self, name: str, rows: list[str]) -> None:
        """Write a db_text table. db_text reads it again only if it is a second younger than before."""
        path = self.directory / "tables" / name
        moment = path.stat().st_mtime + 1
        path.write_text("\n".join([kamailio_config.TABLES[name][0], *rows]) + "\n")
        os.utime(path, (moment, moment))

    def start(self, *, marked: bool = True) -> None:
        """Start it and wait until it answers RPC. ``marked``: set the sidecar's mark of the state it has."""
        command = kamailio_config.command(self.settings, self.config)
        command[:1] = os.environ.get("KAMAILIO", "kamailio").split()  # another version, perhaps in a chroot
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        limit = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.rpc("core.uptime")
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise AssertionError(f"Kamailio did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.05)
        if marked:
            self.rpc("htable.sets", "cfg", "version", "test")

    def __enter__(self) -> Kamailio:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it and remove its files."""
        self.kill(signal.SIGTERM)
        shutil.rmtree(self.directory)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the process and all its workers."""
        if self._process is None:
            return
        if number == signal.SIGTERM:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pids(self) -> list[int]:
        """Process ids of all its processes."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, text.split())]

    def rpc(self, method: str, *params: Any) -> Any:
        """Call a JSON-RPC method on the control socket. Raises OSError if there is none."""
        path = self.directory / f"c{next(_numbers)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(path))
            try:
                client.settimeout(5)
                request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
                client.sendto(json.dumps(request).encode(), str(self.directory / "rpc.sock"))
                reply = json.loads(client.recv(1 << 20))
            finally:
                path.unlink()
        assert "result" in reply, reply
        return reply["result"]

    def counter(self, name: str) -> int:
        """One of our counters."""
        return int(self.rpc("cnt.get", "signalbox", name))

    def transactions(self) -> int:
        """Transactions in memory."""
        return int(self.rpc("tm.stats")["current"])

    def rows(self) -> list[str]:
        """All event rows so far, in order of time."""
        rows = [row for file in (self.directory / "events").iterdir() for row in file.read_text().splitlines()]
        return sorted(rows, key=lambda row: row.rsplit("|", 3)[1])

    def events(self, call: Call) -> list[events_pb2.CallEvent]:
        """The events of a call, in order of time."""
        return [eventrow.parse(row) for row in self.rows() if f"|{call.call_id}|" in row]

    async def events_until(self, call: Call, last: str) -> list[events_pb2.CallEvent]:
        """The events of a call, once the last of them is of that kind: a row follows its message by microseconds."""
        await until(lambda: any(event.WhichOneof("event") == last for event in self.events(call)))
        return self.events(call)


@dataclass
class Question:
    """A question of the proxy, decoded."""

    raw: dict[str, Any]
    called: str
    calling: str
    call_id: str


def dial(*stages: str, media: str = "bypass", n1: int = 0, n2: int = 0, **more: Any) -> dict[str, Any]:
    """A decision to dial."""
    decision = {"v": 1, "do": "dial", "by": "routing", "why": "dial", "tn": "tenant-1", "nu": "4001234567"}
    return {**decision, "md": media, "n1": n1, "n2": n2, "st": list(stages), **more}


def reject(code: int, phrase: str, retry_after: int = 0, why: str = "number_unknown") -> dict[str, Any]:
    """A decision to refuse."""
    decision = {"v": 1, "do": "reject", "by": "routing", "why": why, "tn": "", "nu": ""}
    return {**decision, "code": code, "ph": phrase, "ra": retry_after}


def branch(port: int, *, line: str = "line-1", user: str = "1001", flags: str = "-", transport: str = "udp") -> str:
    """A branch of a stage to a line on loopback."""
    return (
        f"{line} sip:{user}@127.0.0.1:{port};transport={transport} sip:127.0.0.1:{port};transport={transport} {flags}"
    )


def stage(*branches: str, ring_ms: int = 30000) -> str:
    """A stage."""
    return "|".join([str(ring_ms), *branches])


class FakeSidecar(asyncio.DatagramProtocol):
    """Answers the questions of one proxy with what ``decide`` returns: an object, raw body, or None for silence."""

    def __init__(self, proxy: Kamailio, decide: Callable[[Question], dict[str, Any] | bytes | None]) -> None:
        self.proxy = proxy
        self.decide = decide
        self.questions: list[Question] = []
        self._transport: asyncio.DatagramTransport

    async def start(self) -> FakeSidecar:
        """Listen where the proxy asks."""
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", self.proxy.ask_port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=address)
        return self

    def close(self) -> None:
        """Stop listening."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        raw = json.loads(data)
        called, calling, call_id = (base64.b64decode(raw[key], validate=True).decode() for key in ("to", "fr", "ci"))
        question = Question(raw, called, calling, call_id)
        self.questions.append(question)
        decision = self.decide(question)
        if decision is not None:
            self.answer(question, decision)

    def answer(self, question: Question, decision: dict[str, Any] | bytes, **changes: Any) -> None:
        """Send a decision."""
        data = route_request(question.raw["i"], question.raw["l"], decision, self.proxy, **changes)
        self._transport.sendto(data, ("127.0.0.1", self.proxy.route_port))


def route_request(
    index: int, label: int, decision: dict[str, Any] | bytes, proxy: Kamailio, *, token: str = TOKEN
) -> bytes:
    """The ROUTE request of the wire contract."""
    body = decision if isinstance(decision, bytes) else json.dumps(decision).encode()
    nonce = f"n{next(_numbers)}"
    head = (
        f"ROUTE sip:{token}@127.0.0.1:{proxy.route_port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{proxy.ask_port};branch=z9hG4bK{nonce}\r\n"
        f"From: <sip:{index}@edge>;tag={nonce}\r\nTo: <sip:{label}@kamailio>\r\nCall-ID: {nonce}\r\n"
        f"CSeq: 1 ROUTE\r\nMax-Forwards: 1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


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

    async def expect(self, what: int | str, *, method: str = "INVITE", within: float = 3.0) -> Message:
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


async def until(check: Callable[[], bool], within: float = 8.0) -> None:
    """Poll until it is so."""
    limit = time.monotonic() + within
    while not check():
        assert time.monotonic() < limit, "it did not come to be"
        await asyncio.sleep(0.02)
