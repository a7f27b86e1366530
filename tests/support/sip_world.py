"""A world for transaction machines: time that stands still until told, and messages that go where a test wants them."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from signalbox import address
from signalbox.sip.message import Headers, Request, Response, response
from signalbox.sip.parser import parse
from signalbox.sip.source import Source, TransportError
from signalbox.sip.stats import Stats
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import mark
from signalbox.sip.uri import PORT
from signalbox.sip.validate import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.sip.headers import Via
    from signalbox.sip.source import Address, Failed, Receiver
    from signalbox.sip.transactions.client import ClientTransaction
    from signalbox.sip.transactions.server import ServerTransaction

HERE: Address = ("192.0.2.1", 5060)
THERE: Address = ("192.0.2.2", 5060)


class Timer:
    """One call that is to come."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class VirtualClock:
    """Goes on only when it is told to, and calls what is due in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Timer]] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._heap, (self.now + delay, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """Timers that run."""
        return sum(timer.action is not None for _, _, timer in self._heap)

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._run_to(self.now + seconds)

    def run_out(self, limit_s: float = 100_000.0) -> None:
        """Go on until no timer runs."""
        end = self.now + limit_s
        while self.pending:
            assert self._heap[0][0] <= end, f"timers still run after {limit_s} s"
            self._run_to(self._heap[0][0])

    def _run_to(self, end: float) -> None:
        while self._heap and self._heap[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._heap)
            action, timer.action = timer.action, None
            if action is not None:
                action()
        self.now = end


class Sent(NamedTuple):
    """A message that was sent, and when."""

    at: float
    protocol: str
    remote: Address
    message: Request | Response

    @property
    def what(self) -> str:
        """Method or status."""
        return self.message.method if isinstance(self.message, Request) else str(self.message.status)


class RecordingCarrier:
    """Sends nothing, and keeps what it was given. ``broken``: protocols by which nothing can be sent."""

    def __init__(self, clock: VirtualClock, local: Address = HERE, protocols: Sequence[str] = ("udp", "tcp")) -> None:
        self.stats = Stats()
        self.receiver: Receiver | None = None
        self.sent: list[Sent] = []
        self.broken: set[str] = set()
        self.local = local
        self._clock = clock
        self._protocols = protocols

    def sent_by(self, protocol: str, remote: Address) -> str:
        return address.join(*self.local) if protocol in self._protocols else ""

    def send(self, data: bytes, protocol: str, remote: Address, failed: Failed | None = None) -> None:
        self.sent.append(Sent(self._clock.now, protocol, remote, parse(data)))
        if protocol in self.broken and failed is not None:
            self._clock.call_later(0, lambda: failed(TransportError("the road is closed")))

    def reply(self, data: bytes, via: Via | None, source: Source, failed: Failed | None = None) -> None:
        remote = source.remote if via is None or "rport" in via.params else (source.remote[0], via.port or PORT)
        self.send(data, source.protocol, remote, failed)

    def respond(self, response: Response, source: Source) -> None:
        self.reply(response.encode(), response.via, source)

    def arrive(self, message: Request | Response, source: Source) -> None:
        """A message has come: what a transport does with it."""
        assert self.receiver is not None
        message = parse(message.encode())
        if isinstance(message, Request):
            mark(message, source.remote)
        check(message)
        self.receiver.on_message(message, source)


class _Link:
    def send(self, data: bytes, remote: Address, failed: Failed | None) -> bool:
        raise AssertionError("the carrier sends, not the link")


@dataclass
class RecordingUser:
    """Keeps what it is told, and answers as ``answer`` says."""

    events: list[str] = field(default_factory=list)
    requests: list[ServerTransaction] = field(default_factory=list)
    asked: dict[ServerTransaction, Request] = field(default_factory=dict)
    answer: Callable[[ServerTransaction, Request], object] = lambda tx, request: None

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        self.events.append(str(response.status))

    def on_timeout(self, tx: ClientTransaction) -> None:
        self.events.append("timeout")

    def on_failure(self, tx: ClientTransaction, error: TransportError) -> None:
        self.events.append(f"failure: {error}")

    def on_request(self, tx: ServerTransaction, request: Request) -> None:
        self.events.append(request.method)
        self.requests.append(tx)
        self.asked[tx] = request
        self.answer(tx, request)

    def on_ack(self, request: Request, source: Source) -> None:
        self.events.append("ACK")

    def on_stray_response(self, response: Response, source: Source) -> None:
        self.events.append(f"stray {response.status}")


class World:
    """A transaction layer alone with a test."""

    def __init__(self, protocols: Sequence[str] = ("udp", "tcp")) -> None:
        self.clock = VirtualClock()
        self.carrier = RecordingCarrier(self.clock, protocols=protocols)
        self.layer = Transactions(self.carrier, clock=self.clock)
        self.user = RecordingUser()
        self.layer.user = self.user

    @property
    def sent(self) -> list[str]:
        """Methods and statuses of what was sent."""
        return [one.what for one in self.carrier.sent]

    @property
    def events(self) -> list[str]:
        """What the user was told."""
        return self.user.events

    def times(self, what: str) -> list[float]:
        """When messages of a method or status were sent."""
        return [one.at for one in self.carrier.sent if one.what == what]

    def send(self, request: Request, protocol: str = "udp") -> ClientTransaction:
        """Send a request to the other side."""
        return self.layer.send(request, protocol, THERE, self.user)

    def arrive(self, message: Request | Response, protocol: str = "udp", remote: Address = THERE) -> None:
        """A message comes from the other side."""
        self.carrier.arrive(message, Source(protocol, remote, HERE, _Link()))

    def answered(self, status: int, protocol: str = "udp", *, tag: str = "there", method: str = "") -> None:
        """A response comes, to the last request that was sent (of a method)."""
        request = next(
            one.message
            for one in reversed(self.carrier.sent)
            if isinstance(one.message, Request) and one.what != "ACK" and method in ("", one.what)
        )
        assert isinstance(request, Request)
        self.arrive(response(request, status, tag=tag), protocol)

    def assert_over(self) -> None:
        """Nothing lives, and no timer runs."""
        assert len(self.layer) == 0
        assert self.clock.pending == 0


_numbers = itertools.count(1)


def request(
    method: str,
    *,
    branch: str | None = None,
    protocol: str = "UDP",
    sent_by: str = "192.0.2.2:5060",
    via: str = "",
    call_id: str = "",
    cseq: int = 1,
    to_tag: str = "",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> Request:
    """A request as it comes (with a Via) or, with ``branch=None`` and no ``via``, before it is sent."""
    fields = []
    if via or branch is not None:
        fields.append(("Via", via or f"SIP/2.0/{protocol} {sent_by};branch={branch}"))
    fields += [
        ("From", "<sip:caller@example.com>;tag=caller"),
        ("To", f"<sip:4001234567@example.com>{f';tag={to_tag}' if to_tag else ''}"),
        ("Call-ID", call_id or f"call-{next(_numbers)}"),
        ("CSeq", f"{cseq} {method}"),
        ("Max-Forwards", "70"),
        *headers,
    ]
    if body:
        fields.append(("Content-Type", "text/plain"))
    return Request(method, "sip:4001234567@192.0.2.1", Headers(fields), body)


def of_invite(invite: Request, method: str, *, to_tag: str = "") -> Request:
    """The ACK of a failure, or the CANCEL, of an INVITE that came."""
    made = Request(method, invite.uri, invite.headers.copy())
    made.headers.set("CSeq", f"{invite.cseq.number} {method}")
    if to_tag:
        made.headers.set("To", f"<sip:4001234567@example.com>;tag={to_tag}")
    return made
