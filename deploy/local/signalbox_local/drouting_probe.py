"""Where does a proxy send a call? A caller and some lines of one program, and orders to the proxy."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
ANSWER_S = 0.5
"""T1 of RFC 3261: a request that was lost would be sent again."""
_numbers = itertools.count(1)
_LONGEST = 65_535


class ProbeError(Exception):
    """The proxy refused an order, or did not answer it in time."""


class Outcome(NamedTuple):
    """What became of a call."""

    line: int | None
    """Which of the lines got it; None: no one."""
    code: int
    """How the proxy refused it; 0: it did not."""


class Probe:
    """A caller, and as many lines as there shall be, all of them busy."""

    def __init__(self, lines: int) -> None:
        self._caller = _socket()
        self._lines = [_socket() for _ in range(lines)]

    @property
    def lines(self) -> list[str]:
        """Where the lines listen, host:port."""
        return ["{}:{}".format(*line.getsockname()) for line in self._lines]

    def ask(self, proxy: tuple[str, int], called: str, timeout_s: float = ANSWER_S) -> Outcome:
        """Call a number, see who is called, and end the call; neither line nor code if nothing is heard in time."""
        call = f"probe-{os.getpid()}-{next(_numbers)}"
        request = _invite(self._caller.getsockname(), proxy, called, call)
        self._caller.sendto(request, proxy)
        line = None
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            for ready in select.select([self._caller, *self._lines], [], [], left)[0]:
                message, source = ready.recvfrom(_LONGEST)
                if call.encode() not in message:
                    continue
                if ready is not self._caller:
                    if message.startswith(b"INVITE "):
                        line = self._lines.index(ready)
                        ready.sendto(busy(message), source)
                elif (code := int(message.split(b" ", 2)[1])) >= 300:
                    self._caller.sendto(ack(request, message), proxy)
                    return Outcome(line, 0 if line is not None else code)
        return Outcome(line, 0)

    def close(self) -> None:
        """Give up the addresses."""
        for one in (self._caller, *self._lines):
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def busy(invite: bytes) -> bytes:
    """The reply of a line that is busy (RFC 3261 section 8.2.6)."""
    head = invite.decode().partition("\r\n\r\n")[0].split("\r\n")[1:]
    kept = [line for line in head if line.partition(":")[0].lower() in {"via", "from", "call-id", "cseq"}]
    to = next(line for line in head if line.lower().startswith("to:"))
    return "\r\n".join(["SIP/2.0 486 Busy Here", *kept, f"{to};tag=busy", "Content-Length: 0", "", ""]).encode()


def ack(invite: bytes, reply: bytes) -> bytes:
    """What ends a refused INVITE (RFC 3261 section 17.1.1.3)."""
    first, *head = invite.decode().partition("\r\n\r\n")[0].split("\r\n")
    kept = [line for line in head if line.partition(":")[0] in {"Via", "From", "Call-ID", "Max-Forwards"}]
    to = next(line for line in reply.decode().split("\r\n") if line.lower().startswith("to:"))
    uri = first.split(" ")[1]
    return "\r\n".join([f"ACK {uri} SIP/2.0", *kept, to, "CSeq: 1 ACK", "Content-Length: 0", "", ""]).encode()


def order(runtime_dir: Path, method: str, timeout_s: float) -> object:
    """Call a JSON-RPC method of the proxy and return its result. Raises ProbeError."""
    path = runtime_dir / f"order-{next(_numbers)}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(str(path))
        try:
            client.settimeout(timeout_s)
            request = {"jsonrpc": "2.0", "method": method, "params": [], "id": 1}
            client.sendto(json.dumps(request).encode(), str(runtime_dir / "rpc.sock"))
            answer = json.loads(client.recv(_LONGEST))
        except (OSError, ValueError) as error:
            raise ProbeError(f"{method}: {error!r}") from error
        finally:
            path.unlink()
    if not isinstance(answer, dict) or "result" not in answer:
        raise ProbeError(f"{method}: {answer}")
    return answer["result"]


def _socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((HOST, 0))
    return one


def _invite(caller: tuple[str, int], proxy: tuple[str, int], called: str, call: str) -> bytes:
    own, there = "{}:{}".format(*caller), "{}:{}".format(*proxy)
    return (
        f"INVITE sip:{called}@{there} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {own};rport;branch=z9hG4bK{call}\r\n"
        f"From: <sip:13800001234@{own}>;tag={call}\r\nTo: <sip:{called}@{there}>\r\n"
        f"Contact: <sip:13800001234@{own}>\r\n"
        f"Call-ID: {call}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()
