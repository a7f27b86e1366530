"""Explanations of decisions, and the steps of call flows that workers with voice execute."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain import telling
from signalbox.domain.claims import Place, Waiting, supposed, uncounted
from signalbox.domain.continuing import proceed, tries
from signalbox.domain.cursor import MAX_CONTINUED, CursorError, open_, seal
from signalbox.domain.decided import Dial, Reject
from signalbox.domain.decision import decide
from signalbox.domain.flow import DIGITS_MAX, TransferNode
from signalbox.domain.flow_nodes import MessageNode, PasswordNode, QueueNode, RequestNode
from signalbox.domain.objects import MediaMode
from signalbox.domain.outcomes import Ended, Outcome, OutcomeError
from signalbox.domain.reaching import reach
from signalbox.domain.recording import unrecorded
from signalbox.domain.variables import LANGUAGE
from signalbox.errors import CursorInvalidError, FieldViolation, InvalidFieldError
from signalbox.routing import stepcontent
from signalbox.routing.answers import check
from signalbox.routing.messages import decision_message, dial_message
from signalbox.store import codec, flowgraph

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import TypeVar

    from signalbox.domain.claims import Claim, Queues
    from signalbox.domain.continuing import Next
    from signalbox.domain.decided import Decision, Trace
    from signalbox.domain.decision import Setup
    from signalbox.domain.flow import DialNode
    from signalbox.routing.answers import Answerer
    from signalbox.routing.book import Book

    T = TypeVar("T")

_DIGITS = re.compile(f"[0-9*#A-D]{{1,{DIGITS_MAX}}}")
_CALLERS_END = {
    "done": Ended.DONE,
    "digits": Ended.DIGITS,
    "no_input": Ended.NO_INPUT,
    "no_match": Ended.NO_MATCH,
    "busy": Ended.BUSY,
    "no_answer": Ended.NO_ANSWER,
    "failed": Ended.FAILED,
    "line_left": Ended.LINE_LEFT,
    "transfer": Ended.TRANSFER,
    "waited": Ended.WAITED,
}


class Guide:
    """Tells of decisions what the hot path does not. ``key`` signs cursors; None: there are none."""

    def __init__(
        self,
        book: Book,
        revision: Callable[[], int],
        answerer: Answerer,
        setup: Setup,
        counters: Queues | None,
        key: bytes | None,
    ) -> None:
        self._book = book
        self._revision = revision
        self._answerer = answerer
        self._setup = setup
        self._counters = counters
        self._key = key

    async def explain(self, request: routing_pb2.ExplainRequest) -> routing_pb2.ExplainResponse:
        """A decision with its steps; takes nothing. Call id and trunk may be empty.

        Raises InvalidFieldError, RulesNotLoadedError.
        """
        self._answerer.require(check(request.request, required=False))
        try:
            now = codec.seconds(request.time) if request.HasField("time") else time.time()
        except ValueError as error:
            raise InvalidFieldError(FieldViolation("time", "is no time")) from error
        trace: Trace = []
        decision = await self._explained(request, now, trace)
        if not self._promised(decision.action):
            tenant = self._book.rules.tenant(decision.tenant)
            decision = unrecorded(decision, tenant)
            if isinstance(decision.action, Reject):
                trace[-1] = replace(trace[-1], decisive=False)
            trace.append(telling.unrecorded(tenant))
        return routing_pb2.ExplainResponse(
            decision=decision_message(decision),
            steps=[routing_pb2.ExplainStep(rule=s.rule, finding=s.finding, decisive=s.decisive) for s in trace],
            rule_revision=self._revision(),
        )

    async def _explained(self, request: routing_pb2.ExplainRequest, now: float, trace: Trace) -> Decision:
        asked = request.request
        if asked.leg:
            dead = self._setup.dead.get(asked.edge, frozenset())
            return reach(self._book.rules, asked, self._key, now, dead, trace)
        return await self._run(decide(self._book.rules, asked, now, self._setup, trace), request.counts, [])

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        """The next step of a call flow.

        Raises CursorInvalidError, InvalidFieldError for an outcome that the step cannot have, RulesNotLoadedError.
        """
        self._answerer.require(_cursor_violation(request.cursor))
        if self._key is None:
            raise CursorInvalidError("this service makes no cursors")
        try:
            cursor = open_(request.cursor, self._key)
            outcome = _outcome(request)
            steps = proceed(
                self._book.rules, cursor, outcome, time.time(), self._setup, request.edge, talking=request.talking
            )
            claims: list[Claim] = []
            found = await self._run(steps, {}, claims)
            response = routing_pb2.ContinueResponse()
            if outcome is None:
                response.call.CopyFrom(stepcontent.call(self._book.rules, cursor))
        except CursorError as error:
            raise CursorInvalidError(f"cursor: {error}") from error
        except OutcomeError as error:
            raise InvalidFieldError(FieldViolation("outcome", str(error))) from error
        do = found.do
        if isinstance(do, Dial) and not self._promised(do):
            do = self._answerer.unrecordable.dial(do, cursor.tenant, cursor.call_id)
            if isinstance(do, Reject):
                self._answerer.give_back(claims[-1:])
        match do:
            case Reject():
                response.end.code, response.end.phrase = do.code, do.phrase
                return response
            case Dial():
                response.dial.CopyFrom(dial_message(do).message)
                _tell_of_dial(response, do, found.dial)
                if found.vain is not None:
                    setattr(response.in_vain, found.vain.value, True)
                stepcontent.give_legs(response.dial, found.cursor, self._key, time.time())
            case id, node:
                response.node.CopyFrom(flowgraph.node_message(id, node))
                if isinstance(node, RequestNode):
                    response.request_body = _request_body(found)
                elif isinstance(node, PasswordNode):
                    response.node.password.ClearField("sealed")
                    response.password_try = tries(found.cursor) + 1
                elif isinstance(node, QueueNode):
                    response.queue_position = found.position
                elif isinstance(node, MessageNode):
                    response.message_to, response.message_text = found.sends["to"], found.sends["text"]
        heard = found.dial if isinstance(do, Dial) else do[1]
        if heard is not None:
            stepcontent.give_prompts(response, self._book.rules, found.cursor.tenant, heard)
        response.node_id = found.cursor.node
        response.language = dict(found.cursor.values).get(LANGUAGE, "")
        response.cursor = seal(found.cursor, self._key, MAX_CONTINUED)
        return response

    def _promised(self, action: Reject | Dial) -> bool:
        """False for a call that is to be recorded while no media node promises to."""
        return isinstance(action, Reject) or action.media is not MediaMode.RECORD or self._book.media.records

    async def _run(self, deciding: Generator[Any, Any, T], counts: Mapping[str, int], claims: list[Claim]) -> T:
        """Run to the end; ``counts`` are supposed if there are any. What is claimed is added to ``claims``."""
        try:
            claim: Claim | Waiting = next(deciding)
            while True:
                if isinstance(claim, Waiting):
                    place = await self._counters.wait(claim) if self._counters is not None else Place()
                    claim = deciding.send(place)
                    continue
                claims.append(claim)
                if counts:
                    claimed = supposed(claim, counts)
                elif self._counters is not None:
                    (claimed,) = await self._counters.settle([claim])
                else:
                    claimed = uncounted(claim)
                claim = deciding.send(claimed)
        except StopIteration as end:
            result: T = end.value
            return result


def _tell_of_dial(response: routing_pb2.ContinueResponse, dial: Dial, node: DialNode | TransferNode | None) -> None:
    """What a worker does while lines ring and when one has answered."""
    if isinstance(node, TransferNode):
        response.transfer_node.CopyFrom(flowgraph.transfer_message(node))
        return
    assert node is not None
    response.whisper = node.whisper
    response.dial_node.CopyFrom(flowgraph.dial_message(node))
    if node.announces is not None:
        lines = {line.id: line.agent_number for stage in dial.stages for line in stage.lines}
        response.agent_numbers.update({id: number for id, number in lines.items() if number})


def _request_body(step: Next) -> str:
    """What a request sends: equal for equal steps."""
    at = step.cursor
    told = {"call_id": at.call_id, "flow": at.flow, "node": at.node, "number": at.number}
    return json.dumps({**told, "variables": step.sends}, ensure_ascii=False)


def _cursor_violation(text: str) -> FieldViolation | None:
    if not text:
        return FieldViolation("cursor", "is required")
    if len(text) > MAX_CONTINUED:
        return FieldViolation("cursor", f"must have at most {MAX_CONTINUED} characters")
    return None


def _outcome(request: routing_pb2.ContinueRequest) -> Outcome | None:
    """How the step ended; None: it has not begun. Raises InvalidFieldError for one that says nothing."""
    if not request.HasField("outcome"):
        return None
    kind = request.outcome.WhichOneof("outcome")
    if kind is None or not getattr(request.outcome, kind):
        raise InvalidFieldError(FieldViolation("outcome", "is required to say how the step ended"))
    digits = request.outcome.digits
    if digits and not _DIGITS.fullmatch(digits):
        raise InvalidFieldError(FieldViolation("outcome.digits", f"must be 1 to {DIGITS_MAX} of 0-9 * # A-D"))
    return Outcome(_CALLERS_END[kind], digits, dict(request.outcome.values))
