"""Explanations of decisions, and the steps of call flows that workers with voice execute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain.claims import supposed, uncounted
from signalbox.domain.continuing import Ended, Outcome, OutcomeError, proceed
from signalbox.domain.cursor import CursorError, open_
from signalbox.domain.decided import Dial, Reject
from signalbox.domain.decision import decide
from signalbox.errors import CursorInvalidError, FieldViolation, InvalidFieldError
from signalbox.routing.answers import check
from signalbox.routing.messages import decision_message, put_dial
from signalbox.store import flowgraph

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import TypeVar

    from signalbox.domain.claims import Claim, Claimed, Counters
    from signalbox.domain.decided import Trace
    from signalbox.domain.decision import Setup
    from signalbox.routing.answers import Answerer
    from signalbox.routing.book import Book

    T = TypeVar("T")

_CALLERS_END = {
    "done": Ended.DONE,
    "digits": Ended.DIGITS,
    "no_input": Ended.NO_INPUT,
    "no_match": Ended.NO_MATCH,
    "busy": Ended.BUSY,
    "no_answer": Ended.NO_ANSWER,
    "failed": Ended.FAILED,
    "line_left": Ended.LINE_LEFT,
}


class Guide:
    """Tells of decisions what the hot path does not. ``key`` signs cursors; None: there are none."""

    def __init__(
        self,
        book: Book,
        revision: Callable[[], int],
        answerer: Answerer,
        setup: Setup,
        counters: Counters | None,
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
        now = request.time.ToNanoseconds() / 1e9 if request.HasField("time") else time.time()
        trace: Trace = []
        deciding = decide(self._book.rules, request.request, now, self._setup, trace)
        decision = await self._run(deciding, request.counts)
        return routing_pb2.ExplainResponse(
            decision=decision_message(decision),
            steps=[routing_pb2.ExplainStep(rule=s.rule, finding=s.finding, decisive=s.decisive) for s in trace],
            rule_revision=self._revision(),
        )

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        """The next step of a call flow.

        Raises CursorInvalidError, InvalidFieldError for an outcome that the step cannot have, RulesNotLoadedError.
        """
        self._answerer.require(None if request.cursor else FieldViolation("cursor", "is required"))
        if self._key is None:
            raise CursorInvalidError("this service makes no cursors")
        try:
            cursor = open_(request.cursor, self._key)
            outcome = _outcome(request)
            found = await self._run(proceed(self._book.rules, cursor, outcome, time.time(), self._setup), {})
        except CursorError as error:
            raise CursorInvalidError(f"cursor: {error}") from error
        except OutcomeError as error:
            raise InvalidFieldError(FieldViolation("outcome", str(error))) from error
        response = routing_pb2.ContinueResponse()
        match found.do:
            case Reject():
                response.end.code, response.end.phrase = found.do.code, found.do.phrase
                return response
            case Dial():
                put_dial(found.do, response.dial)
                response.whisper = found.whisper
            case id, node:
                response.node.CopyFrom(flowgraph.node_message(id, node))
        response.cursor = self._setup.voice.seal(found.cursor)
        return response

    async def _run(self, deciding: Generator[Claim, Claimed, T], counts: Mapping[str, int]) -> T:
        """Run to the end; ``counts`` are supposed if there are any."""
        try:
            claim = next(deciding)
            while True:
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


def _outcome(request: routing_pb2.ContinueRequest) -> Outcome | None:
    """How the step ended; None: it has not begun. Raises InvalidFieldError for one that says nothing."""
    if not request.HasField("outcome"):
        return None
    kind = request.outcome.WhichOneof("outcome")
    if kind is None or not getattr(request.outcome, kind):
        raise InvalidFieldError(FieldViolation("outcome", "is required to say how the step ended"))
    return Outcome(_CALLERS_END[kind], request.outcome.digits)
