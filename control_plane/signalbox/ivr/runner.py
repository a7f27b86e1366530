"""A call at this worker, from its INVITE to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.api.events.v1 import events_pb2
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import SignalboxError
from signalbox.ivr import ending
from signalbox.ivr.call import VoiceCall
from signalbox.ivr.flow import Flow
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError

if TYPE_CHECKING:
    from signalbox.ivr.ending import Ending
    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.ports import Ports
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.useragent import UserAgent

    Steps = asyncio.Task[routing_pb2.Reject]

logger = structlog.get_logger(__name__)

CURSOR = "X-Signalbox-Cursor"
EDGE = "X-Signalbox-Edge"


async def run(invite: IncomingCall, ua: UserAgent, nodes: MediaNodes, ports: Ports, worker: str) -> None:
    """Execute the flow at the cursor that the INVITE carries. It ends with the call, and everything is freed then.

    Cancel it to end the call: the caller is told. Cancel it again to wait no longer for what is being freed. However it
    ends, of each flow that has had a step, one ``flow_ended`` is told.
    """
    cursor, edge = invite.request.headers.get(CURSOR) or "", invite.request.headers.get(EDGE) or ""
    if not cursor:
        invite.reject(403)
        return
    try:
        first = await _first(ports, cursor, edge)
    except (RoutingAwayError, FlowRefusedError) as error:
        logger.warning("flow_not_begun", why=str(error))
        _refuse(invite, error)
        return
    except asyncio.CancelledError as error:
        _refuse(invite, error)
        raise
    structlog.contextvars.bind_contextvars(call_id=first.call.call_id, tenant=first.call.tenant)
    call = VoiceCall(invite, first.call, ports, ua, nodes, worker=worker, edge=edge)
    flow = Flow(call)
    steps = asyncio.create_task(flow.run(first), name=f"flow {first.call.call_id}")
    try:
        end = await _over(call, flow, steps)
    except asyncio.CancelledError as error:
        end = ending.of_error(error, begun=flow.begun)
        raise
    finally:
        _tell_caller(call, end)
        try:
            await _stop(steps)
        finally:
            try:
                await call.close()
            finally:
                code = 0 if call.answered else end.code
                told = events_pb2.FlowEnded(cause=end.cause, code=code, detail=end.detail)
                ports.events.tell(events_pb2.CallEvent(call_id=first.call.call_id, flow_ended=told))


def _refuse(invite: IncomingCall, error: BaseException) -> None:
    """Of a flow that has had no step."""
    end = ending.of_error(error, begun=False)
    if invite.rings:
        invite.reject(end.code, headers=end.headers)


async def _first(ports: Ports, cursor: str, edge: str) -> routing_pb2.ContinueResponse:
    first = await ports.routing.proceed(routing_pb2.ContinueRequest(cursor=cursor, edge=edge))
    if not first.HasField("call"):
        raise RoutingAwayError("the replica is older than this worker: it does not say whose call it is")
    return first


async def _over(call: VoiceCall, flow: Flow, steps: Steps) -> Ending:
    """Wait until the flow ends, the caller is gone, or the media are."""
    gone = asyncio.create_task(call.sip.over(), name=f"caller {call.facts.call_id}")
    try:
        ends: tuple[asyncio.Future[Any], ...] = (steps, gone, call.lost)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if call.sip.ended is not None:
        return ending.of_caller(call.sip.ended)
    if not steps.done():
        return ending.of_error(call.lost.result(), begun=flow.begun)
    error = steps.exception()
    return ending.of_flow(steps.result()) if error is None else ending.of_error(error, begun=flow.begun)


def _tell_caller(call: VoiceCall, end: Ending) -> None:
    if end.cause in ("error", "media"):
        logger.warning("flow_broken_off", cause=end.cause, why=end.detail, answered=call.answered)
    if call.sip.rings:
        call.sip.reject(end.code, end.phrase, end.headers)
    else:
        call.sip.hang_up([("Reason", end.reason)])


async def _stop(steps: Steps) -> None:
    """Let the step free what it has made. Who is cancelled meanwhile waits for it no longer."""
    steps.cancel()
    try:
        await asyncio.wait([steps])
    except asyncio.CancelledError:
        steps.cancel()
        raise
    error = None if steps.cancelled() else steps.exception()
    if error is not None and not isinstance(error, SignalboxError):
        logger.error("flow_failed", exc_info=error)
