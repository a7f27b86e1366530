"""A media node's sidecar for tests of workers: tells the keys that a test presses, gives paths for audio, and obeys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.errors import ObjectsUnavailableError, SignalboxError
from signalbox.rpc import serve_errors

from support.ports import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class VoiceFake(media_pb2_grpc.VoiceServiceServicer):
    """On a free loopback port, also after :meth:`restart`."""

    def __init__(self) -> None:
        self.address = free_address()
        self.instance = "one"
        self.keys: list[media_pb2.Key] = []
        self.watched: list[media_pb2.WatchKeysRequest] = []
        self.prepared: list[media_pb2.PrepareAudioRequest] = []
        self.objects_away = False
        self.repeats = False
        """Tells all keys to whoever watches, whatever they say that they have."""
        self.breaks = False
        """The next request for audio breaks all connections."""
        self.stalls = False
        """Requests for audio are not answered."""
        self.asked: list[object] = []
        """What was asked of recordings."""
        self.recording_error: SignalboxError | None = None
        self.kept = True
        self._pressed = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> VoiceFake:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        media_pb2_grpc.add_VoiceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """End at once: streams break."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def restart(self, instance: str) -> None:
        """As a sidecar that was killed: it knows no keys any more."""
        await self.stop()
        self.instance, self.keys = instance, []
        await self.start()

    def press(self, digit: str, call_id: str = "ivr-1.call-1", tag: str = "caller") -> None:
        """A key is let go."""
        sequence = self.keys[-1].sequence + 1 if self.keys else 1
        self.keys.append(media_pb2.Key(call_id=call_id, tag=tag, digit=digit, duration_ms=80, sequence=sequence))
        self._pressed.set()
        self._pressed = asyncio.Event()

    async def WatchKeys(
        self, request: media_pb2.WatchKeysRequest, context: Any
    ) -> AsyncIterator[media_pb2.WatchKeysResponse]:
        """The keys after the last one that the worker has."""
        self.watched.append(request)
        last = request.after_sequence if request.instance == self.instance and not self.repeats else 0
        yield media_pb2.WatchKeysResponse(instance=self.instance)
        while True:
            pressed = self._pressed
            new = [key for key in self.keys if key.sequence > last]
            if new:
                last = new[-1].sequence
                yield media_pb2.WatchKeysResponse(instance=self.instance, keys=new)
            await pressed.wait()

    @serve_errors
    async def PrepareAudio(
        self, request: media_pb2.PrepareAudioRequest, context: Any
    ) -> media_pb2.PrepareAudioResponse:
        """A path for each."""
        if self.breaks:
            self.breaks = False
            stopping = asyncio.create_task(self.restart("broken"))
            await asyncio.shield(stopping)
        self.prepared.append(request)
        if self.stalls:
            await asyncio.get_running_loop().create_future()
        if self.objects_away:
            raise ObjectsUnavailableError("the bucket is away")
        return media_pb2.PrepareAudioResponse(path=f"/audio/{len(self.prepared)}.alaw.wav", duration_ms=1500)

    @serve_errors
    async def AwaitSilence(
        self, request: media_pb2.AwaitSilenceRequest, context: Any
    ) -> media_pb2.AwaitSilenceResponse:
        """The caller is silent at once."""
        self._asked(request)
        return media_pb2.AwaitSilenceResponse()

    @serve_errors
    async def PauseRecording(
        self, request: media_pb2.PauseRecordingRequest, context: Any
    ) -> media_pb2.PauseRecordingResponse:
        """Done."""
        self._asked(request)
        return media_pb2.PauseRecordingResponse()

    @serve_errors
    async def EndRecording(
        self, request: media_pb2.EndRecordingRequest, context: Any
    ) -> media_pb2.EndRecordingResponse:
        """It is a message, or none."""
        self._asked(request)
        return media_pb2.EndRecordingResponse(kept=self.kept)

    def _asked(self, request: object) -> None:
        if self.recording_error is not None:
            raise self.recording_error
        self.asked.append(request)
