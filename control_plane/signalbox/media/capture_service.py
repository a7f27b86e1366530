"""recording.v1.CaptureService: what this node has captured, for recorders, and pauses, for provisioning."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.certificates import Access, Role
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.media import facts
from signalbox.media.captures import gently
from signalbox.media.spool import call_id
from signalbox.media.workercalls import call_of
from signalbox.rpc import serve_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Set

    import grpc

    from signalbox.media.captures import Capture
    from signalbox.media.capturing import Capturing
    from signalbox.media.offers import Offers
    from signalbox.media.pausing import Pausing

    Context = grpc.aio.ServicerContext[Any, Any]

TABLE: dict[str, Set[Role]] = {
    "ListCaptures": {Role.RECORDER, Role.OPERATOR},
    "ClaimCapture": {Role.RECORDER},
    "RenewClaim": {Role.RECORDER},
    "ReadSegment": {Role.RECORDER},
    "ConfirmCapture": {Role.RECORDER},
    "ReleaseClaim": {Role.RECORDER},
    "SetPaused": {Role.OPERATOR},
}

SERVICE = "signalbox.api.recording.v1.CaptureService"
LEASE_MS = (1_000, 600_000)
WAIT_MS = (0, 30_000)
NOT_BEFORE_MS = (0, 24 * 3_600_000)


class CaptureService(recording_pb2_grpc.CaptureServiceServicer):
    """Every method may end with PERMISSION_DENIED or UNAUTHENTICATED."""

    def __init__(
        self,
        node: str,
        number: Callable[[], int],
        capturing: Capturing,
        offers: Offers,
        pausing: Pausing,
        access: Access,
    ) -> None:
        self._node = node
        self._number = number
        self._capturing = capturing
        self._offers = offers
        self._pausing = pausing
        self._access = access

    @serve_errors
    async def ListCaptures(
        self, request: recording_pb2.ListCapturesRequest, context: Context
    ) -> recording_pb2.ListCapturesResponse:
        """As in the proto."""
        self._access.check(context, "ListCaptures")
        # In this order: a call that is over in the list has its capture on the disk.
        calls = await self._capturing.calls()
        complete = await self._capturing.everything()
        response = recording_pb2.ListCapturesResponse(
            node=self._node,
            media_node=self._number(),
            calls=sorted({call_of(name) for name in calls or ()}),
            calls_known=calls is not None and complete,
        )
        captures = [capture for capture in self._capturing.captures if capture.segments]
        await self._capturing.measure(capture for capture in captures if capture.captures)
        async for capture in gently(captures):
            response.captures.append(self._described(capture))
        for folder in self._capturing.spool.unread:
            # It is there, though nobody can be given it.
            name = call_id(folder)
            response.captures.add(call_id=name, call=call_of(name), state=recording_pb2.CAPTURE_STATE_ACTIVE)
        return response

    @serve_errors
    async def ClaimCapture(
        self, request: recording_pb2.ClaimCaptureRequest, context: Context
    ) -> recording_pb2.ClaimCaptureResponse:
        """As in the proto. INVALID_ARGUMENT for a lease or wait out of range."""
        peer = self._access.check(context, "ClaimCapture")
        recorder = peer.id if peer is not None else request.recorder
        lease_s, wait_s = (
            _seconds("lease_ms", request.lease_ms, LEASE_MS),
            _seconds("wait_ms", request.wait_ms, WAIT_MS),
        )
        claimed = await self._offers.claim(recorder, lease_s, wait_s)
        if claimed is None:
            return recording_pb2.ClaimCaptureResponse()
        capture, claim = claimed
        return recording_pb2.ClaimCaptureResponse(capture=self._described(capture), claim=claim.token)

    @serve_errors
    async def RenewClaim(
        self, request: recording_pb2.RenewClaimRequest, context: Context
    ) -> recording_pb2.RenewClaimResponse:
        """As in the proto."""
        self._access.check(context, "RenewClaim")
        self._offers.renew(request.claim, _seconds("lease_ms", request.lease_ms, LEASE_MS))
        return recording_pb2.RenewClaimResponse()

    @serve_errors
    async def ReadSegment(
        self, request: recording_pb2.ReadSegmentRequest, context: Context
    ) -> AsyncIterator[recording_pb2.ReadSegmentResponse]:
        """As in the proto."""
        self._access.check(context, "ReadSegment")
        async for piece in self._offers.read(request.claim, request.segment, request.offset):
            yield recording_pb2.ReadSegmentResponse(content=piece)

    @serve_errors
    async def ConfirmCapture(
        self, request: recording_pb2.ConfirmCaptureRequest, context: Context
    ) -> recording_pb2.ConfirmCaptureResponse:
        """As in the proto."""
        self._access.check(context, "ConfirmCapture")
        await self._offers.confirm(request.claim, request.call_id)
        return recording_pb2.ConfirmCaptureResponse()

    @serve_errors
    async def ReleaseClaim(
        self, request: recording_pb2.ReleaseClaimRequest, context: Context
    ) -> recording_pb2.ReleaseClaimResponse:
        """As in the proto."""
        self._access.check(context, "ReleaseClaim")
        not_before_s = _seconds("not_before_ms", request.not_before_ms, NOT_BEFORE_MS)
        self._offers.release(request.claim, not_before_s, request.reason)
        return recording_pb2.ReleaseClaimResponse()

    @serve_errors
    async def SetPaused(
        self, request: recording_pb2.SetPausedRequest, context: Context
    ) -> recording_pb2.SetPausedResponse:
        """As in the proto. UNAVAILABLE if rtpengine does not answer: it is not known whether it was done."""
        self._access.check(context, "SetPaused")
        if not request.call_id:
            raise InvalidFieldError(FieldViolation("call_id", "must not be empty"))
        await self._pausing.set(request.call_id, paused=request.paused)
        return recording_pb2.SetPausedResponse()

    def _described(self, capture: Capture) -> recording_pb2.Capture:
        return describe(capture, claimed=self._capturing.claims.claimed(capture.call_id, time.monotonic()))


def describe(capture: Capture, *, claimed: bool) -> recording_pb2.Capture:
    """A capture as recorders see it."""
    state = recording_pb2.CAPTURE_STATE_CLAIMED if claimed else recording_pb2.CAPTURE_STATE_READY
    message = recording_pb2.Capture(
        call_id=capture.call_id,
        call=call_of(capture.call_id),
        state=recording_pb2.CAPTURE_STATE_ACTIVE if capture.ready_since is None else state,
        segments=[
            recording_pb2.Segment(
                name=segment.name, size_bytes=segment.size, whole=segment.whole and segment.name not in capture.note.cut
            )
            for segment in capture.segments
        ],
        facts=facts.parse(capture.call_id, capture.note.metadata),
        sides=[
            recording_pb2.Side(local_port=port, tag=tag, codec=side.codec, endpoints=sorted(side.endpoints))
            for (port, tag), side in capture.note.sides.items()
        ],
        paused=capture.note.paused,
    )
    message.start_time.FromMilliseconds(capture.note.start_ms)
    return message


def _seconds(field: str, value_ms: int, limits: tuple[int, int]) -> float:
    least, most = limits
    if not least <= value_ms <= most:
        raise InvalidFieldError(FieldViolation(field, f"must be {least} to {most} milliseconds"))
    return value_ms / 1000
