"""Connects the caller to another line or telephone number: see docs/design/transfers.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.ivr.connecting import Manner, connect
from signalbox.ivr.consultation import Consultation, keep
from signalbox.ivr.conversation import Conversation

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
    from signalbox.ivr.call import VoiceCall


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """Attended if a line has the call and the node says so, else blind. With nobody to ring, it keeps the caller."""
    node = step.transfer_node
    talking, call.talking = call.talking, None
    if step.HasField("in_vain"):
        return await keep(call, talking, step.in_vain) if isinstance(talking, Conversation) else step.in_vain
    if isinstance(talking, Conversation):
        if node.attended and not talking.leg.over:
            outcome = await Consultation(call, talking, step).run()
            if outcome is not None:
                return outcome
        else:
            await talking.let_go()
    return await connect(call, step.dial, Manner(ring_back=node.ring_back))
