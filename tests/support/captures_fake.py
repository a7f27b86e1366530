"""A stand-in for the sidecar of a media node that captures: it has what a test gives it, and stops where that wants."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from signalbox import rpc
from signalbox.api.recording.v1 import recording_pb2 as pb
from signalbox.api.recording.v1 import recording_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ClaimLostError
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.base import Store

CALLER_PORT, LINE_PORT = 30_000, 30_002
"""Ports of rtpengine that either side sends to."""
ANSWERED_S = 1_750_000_000
PIECE = 64 * 1024


def facts(call_id: str, node: int = 1, **fields: Any) -> pb.CallFacts:
    """What the proxy knows of a call."""
    given = {"tenant": "acme", "number": "4001234567", "caller": "13800001234", "line": "desk", **fields}
    made = pb.CallFacts(call_id=call_id, media_node=node, caller_tag="from", line_tag="to", **given)
    made.answer_time.FromSeconds(ANSWERED_S)
    return made


def pcap(packets: int = 50, start_s: int = ANSWERED_S) -> bytes:
    """A capture of both sides, a G.711 packet each in every 20 ms."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]
    for number in range(packets):
        second, micros = divmod(number * 20_000, 1_000_000)
        for port, ssrc in ((CALLER_PORT, 1), (LINE_PORT, 2)):
            rtp = struct.pack("!BBHII", 0x80, 8, number, number * 160, ssrc) + bytes([0xD5]) * 160
            udp = struct.pack("!HHHH", 4000 + ssrc, port, 8 + len(rtp), 0) + rtp
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            record = ip + udp
            parts.append(struct.pack("<IIII", start_s + second, micros, len(record), len(record)) + record)
    return b"".join(parts)


@dataclass
class Held:
    """A capture that the node has."""

    capture: pb.Capture
    content: dict[str, bytes]
    not_before: float = 0.0


