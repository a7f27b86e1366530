"""Rings lines, and connects the caller to the one that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr.connecting import Manner, connect
from signalbox.ivr.sounds import Sound
from signalbox.ivr.steps import transfer

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
    from signalbox.ivr.call import VoiceCall


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """Ring the lines of the step's dial, or execute its transfer."""
    if step.HasField("transfer_node"):
        return await transfer.run(call, step)
    node = step.dial_node
    manner = Manner(
        ring_back=node.ring_back,
        passes=node.early_media != flows_pb2.EARLY_MEDIA_REPLACE,
        whisper=step.whisper,
        announcements=_announcements(step),
        transfer_keys=node.transfer_keys,
        pause_keys=node.pause_keys,
        resume_keys=node.resume_keys,
    )
    return await connect(call, step.dial, manner)


def _announcements(step: ContinueResponse) -> dict[str, Sound]:
    """What the caller is told of lines that have an agent number."""
    if not step.dial_node.HasField("announce_line"):
        return {}
    said = step.dial_node.announce_line
    before, after = Sound.prompt(said.before), Sound.prompt(said.after)
    return {line: before + Sound.digits(number) + after for line, number in step.agent_numbers.items()}
