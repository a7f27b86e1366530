"""What a worker records of a call: a conversation, or a message for a mailbox."""

from __future__ import annotations

import contextlib
import time
from enum import Enum
from typing import TYPE_CHECKING

import structlog

from signalbox.api.recording.v1.recording_pb2 import CallFacts, Promise
from signalbox.api.types.v1 import recordings_pb2
from signalbox.ivr.media import facts
from signalbox.ivr.media.engine import CALLER, LINE
from signalbox.ivr.media.errors import MediaError, MediaRefusedError
from signalbox.ivr.ports import MessageLimits, NotCapturedError, RecordingAwayError
from signalbox.sip.headers import NameAddr

if TYPE_CHECKING:
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.media.session import MediaSession

logger = structlog.get_logger(__name__)

CONVERSATION = recordings_pb2.RECORDING_KIND_UNSPECIFIED
MESSAGE = recordings_pb2.RECORDING_KIND_MESSAGE
TRIM_MS_MAX = 60_000
"""As media.v1.MessageLimits has it."""


async def converses(call: VoiceCall, line: str) -> Recording:
    """Record caller and line from now on, as far as the node can: what it does not is promised all the same, and told
    to be missing. Raises MediaLostError.
    """
    recording = Recording(call, line, CONVERSATION)
    recording.promise()
    try:
        await recording.begin()
    except MediaRefusedError as error:
        logger.error("call_not_recorded", call_id=call.facts.call_id, why=str(error))
    return recording


class _By(Enum):
    """Who has paused it."""

    SIDECAR = "sidecar"
    NODE = "node"


class Recording:
    """One of a call that has media. It ends with the call, or by :meth:`end`, after which it is a recording of its own.

    ``line``: the line's id, or the mailbox.
    """

    def __init__(self, call: VoiceCall, line: str, kind: recordings_pb2.RecordingKind.ValueType) -> None:
        assert call.media is not None
        self._paused_by: _By | None = None
        self._media: MediaSession = call.media
        self._ports = call.ports
        self._facts = _facts(call, self._media, line, kind)

    @property
    def paused(self) -> bool:
        """It is to go on later."""
        return self._paused_by is not None

    async def begin(self) -> None:
        """From now on. Raises MediaLostError, MediaRefusedError."""
        await self._media.start_recording(facts.text(self._facts))

    def promise(self) -> None:
        """Tell that there will be a recording."""
        self._ports.promises.promise(Promise(facts=self._facts))

    async def silent(self, silence_s: float) -> None:
        """Wait until the caller has been silent for so long. Raises RecordingAwayError, NotCapturedError."""
        await self._ports.recordings.silent(self._media.node.id, self._media.call_id, silence_s)

    async def pause(self) -> None:
        """Capture nothing; it is :attr:`paused` then, unless it could not be done. Raises MediaLostError."""
        if self._paused_by is not None:
            return
        try:
            await self._ports.recordings.pause(self._media.node.id, self._media.call_id, paused=True)
            self._paused_by = _By.SIDECAR
        except (RecordingAwayError, NotCapturedError) as error:
            # The node itself can do it: what comes then is told as a pause if it goes on again.
            self._log("recording_paused_without_sidecar", error)
            try:
                await self._media.stop_recording()
                self._paused_by = _By.NODE
            except MediaRefusedError as refused:
                self._log("recording_not_paused", refused)

    async def go_on(self) -> None:
        """Capture again, by way of whom it was paused; nothing if it is not. Raises MediaLostError."""
        try:
            if self._paused_by is _By.SIDECAR:
                await self._ports.recordings.pause(self._media.node.id, self._media.call_id, paused=False)
            elif self._paused_by is _By.NODE:
                await self.begin()
            self._paused_by = None
        except (RecordingAwayError, NotCapturedError, MediaRefusedError) as error:
            # The line may key it again.
            self._log("recording_does_not_go_on", error)

    async def end(self) -> None:
        """The call may go on without it. Never fails: what is not ended now ends with the call."""
        try:
            await self._end(None, None)
        except (RecordingAwayError, NotCapturedError) as error:
            self._log("recording_not_ended", error)

    async def end_message(self, least_ms: int, until: float | None = None) -> bool:
        """False: it was none, and nothing is left of it. Raises NotCapturedError.

        ``least_ms``: a shorter one is none; ``until``: what came later is none of it, by ``time.monotonic``. Where the
        node does not say what it was it is kept when the call ends.
        """
        try:
            return await self._end(least_ms, until)
        except RecordingAwayError as error:
            self._log("message_not_judged", error)
            return True

    async def _end(self, least_ms: int | None, until: float | None) -> bool:
        with contextlib.suppress(MediaError):
            await self._media.stop_recording()
        limits = None
        if least_ms is not None:
            trim_ms = round(1000 * (time.monotonic() - until)) if until is not None else 0
            limits = MessageLimits(least_ms, min(max(0, trim_ms), TRIM_MS_MAX))
        return await self._ports.recordings.end(self._media.node.id, self._media.call_id, limits)

    def _log(self, event: str, error: Exception) -> None:
        logger.warning(event, call_id=self._facts.call_id, why=str(error))


def _facts(call: VoiceCall, media: MediaSession, line: str, kind: recordings_pb2.RecordingKind.ValueType) -> CallFacts:
    number = next(call.recordings)
    host, port = media.caller.address
    told = CallFacts(
        call_id=call.facts.call_id,
        tenant=call.facts.tenant,
        number=call.facts.number,
        caller=NameAddr.parse(call.sip.request.headers.get("From") or "", "From").uri.user or "",
        line=line,
        media_node=media.node.number,
        caller_tag=CALLER,
        line_tag=LINE,
        caller_media=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        recording="" if number == 1 else f"{call.facts.call_id}.{number}",
        kind=kind,
    )
    told.answer_time.FromMilliseconds(time.time_ns() // 1_000_000)
    return told
