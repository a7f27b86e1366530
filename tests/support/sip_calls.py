"""A user agent alone with a test, which plays the other party of its calls on a clock of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.sip.message import Headers, Request, Response, response
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.useragent import UserAgent

from support.sip_world import World, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.sip.incoming import IncomingCall

CONTACT = ("Contact", "<sip:caller@192.0.2.2>")
SDP = ("Content-Type", "application/sdp")


def described(port: int, version: int = 1, direction: str = "sendrecv") -> SessionDescription:
    """A session of one stream of PCMA."""
    return SessionDescription.parse(
        f"v=0\no=- 1 {version} IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n"
        f"m=audio {port} RTP/AVP 8\na=rtpmap:8 PCMA/8000\na={direction}\n"
    )


OFFER, ANSWER = described(4000), described(5000)


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Calls(World):
    """A user agent whose ``handler`` takes each call; ``taken`` are those that came."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[IncomingCall] = []
        self.ua = UserAgent(self.layer, self._on_invite)
        self.sequence = 1

    async def _on_invite(self, call: IncomingCall) -> None:
        self.taken.append(call)
        await self.handler(call)

    async def handler(self, call: IncomingCall) -> None:
        """What a test does not replace: wait."""
        await call.over()

    async def invited(
        self,
        headers: Sequence[tuple[str, str]] = (),
        *,
        body: bytes = OFFER.encode(),
        contact: bool = True,
        protocol: str = "udp",
        branch: str = "z9hG4bKinvite",
        call_id: str = "call",
    ) -> Request:
        """An INVITE comes."""
        fields = [*headers, *([CONTACT] if contact else [])]
        made = request(
            "INVITE", branch=branch, call_id=call_id, headers=fields, body=body, protocol=protocol.upper()
        )  # fmt: skip
        if body:
            made.headers.set("Content-Type", dict(headers).get("Content-Type", SDP[1]))
        self.arrive(made, protocol)
        await settle()
        return made

    @property
    def call(self) -> IncomingCall:
        """The call that came last."""
        return self.taken[-1]

    def last(self, what: str) -> Request | Response:
        """The last message of a method or status that was sent."""
        return next(one.message for one in reversed(self.carrier.sent) if one.what == what)

    def last_response(self, status: int) -> Response:
        message = self.last(str(status))
        assert isinstance(message, Response)
        return message

    def from_caller(
        self, method: str, *, cseq: int | None = None, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> Request:
        """The caller's next request in the dialog of the last response that we sent."""
        answered = next(
            one.message
            for one in reversed(self.carrier.sent)
            if isinstance(one.message, Response) and one.message.cseq.method == "INVITE" and one.message.status > 100
        )
        if cseq is None:
            if method != "ACK":
                self.sequence += 1
            cseq = 1 if method == "ACK" else self.sequence
        made = Request(method, "sip:192.0.2.1:5060", Headers(), body)
        made.headers.add("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{method}{self.sequence}")
        for name in ("From", "To", "Call-ID"):
            made.headers.add(name, answered.headers.get(name) or "")
        made.headers.add("CSeq", f"{cseq} {method}")
        for name, value in headers:
            made.headers.add(name, value)
        if body and "Content-Type" not in made.headers:
            made.headers.set(*SDP)
        return made

    async def asked(self, method: str, **more: object) -> Request:
        """The caller's next request in the dialog comes."""
        made = self.from_caller(method, **more)  # type: ignore[arg-type]
        self.arrive(made)
        await settle()
        return made

    async def replied(
        self,
        status: int,
        *,
        tag: str = "there",
        body: bytes = b"",
        contact: str = "<sip:callee@192.0.2.3:5080>",
        headers: Sequence[tuple[str, str]] = (),
        of: Request | None = None,
    ) -> None:
        """The other party responds to an INVITE of ours, the last one."""
        invite = of or self.last("INVITE")
        assert isinstance(invite, Request)
        fields = [("Contact", contact), *headers] if contact else [*headers]
        made = response(invite, status, tag=tag, headers=fields, body=body)
        if body:
            made.headers.set(*SDP)
        self.arrive(made)
        await settle()

    async def callee_asks(self, method: str, *, tag: str = "there", cseq: int = 1) -> None:
        """The party that we called sends a request in the dialog."""
        invite = self.last("INVITE")
        made = Request(method, "sip:192.0.2.1:5060", Headers())
        made.headers.add("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{method}{cseq}")
        made.headers.add("From", invite.headers.get("To") or "")
        if not invite.to.tag:
            made.headers.set("From", f"{invite.headers.get('To')};tag={tag}")
        made.headers.add("To", invite.headers.get("From") or "")
        made.headers.add("Call-ID", invite.call_id)
        made.headers.add("CSeq", f"{cseq} {method}")
        self.arrive(made)
        await settle()

    async def after(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.advance(seconds)
        await settle()

    async def assert_nothing_left(self) -> None:
        """All calls have ended, and nothing of them is left."""
        await settle()
        self.clock.run_out()
        await settle()
        self.assert_over()
        assert self.ua.calls == set()
        assert self.ua.sessions == {}
        assert self.ua.running == 0
