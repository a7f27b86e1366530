"""The captures of one media node (``recording.v1.CaptureService``), and claims of them; grpc's errors become ours."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.recording.v1.recording_pb2_grpc import CaptureServiceStub
from signalbox.api.types.v1 import types_pb2
from signalbox.cancellation import cancelled
from signalbox.errors import DOMAIN, ClaimLostError, MediaNodeUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from signalbox.api.recording.v1.recording_pb2_grpc import CaptureServiceAsyncStub

TIMEOUT_S = 5.0
"""Time for an answer."""
LIST_TIMEOUT_S = 15.0
"""The node asks its rtpengine first, for up to five seconds."""
CONFIRM_TIMEOUT_S = 30.0
"""The node deletes all files of the capture first."""
STALL_S = 10.0
"""A segment of which nothing comes for so long is not coming."""


class Captures:
    """What a media node has captured. Every method raises MediaNodeUnavailableError."""

    def __init__(self, number: int, channel: grpc.aio.Channel) -> None:
        """``number``: of the media node."""
        self.number = number
        self._channel = channel
        self._stub: CaptureServiceAsyncStub = CaptureServiceStub(channel)

    async def list(self) -> recording_pb2.ListCapturesResponse:
        """All of them."""
        with self._converted():
            return await self._stub.ListCaptures(recording_pb2.ListCapturesRequest(), timeout=LIST_TIMEOUT_S)

    async def claim(self, recorder: str, lease_s: float, wait_s: float) -> Claim | None:
        """The oldest that is ready; None if there is none after ``wait_s``."""
        request = recording_pb2.ClaimCaptureRequest(recorder=recorder, lease_ms=_ms(lease_s), wait_ms=_ms(wait_s))
        with self._converted():
            response = await self._stub.ClaimCapture(request, timeout=wait_s + TIMEOUT_S)
        return Claim(self, response.capture, response.claim) if response.HasField("capture") else None

    async def renew(self, claim: str, lease_s: float) -> None:
        """Hold a claim for another while. Raises ClaimLostError."""
        with self._converted():
            await self._stub.RenewClaim(
                recording_pb2.RenewClaimRequest(claim=claim, lease_ms=_ms(lease_s)), timeout=TIMEOUT_S
            )

    async def read(self, claim: str, segment: str, offset: int) -> AsyncGenerator[bytes, None]:
        """A segment from a byte on. Raises ClaimLostError."""
        with self._converted():
            call = self._stub.ReadSegment(recording_pb2.ReadSegmentRequest(claim=claim, segment=segment, offset=offset))
        try:
            while True:
                with self._converted():
                    async with asyncio.timeout(STALL_S):
                        response = await call.read()
                if response is grpc.aio.EOF:
                    return
                yield cast("recording_pb2.ReadSegmentResponse", response).content
        finally:
            call.cancel()

    async def confirm(self, claim: str, call_id: str) -> None:
        """The capture is deleted when this returns. Raises ClaimLostError."""
        with self._converted():
            await self._stub.ConfirmCapture(
                recording_pb2.ConfirmCaptureRequest(claim=claim, call_id=call_id), timeout=CONFIRM_TIMEOUT_S
            )

    async def release(self, claim: str, not_before_s: float, reason: str) -> None:
        """Give a claim back; nobody gets it before ``not_before_s`` are over. Raises ClaimLostError."""
        request = recording_pb2.ReleaseClaimRequest(claim=claim, not_before_ms=_ms(not_before_s), reason=reason)
        with self._converted():
            await self._stub.ReleaseClaim(request, timeout=TIMEOUT_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    @contextmanager
    def _converted(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if _claim_lost(error):
                raise ClaimLostError from error
            raise self._unavailable(f"{error.code().name}: {error.details()}") from error
        except TimeoutError as error:
            raise self._unavailable(f"nothing came for {STALL_S:g} s") from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            raise self._unavailable("channel closed") from error
        except asyncio.CancelledError as error:
            if cancelled():
                raise
            raise self._unavailable("channel closed") from error

    def _unavailable(self, why: str) -> MediaNodeUnavailableError:
        return MediaNodeUnavailableError(self.number, why)


class Claim:
    """A capture that is ours for a while. Methods raise MediaNodeUnavailableError and ClaimLostError."""

    def __init__(self, captures: Captures, capture: recording_pb2.Capture, id: str) -> None:
        self._captures = captures
        self.capture = capture
        self._id = id

    @property
    def call_id(self) -> str:
        """Of the call that was captured."""
        return self.capture.call_id

    @property
    def node(self) -> int:
        """Number of the media node."""
        return self._captures.number

    async def renew(self, lease_s: float) -> None:
        """Hold it for ``lease_s`` from now."""
        await self._captures.renew(self._id, lease_s)

    def read(self, segment: str, offset: int) -> AsyncGenerator[bytes, None]:
        """A segment's content from a byte on."""
        return self._captures.read(self._id, segment, offset)

    async def confirm(self) -> None:
        """The recording is stored: have the capture deleted."""
        await self._captures.confirm(self._id, self.call_id)

    async def release(self, not_before_s: float, reason: str) -> None:
        """Give it back."""
        await self._captures.release(self._id, not_before_s, reason)


def _claim_lost(error: grpc.aio.AioRpcError) -> bool:
    """True for CLAIM_LOST."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is needed
    except ValueError:
        # The details are of another status: not ours.
        return False
    reason = types_pb2.ErrorReason.Name(types_pb2.CLAIM_LOST)
    info = error_details_pb2.ErrorInfo()
    return status is not None and any(
        detail.Unpack(info) and info.domain == DOMAIN and info.reason == reason for detail in status.details
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
