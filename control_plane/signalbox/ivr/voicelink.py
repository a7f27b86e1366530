"""One media node's sidecar, as a worker has it: the keys of its calls, files to play, and recordings."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox import rpc
from signalbox.api.media.v1 import media_pb2
from signalbox.api.media.v1.media_pb2_grpc import VoiceServiceStub
from signalbox.cancellation import cancelled
from signalbox.errors import ConfigurationError
from signalbox.ivr.ports import AudioUnavailableError, NotCapturedError, Prepared, RecordingAwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from signalbox.api.media.v1.media_pb2_grpc import VoiceServiceAsyncStub
    from signalbox.ivr.metrics import IvrMetrics
    from signalbox.ivr.ports import MessageLimits
    from signalbox.settings import ClientTlsSettings

logger = structlog.get_logger(__name__)

RETRY_MIN_S = 0.1
RETRY_MAX_S = 1.0
KEPT_S = 20.0
"""The sidecar keeps keys for so long (media.v1.WatchKeys)."""
AWAY_S = 3.0
"""A sidecar that is started anew is waited for so long; after that nothing can be played at its node at once."""
PREPARE_S = 11.0
"""The sidecar itself waits 10 s for the object store."""
RECORDING_S = 5.0
"""A recording is ended or paused within this time, or nobody knows."""
PATHS_MAX = 2_000
PATH_S = 300.0
"""A file stays for 10 minutes after it was given (media.v1.PrepareAudio): it need not be asked for again so soon."""


class VoiceLink:
    """Made for the worker of that id. ``deliver`` gets each key once, in order. :meth:`run` keeps it up."""

    def __init__(
        self,
        worker: str,
        node: str,
        address: str,
        tls: ClientTlsSettings,
        deliver: Callable[[media_pb2.Key], None],
        metrics: IvrMetrics,
    ) -> None:
        self._worker = worker
        self._node = node
        self._address = address
        self._tls = tls
        self._deliver = deliver
        self._metrics = metrics
        self._channel: grpc.aio.Channel | None = None
        self._up = asyncio.Event()
        self._down_since = time.monotonic()
        self._instance = ""
        self._sequence = 0
        self._paths: OrderedDict[bytes, tuple[float, Prepared]] = OrderedDict()

    @property
    def up(self) -> bool:
        """Keys come."""
        return self._up.is_set()

    async def run(self) -> None:
        """Long-lived coroutine: hold the stream of keys; begin again where it broke."""
        pause_s = RETRY_MIN_S
        try:
            while True:
                try:
                    if self._channel is None:
                        self._channel = rpc.channel(self._address, self._tls, lasting=True)
                    await self._watch(self._channel)
                    why = "the stream ended"
                except grpc.aio.AioRpcError as error:
                    why = f"{error.code().name}: {error.details()}"
                except ConfigurationError as error:
                    # A certificate is just being replaced.
                    why = str(error)
                if self.up:
                    logger.warning("keys_broken", node=self._node, address=self._address, reason=why)
                    self._up.clear()
                    self._down_since = time.monotonic()
                    pause_s = RETRY_MIN_S
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(2 * pause_s, RETRY_MAX_S)
        finally:
            if self._channel is not None:
                await self._channel.close()

    async def prepare(self, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        """As :meth:`signalbox.ivr.ports.Audio.prepare`, at this node."""
        request = media_pb2.PrepareAudioRequest(parts=parts)
        key = request.SerializeToString(deterministic=True)
        at, known = self._paths.get(key, (0.0, None))
        if known is not None and not anew and time.monotonic() < at + PATH_S:
            return known
        answer = await self._ask(request)
        prepared = Prepared(answer.path, answer.duration_ms / 1000)
        self._paths[key] = time.monotonic(), prepared
        self._paths.move_to_end(key)
        if len(self._paths) > PATHS_MAX:
            self._paths.popitem(last=False)
        return prepared

    async def silent(self, call_id: str, silence_s: float) -> None:
        """As :meth:`signalbox.ivr.ports.Recordings.silent`."""
        request = media_pb2.AwaitSilenceRequest(call_id=call_id, silence_ms=round(silence_s * 1000))
        with self._asking(call_id) as stub:
            await stub.AwaitSilence(request)

    async def pause(self, call_id: str, *, paused: bool) -> None:
        """As :meth:`signalbox.ivr.ports.Recordings.pause`."""
        request = media_pb2.PauseRecordingRequest(call_id=call_id, paused=paused)
        with self._asking(call_id) as stub:
            await stub.PauseRecording(request, timeout=RECORDING_S)

    async def end(self, call_id: str, message: MessageLimits | None) -> bool:
        """As :meth:`signalbox.ivr.ports.Recordings.end`."""
        request = media_pb2.EndRecordingRequest(call_id=call_id)
        if message is not None:
            request.message.least_ms, request.message.trim_ms = message.least_ms, message.trim_ms
        with self._asking(call_id) as stub:
            return (await stub.EndRecording(request, timeout=RECORDING_S)).kept

    @contextlib.contextmanager
    def _asking(self, call_id: str) -> Iterator[VoiceServiceAsyncStub]:
        """Raises RecordingAwayError, NotCapturedError."""
        if self._channel is None:
            raise RecordingAwayError(f"{self._node}: its sidecar does not answer")
        try:
            yield VoiceServiceStub(self._channel)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND):
                raise NotCapturedError(f"{self._node}: captures nothing of {call_id}") from error
            raise RecordingAwayError(f"{self._node}: {error.code().name}: {error.details()}") from error
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            if cancelled():
                raise
            raise RecordingAwayError(f"{self._node}: the channel is closed") from error

    async def _ask(self, request: media_pb2.PrepareAudioRequest) -> media_pb2.PrepareAudioResponse:
        """Ask, and once more if the connection broke: the sidecar may just be started anew."""
        again = True
        while True:
            await self._until_up()
            assert self._channel is not None
            try:
                return await VoiceServiceStub(self._channel).PrepareAudio(request, timeout=PREPARE_S)
            except grpc.aio.AioRpcError as error:
                if not again or error.code() is not grpc.StatusCode.UNAVAILABLE or _is_answer(error):
                    raise AudioUnavailableError(f"{self._node}: {error.code().name}: {error.details()}") from error
                again = False
            except (grpc.aio.UsageError, asyncio.CancelledError) as error:
                if cancelled():
                    raise
                raise AudioUnavailableError(f"{self._node}: the channel is closed") from error
            # The stream of keys breaks in the same moment, and stands again when the sidecar does.
            await asyncio.sleep(RETRY_MIN_S)

    async def _until_up(self) -> None:
        left_s = self._down_since + AWAY_S - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                await self._up.wait()
        except TimeoutError as error:
            raise AudioUnavailableError(f"{self._node}: its sidecar does not answer") from error

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        request = media_pb2.WatchKeysRequest(
            worker=self._worker, instance=self._instance, after_sequence=self._sequence
        )
        async for response in VoiceServiceStub(channel).WatchKeys(request):
            self._begun(response.instance)
            for key in response.keys:
                if key.sequence > self._sequence:
                    self._sequence = key.sequence
                    self._deliver(key)

    def _begun(self, instance: str) -> None:
        """The stream stands: see what it may have missed."""
        if self.up and instance == self._instance:
            return
        broken_s = time.monotonic() - self._down_since
        if self._instance and (instance != self._instance or broken_s > KEPT_S):
            self._metrics.key_gaps.inc()
            logger.warning("keys_lost", node=self._node, restarted=instance != self._instance, broken_s=round(broken_s))
        if instance != self._instance:
            self._sequence = 0
            self._paths.clear()
        self._instance = instance
        self._up.set()
        logger.info("keys_come", node=self._node, address=self._address)


def _is_answer(error: grpc.aio.AioRpcError) -> bool:
    """The sidecar itself has said so: its errors have details (AIP-193)."""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
