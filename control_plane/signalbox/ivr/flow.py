"""The steps of one call, as routing gives them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.api.events.v1 import events_pb2
from signalbox.api.routing.v1 import routing_pb2
from signalbox.cancellation import cancelled
from signalbox.errors import SignalboxError
from signalbox.ivr.lasting import settle
from signalbox.ivr.media.session import Party
from signalbox.ivr.steps import announce, dial, hangup, menu, message, password, queue, request, survey, voicemail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.ivr.call import VoiceCall

    Step = Callable[[VoiceCall, routing_pb2.ContinueResponse], Awaitable[routing_pb2.StepOutcome]]

STEPS: dict[str, Step] = {
    "announce": announce.run,
    "dial": dial.run,
    "hang_up": hangup.run,
    "menu": menu.run,
    "message": message.run,
    "password": password.run,
    "queue": queue.run,
    "request": request.run,
    "survey": survey.run,
    "transfer": dial.run,
    "voicemail": voicemail.run,
}
"""By the kinds of nodes."""
_LINES = ("dial", "transfer")


class UnknownStepError(SignalboxError):
    """Routing is of a newer release, and gives a step that this worker does not know."""


@dataclass(slots=True)
class _Visit:
    """A node that the call is at, for its event. A queue is told of once, however often it is asked for the turn."""

    node: str
    kind: str
    begun: float
    ended: float = 0.0
    outcome: str = ""
    digits: str = ""
    line: str = ""


class Flow:
    """``begun``: a step has ended."""

    def __init__(self, call: VoiceCall) -> None:
        self.begun = False
        self._call = call
        self._visit: _Visit | None = None

    async def run(self, step: routing_pb2.ContinueResponse) -> routing_pb2.Reject:
        """All steps from this one on, until the flow's end, which is given.

        Raises what a step raises, RoutingAwayError, FlowRefusedError, UnknownStepError.
        """
        call = self._call
        try:
            while step.WhichOneof("step") != "end":
                kind = _kind(step)
                await self._enter(step, kind)
                outcome = await self._do(step, kind)
                self.begun = True
                step = await call.ports.routing.proceed(
                    routing_pb2.ContinueRequest(
                        cursor=step.cursor, outcome=outcome, edge=call.edge, talking=call.talking is not None
                    )
                )
            return step.end
        finally:
            self._leave()

    async def _enter(self, step: routing_pb2.ContinueResponse, kind: str) -> None:
        call, visit = self._call, self._visit
        call.language, call.prompts = step.language, step.prompts
        if visit is None or (visit.node, visit.outcome) != (step.node_id, "waited"):
            self._leave()
            self._visit = _Visit(step.node_id, kind, time.monotonic())
        await settle(call, step)

    async def _do(self, step: routing_pb2.ContinueResponse, kind: str) -> routing_pb2.StepOutcome:
        run = STEPS.get(kind)
        if run is None:
            raise UnknownStepError(f"node {step.node_id}: this worker knows no {kind or 'such step'}")
        visit = self._visit
        assert visit is not None
        visit.outcome = ""
        try:
            outcome = await run(self._call, step)
            if cancelled():
                # What failed on its way out may hide that the call is over: nothing comes after that.
                raise asyncio.CancelledError
        finally:
            visit.ended = time.monotonic()
            visit.line = self._call.line
        visit.outcome = outcome.WhichOneof("outcome") or ""
        visit.digits = "x" * len(outcome.digits) if kind == "password" else outcome.digits
        if kind in _LINES and self._call.media is not None:
            # What was keyed while lines rang, or to whom the caller spoke, answers no question that is yet to come.
            self._call.media.keys[Party.CALLER].forget()
        return outcome

    def _leave(self) -> None:
        """Tell of the node that the call was at."""
        visit, self._visit = self._visit, None
        if visit is None:
            return
        facts = self._call.facts
        told = events_pb2.FlowStep(
            flow=facts.flow,
            revision=facts.revision,
            node=visit.node,
            kind=visit.kind,
            outcome=visit.outcome,
            digits=visit.digits,
            took_ms=round(1000 * max(0.0, visit.ended - visit.begun)),
            line=visit.line,
        )
        self._call.ports.events.tell(events_pb2.CallEvent(call_id=facts.call_id, flow_step=told))


def _kind(step: routing_pb2.ContinueResponse) -> str:
    if step.WhichOneof("step") == "dial":
        return "transfer" if step.HasField("transfer_node") else "dial"
    return step.node.WhichOneof("node") or ""
