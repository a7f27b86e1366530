"""Asks an HTTP service of the tenant. The caller hears nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1.routing_pb2 import StepOutcome
from signalbox.ivr.ports import RequestFailedError

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall

logger = structlog.get_logger(__name__)


async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome:
    """``done`` with the answer's values, or ``failed``."""
    try:
        values = await call.ports.requests.post(step.node.request, call.facts.tenant, step.request_body)
    except RequestFailedError as error:
        logger.warning("request_failed", node=step.node_id, why=str(error))
        return StepOutcome(failed=True)
    return StepOutcome(done=True, values=values)