@dataclass
class FakeNode(recording_pb2_grpc.CaptureServiceServicer):
    """``stops``: methods that wait until their event is set, before they do anything; ``asked`` counts their calls."""

    id: str = "media-1"
    number: int = 1
    captures: dict[str, Held] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    calls_known: bool = True
    stops: dict[str, asyncio.Event] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    released: list[tuple[str, str]] = field(default_factory=list)
    """Call and reason."""
    broken_after: int | None = None
    """Streams of segments break when they have brought so many bytes."""
    address: str = ""

    def __post_init__(self) -> None:
        self._claims: dict[str, tuple[str, float]] = {}
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)

    def add(
        self,
        call_id: str,
        *contents: bytes,
        known: pb.CallFacts | None = None,
        anonymous: bool = False,
        state: pb.CaptureState = pb.CAPTURE_STATE_READY,
        start_s: int = ANSWERED_S,
    ) -> None:
        """A capture of a call, with a segment of each content. ``anonymous``: without facts."""
        names = [f"{call_id}-{position}.pcap" for position in range(len(contents or (b"",)))]
        content = dict(zip(names, contents or (pcap(),), strict=True))
        segments = [pb.Segment(name=name, size_bytes=len(bytes), whole=True) for name, bytes in content.items()]
        sides = [pb.Side(local_port=CALLER_PORT, tag="from"), pb.Side(local_port=LINE_PORT, tag="to")]
        capture = pb.Capture(call_id=call_id, state=state, segments=segments, sides=sides)
        capture.start_time.FromSeconds(start_s)
        if not anonymous:
            capture.facts.CopyFrom(known or facts(call_id, self.number))
        self._claims = {claim: (of, until) for claim, (of, until) in self._claims.items() if of != call_id}
        self.captures[call_id] = Held(capture, content)
        self._wake()

    def forget_claims(self) -> None:
        """As a sidecar that was killed does."""
        self._claims.clear()
        self._wake()

    def stop(self, method: str) -> asyncio.Event:
        """Calls of a method wait until the event is set."""
        return self.stops.setdefault(method, asyncio.Event())

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(one == method for one, _ in self.asked)

    @rpc.serve_errors
    async def ListCaptures(self, request: pb.ListCapturesRequest, context: Any) -> pb.ListCapturesResponse:
        await self._pass("ListCaptures")
        for call_id, held in self.captures.items():
            if held.capture.state != pb.CAPTURE_STATE_ACTIVE:
                state = pb.CAPTURE_STATE_CLAIMED if self._is_claimed(call_id) else pb.CAPTURE_STATE_READY
                held.capture.state = state
        return pb.ListCapturesResponse(
            node=self.id,
            media_node=self.number,
            captures=[held.capture for held in self.captures.values()],
            calls=sorted(self.calls),
            calls_known=self.calls_known,
        )

    @rpc.serve_errors
    async def ClaimCapture(self, request: pb.ClaimCaptureRequest, context: Any) -> pb.ClaimCaptureResponse:
        await self._pass("ClaimCapture")
        deadline = time.monotonic() + request.wait_ms / 1000
        while True:
            now = time.monotonic()
            for call_id, held in self.captures.items():
                active = held.capture.state == pb.CAPTURE_STATE_ACTIVE
                if not active and held.not_before <= now and not self._is_claimed(call_id):
                    claim = f"claim-{next(self._numbers)}"
                    self._claims[claim] = call_id, now + request.lease_ms / 1000
                    return pb.ClaimCaptureResponse(capture=held.capture, claim=claim)
            if now >= deadline:
                return pb.ClaimCaptureResponse()
            try:
                # A claim that ends and a time that is over wake nobody.
                async with asyncio.timeout(min(0.05, deadline - now)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    @rpc.serve_errors
    async def RenewClaim(self, request: pb.RenewClaimRequest, context: Any) -> pb.RenewClaimResponse:
        await self._pass("RenewClaim", request.claim)
        self._claims[request.claim] = self._of(request.claim), time.monotonic() + request.lease_ms / 1000
        return pb.RenewClaimResponse()

    @rpc.serve_errors
    async def ReadSegment(self, request: pb.ReadSegmentRequest, context: Any) -> AsyncIterator[pb.ReadSegmentResponse]:
        await self._pass("ReadSegment", request.segment)
        content = self.captures[self._of(request.claim)].content[request.segment]
        brought = 0
        for start in range(request.offset, len(content), PIECE):
            piece = content[start : start + PIECE]
            if self.broken_after is not None and brought + len(piece) > self.broken_after:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            brought += len(piece)
            yield pb.ReadSegmentResponse(content=piece)

    @rpc.serve_errors
    async def ConfirmCapture(self, request: pb.ConfirmCaptureRequest, context: Any) -> pb.ConfirmCaptureResponse:
        await self._pass("ConfirmCapture", request.call_id)
        call_id = self._of(request.claim)
        assert call_id == request.call_id
        self.captures.pop(call_id, None)
        return pb.ConfirmCaptureResponse()

    @rpc.serve_errors
    async def ReleaseClaim(self, request: pb.ReleaseClaimRequest, context: Any) -> pb.ReleaseClaimResponse:
        await self._pass("ReleaseClaim", request.reason)
        call_id = self._of(request.claim)
        del self._claims[request.claim]
        self.released.append((call_id, request.reason))
        self.captures[call_id].not_before = time.monotonic() + request.not_before_ms / 1000
        self._wake()
        return pb.ReleaseClaimResponse()

    async def _pass(self, method: str, of: str = "") -> None:
        self.asked.append((method, of))
        if method in self.stops:
            await self.stops[method].wait()

    def _of(self, claim: str) -> str:
        call_id, until = self._claims.get(claim, ("", 0.0))
        if until <= time.monotonic():
            raise ClaimLostError
        return call_id

    def _is_claimed(self, call_id: str) -> bool:
        now = time.monotonic()
        return any(claimed == call_id and until > now for claimed, until in self._claims.values())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def serving(self, store: Store | None = None) -> AsyncIterator[FakeNode]:
        """Serve on a free port, registered in ``store`` if that is given."""
        server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
        recording_pb2_grpc.add_CaptureServiceServicer_to_server(self, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        if store is not None:
            await self.register(store)
        try:
            yield self
        finally:
            if store is not None:
                await store.commit([], [Delete(keys.live_media(self.id))])
            await server.stop(None)

    async def register(self, store: Store) -> None:
        """Put the node into the registry."""
        node = routing_pb2.MediaNode(id=self.id, number=self.number, records=True, captures_address=self.address)
        await store.commit([], [Put(keys.live_media(self.id), codec.encode(node))])
