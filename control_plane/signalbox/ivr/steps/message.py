"""Hands a short message over for sending. The caller hears nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.ports import NotSentError

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall

logger = structlog.get_logger(__name__)


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``done`` or ``failed``."""
    try:
        await call.ports.messages.send(call.facts, step.node.message.sender, step.message_to, step.message_text)
    except NotSentError as error:
        logger.warning("message_not_sent", node=step.node_id, why=str(error))
        return StepOutcome(failed=True)
    return StepOutcome(done=True)
