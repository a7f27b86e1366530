"""Lets the caller wait: one step of the flow every two seconds, over which the music goes on."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.call import Music
from signalbox.ivr.conversation import pressed
from signalbox.ivr.keysequences import KeySequences
from signalbox.ivr.media.session import Party
from signalbox.ivr.sounds import Sound
from signalbox.ivr.together import first_of

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.api.types.v1.flows_pb2 import QueueNode
    from signalbox.ivr.call import VoiceCall

WAIT_S = 2.0
"""Then routing is asked again. A caller who is not asked for within 15 s is out of the queue."""


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """Wait for the next question, or until the caller leaves. What is heard goes on after it: ``call.music``."""
    node = step.node.queue
    media = await call.answer()
    if call.music is None or call.music.node != step.node.id:
        call.music = Music(step.node.id, node.dial, None, -math.inf, KeySequences({node.leave_keys: True}))
        media.keys[Party.CALLER].forget()
    music = call.music
    clock = asyncio.get_running_loop().time
    until = clock() + WAIT_S
    while clock() < until:
        await _play(call, music, node, step.queue_position)
        try:
            async with asyncio.timeout_at(until):
                if await first_of(pressed(media.keys[Party.CALLER], music.leaving), _over(music)):
                    return StepOutcome(digits=node.leave_keys)
        except TimeoutError:
            break
    return StepOutcome(waited=True)


async def _play(call: VoiceCall, music: Music, node: QueueNode, position: int) -> None:
    """The place when it is time to tell it, and else music."""
    every_s = node.announce_every.ToMilliseconds() / 1000
    now = time.monotonic()
    if every_s and position and now - music.told >= every_s:
        music.told = now
        # What cannot be spoken ends no music.
        music.playback = await call.play(_place(node, position)) or music.playback
    if music.playback is None or music.playback.over:
        music.playback = await call.play(Sound.prompt(node.music), repeat=None)


def _place(node: QueueNode, position: int) -> Sound:
    """The number between the prompts; without any of them, a sentence that says what it means."""
    before, after = Sound.prompt(node.position_before), Sound.prompt(node.position_after)
    return before + Sound.number(position) + after if before or after else Sound.position(position)


async def _over(music: Music) -> bool:
    """Wait until what is played has ended, if anything is."""
    if music.playback is None:
        await asyncio.get_running_loop().create_future()
    else:
        await music.playback.done()
    return False
