"""A stand-in for the sidecar of a real proxy: takes its questions and sends it the decisions that a test wants."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.kamailio import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.kamailio import Kamailio

_numbers = itertools.count(1)
_NEXT = "<next>"


@dataclass
class Question:
    """A question of the proxy, decoded."""

    raw: dict[str, Any]
    called: str
    calling: str
    call_id: str


def dial(*stages: str, media: str = "bypass", n1: int = 0, n2: int = 0, **more: Any) -> dict[str, Any]:
    """A decision to dial. Stages that do not say what follows are followed by the next."""
    texts = []
    for position, text in enumerate(stages, 1):
        following = position + 1 if position < len(stages) else 0
        texts.append(text.replace(_NEXT, " ".join([str(following)] * 3), 1))
    decision = {"v": 1, "do": "dial", "by": "routing", "why": "dial", "tn": "tenant-1", "nu": "4001234567"}
    return {**decision, "md": media, "n1": n1, "n2": n2, "an": 0, "mx": 0, "st": texts, **more}


def reject(code: int, phrase: str, retry_after: int = 0, why: str = "number_unknown") -> dict[str, Any]:
    """A decision to refuse."""
    decision = {"v": 1, "do": "reject", "by": "routing", "why": why, "tn": "", "nu": ""}
    return {**decision, "code": code, "ph": phrase, "ra": retry_after}


def branch(
    port: int,
    *,
    line: str = "line-1",
    user: str = "1001",
    flags: str = "-",
    transport: str = "udp",
    cursor: str = "",
) -> str:
    """A branch of a stage to a line on loopback."""
    text = (
        f"{line} sip:{user}@127.0.0.1:{port};transport={transport} sip:127.0.0.1:{port};transport={transport} {flags}"
    )
    return f"{text} {cursor}" if cursor else text


def stage(*branches: str, ring_ms: int = 30000, then: str = _NEXT) -> str:
    """A stage. ``then``: what follows when a line was busy, when one rang in vain, and when all failed otherwise."""
    return "|".join([f"{ring_ms} {then}", *branches])


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
    """The ROUTE request of the wire contract with one decision."""
    return route_requests([(index, label, decision)], proxy, token=token)


def route_requests(
    decisions: list[tuple[int, int, dict[str, Any] | bytes]], proxy: Kamailio, *, token: str = TOKEN
) -> bytes:
    """The ROUTE request of the wire contract with several decisions."""
    body = b"".join(
        b"%d %d\n%b\n" % (index, label, decision if isinstance(decision, bytes) else json.dumps(decision).encode())
        for index, label, decision in decisions
    )
    nonce = f"n{next(_numbers)}"
    head = (
        f"ROUTE sip:{token}@127.0.0.1:{proxy.route_port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{proxy.ask_port};branch=z9hG4bK{nonce}\r\n"
        f"From: <sip:edge@127.0.0.1:{proxy.ask_port}>;tag={nonce}\r\nTo: <sip:127.0.0.1:{proxy.route_port}>\r\n"
        f"Call-ID: {nonce}\r\nCSeq: 1 ROUTE\r\nMax-Forwards: 1\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
