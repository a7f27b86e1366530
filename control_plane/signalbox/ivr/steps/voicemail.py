"""Plays a greeting and a tone, and records what the caller says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.media.errors import MediaRefusedError
from signalbox.ivr.media.session import Party
from signalbox.ivr.ports import NotCapturedError, RecordingAwayError
from signalbox.ivr.recorded import MESSAGE, Recording
from signalbox.ivr.sounds import Sound, Tone
from signalbox.ivr.steps.announce import UNHEARD_S
from signalbox.ivr.together import first_of

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.api.types.v1.flows_pb2 import VoicemailNode
    from signalbox.ivr.call import VoiceCall
    from signalbox.ivr.media.keys import Key, Keys

logger = structlog.get_logger(__name__)

LEAST_MS_MAX = 60_000
"""The sidecar takes no more."""
HEARD_MS = 100
"""A key that is pressed as a tone is told that much after its end, at the latest."""


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``done``: there is a message. ``no_input``: none was left. ``failed``: nothing can record it.

    A key skips the greeting, one from before it, too. A caller who hangs up has left what was said until then.
    """
    node = step.node.voicemail
    media = await call.answer()
    keys = media.keys[Party.CALLER]
    greeting = None if keys.waiting else await call.play(Sound.prompt(node.prompt))
    await keys.collect(1, first_timeout_s=UNHEARD_S if greeting is None else 0, next_timeout_s=0, playback=greeting)
    recording = Recording(call, step.node_id, MESSAGE)
    try:
        return StepOutcome(done=True) if await _record(call, recording, node) else StepOutcome(no_input=True)
    except (MediaRefusedError, NotCapturedError) as error:
        logger.error("message_not_recorded", call_id=call.facts.call_id, mailbox=step.node_id, why=str(error))
        return StepOutcome(failed=True)


async def _record(call: VoiceCall, recording: Recording, node: VoicemailNode) -> bool:
    """Whether there is a message. Raises MediaLostError, MediaRefusedError, NotCapturedError."""
    assert call.media is not None
    keys = call.media.keys[Party.CALLER]
    spoken_until: float | None = None
    await recording.begin()
    began = asked = time.monotonic()
    try:
        if not node.no_beep:
            # What is said at its end, or into it, is not lost.
            await call.say(Sound.tone(Tone.BEEP))
            asked = time.monotonic()
        # What was meant for the greeting ends no message.
        keys.forget()
        async with asyncio.timeout(node.max_duration.ToMilliseconds() / 1000):
            key = await first_of(
                _finish(keys, node.finish_keys), _silence(recording, node.max_silence.ToMilliseconds() / 1000)
            )
            if key is not None and call.media.caller.events is None:
                # It is a tone in the sound.
                spoken_until = time.monotonic() - (key.duration_ms + HEARD_MS) / 1000
    except TimeoutError:
        pass
    finally:
        # Also of a caller who hangs up.
        least_ms = node.min_duration.ToMilliseconds() + round(1000 * (asked - began))
        kept = await recording.end_message(min(least_ms, LEAST_MS_MAX), spoken_until)
        if kept:
            recording.promise()
    return kept


async def _finish(keys: Keys, finish_keys: str) -> Key | None:
    """Wait for a key that ends the message, any if there are none."""
    while True:
        key = await keys.next()
        assert key is not None
        if not finish_keys or key.digit in finish_keys:
            return key


async def _silence(recording: Recording, silence_s: float) -> Key | None:
    """Wait until the caller says nothing more. Without anybody who hears it, a key or the time ends the message."""
    try:
        await recording.silent(silence_s)
    except RecordingAwayError as error:
        logger.warning("silence_not_heard", why=str(error))
        await asyncio.get_running_loop().create_future()
    return None
