"""Plays a prompt and goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall

UNHEARD_S = 1.0
"""How long an announcement takes that has no audio: a flow may go round in a circle that rests on it."""


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """To its end, whatever is keyed meanwhile: a menu that follows gets those keys. ``done``."""
    node = step.node.announce
    await (call.answer() if node.answer else call.early())
    playback = await call.play(Sound.prompt(node.prompt))
    await (asyncio.sleep(UNHEARD_S) if playback is None else playback.done())
    return StepOutcome(done=True)
