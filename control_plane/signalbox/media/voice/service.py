"""media.v1.VoiceService: keys, audio and recordings, for workers with voice."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.cancellation import cancelled
from signalbox.certificates import Access, Role
from signalbox.errors import (
    DrainingError,
    FieldViolation,
    InvalidFieldError,
    NotRecordedError,
    PermissionRefusedError,
)
from signalbox.media.finishing import Limits
from signalbox.media.voice.audio import parts_of
from signalbox.media.voice.keydatagram import WORKER
from signalbox.rpc import serve_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Set

    import grpc

    from signalbox.media.recordings import Recordings
    from signalbox.media.voice.audio import Audio
    from signalbox.media.voice.keylog import KeyLogs
    from signalbox.media.voice.metrics import VoiceMetrics

    Context = grpc.aio.ServicerContext[Any, Any]

METHODS = ("WatchKeys", "PrepareAudio", "AwaitSilence", "PauseRecording", "EndRecording")
TABLE: dict[str, Set[Role]] = {method: {Role.IVR} for method in METHODS}

SERVICE = "signalbox.api.media.v1.VoiceService"
RESPONSE_KEYS = 500
"""Keys in one response."""
SILENCE_MS = (500, 60_000)
MESSAGE_MS = (0, 60_000)


class VoiceService(media_pb2_grpc.VoiceServiceServicer):
    """Every method may end with PERMISSION_DENIED or UNAUTHENTICATED."""

    def __init__(
        self, logs: KeyLogs, audio: Audio, metrics: VoiceMetrics, access: Access, recordings: Recordings | None = None
    ) -> None:
        """``recordings``: None: the node captures nothing."""
        self._recordings = recordings
        self._logs = logs
        self._audio = audio
        self._metrics = metrics
        self._access = access
        self._instance = secrets.token_hex(8)
        self._closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def close(self) -> None:
        """Who watches or waits is told that the sidecar ends."""
        self._closed = True
        self._logs.wake()
        for waiting in list(self._waiting):
            waiting.cancel()

    @serve_errors
    async def WatchKeys(
        self, request: media_pb2.WatchKeysRequest, context: Context
    ) -> AsyncIterator[media_pb2.WatchKeysResponse]:
        """As in the proto. INVALID_ARGUMENT for an id that no worker can have."""
        peer = self._access.check(context, "WatchKeys")
        if not WORKER.fullmatch(request.worker):
            reason = "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
            raise InvalidFieldError(FieldViolation("worker", reason))
        if peer is not None and peer.id != request.worker:
            raise PermissionRefusedError("WatchKeys")
        log = self._logs.of(request.worker)
        sequence = request.after_sequence if request.instance == self._instance else 0
        log.watchers += 1
        self._metrics.watchers.inc()
        try:
            yield media_pb2.WatchKeysResponse(instance=self._instance)
            while not self._closed:
                keys = log.after(sequence)
                if not keys:
                    await log.news()
                for start in range(0, len(keys), RESPONSE_KEYS):
                    yield media_pb2.WatchKeysResponse(instance=self._instance, keys=keys[start : start + RESPONSE_KEYS])
                    sequence = keys[min(len(keys), start + RESPONSE_KEYS) - 1].sequence
            raise DrainingError("the media node's sidecar is stopping")
        finally:
            log.watchers -= 1
            self._metrics.watchers.dec()

    @serve_errors
    async def PrepareAudio(
        self, request: media_pb2.PrepareAudioRequest, context: Context
    ) -> media_pb2.PrepareAudioResponse:
        """As in the proto."""
        self._access.check(context, "PrepareAudio")
        played = await self._audio.prepare(parts_of(request))
        return media_pb2.PrepareAudioResponse(path=str(played.path), duration_ms=played.duration_ms)

    @serve_errors
    async def AwaitSilence(
        self, request: media_pb2.AwaitSilenceRequest, context: Context
    ) -> media_pb2.AwaitSilenceResponse:
        """As in the proto."""
        recordings = self._of(request.call_id, "AwaitSilence", context)
        _check("silence_ms", request.silence_ms, SILENCE_MS)
        waiting = asyncio.ensure_future(recordings.hearing.silent(request.call_id, request.silence_ms / 1000))
        self._waiting.add(waiting)
        try:
            await waiting
        except asyncio.CancelledError as error:
            if cancelled():
                raise
            raise DrainingError("the media node's sidecar is stopping") from error
        finally:
            waiting.cancel()
            self._waiting.discard(waiting)
        return media_pb2.AwaitSilenceResponse()

    @serve_errors
    async def PauseRecording(
        self, request: media_pb2.PauseRecordingRequest, context: Context
    ) -> media_pb2.PauseRecordingResponse:
        """As in the proto, and as ``CaptureService.SetPaused``."""
        recordings = self._of(request.call_id, "PauseRecording", context)
        await recordings.pausing.set(request.call_id, paused=request.paused)
        return media_pb2.PauseRecordingResponse()

    @serve_errors
    async def EndRecording(
        self, request: media_pb2.EndRecordingRequest, context: Context
    ) -> media_pb2.EndRecordingResponse:
        """As in the proto."""
        recordings = self._of(request.call_id, "EndRecording", context)
        limits = None
        if request.HasField("message"):
            message = request.message
            _check("message.least_ms", message.least_ms, MESSAGE_MS)
            _check("message.trim_ms", message.trim_ms, MESSAGE_MS)
            # Packets are captured by the same clock.
            end_us = time.time_ns() // 1000 - message.trim_ms * 1000 if message.trim_ms else None
            limits = Limits(message.least_ms, end_us)
        finished = await recordings.finishing.finish(request.call_id, limits)
        return media_pb2.EndRecordingResponse(kept=finished.kept, duration_ms=finished.duration_ms)

    def _of(self, call_id: str, method: str, context: Context) -> Recordings:
        """Raises InvalidFieldError, PermissionRefusedError, NotRecordedError."""
        peer = self._access.check(context, method)
        if not call_id:
            raise InvalidFieldError(FieldViolation("call_id", "must not be empty"))
        if peer is not None and not call_id.startswith(f"{peer.id}."):
            raise PermissionRefusedError(method)
        if self._recordings is None:
            raise NotRecordedError(call_id)
        return self._recordings


def _check(field: str, value_ms: int, limits: tuple[int, int]) -> None:
    least, most = limits
    if not least <= value_ms <= most:
        raise InvalidFieldError(FieldViolation(field, f"must be {least} to {most} milliseconds"))
