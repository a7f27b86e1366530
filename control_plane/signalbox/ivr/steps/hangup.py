"""What is heard before a call ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.sounds import Sound

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """Play the prompt, early if nobody has answered the call: then it ends with the node's cause. ``done``."""
    sound = Sound.prompt(step.node.hang_up.prompt)
    if sound:
        await call.early()
        await call.say(sound)
    return StepOutcome(done=True)
