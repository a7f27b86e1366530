"""The hot path: questions in, answers out, from memory, without awaiting anything.

A decision's message is made once and copied into every answer: the engine gives the identical decision object for as
long as the rules behind it stay the same.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decision import Decision, Dial, Reject, Trace, decide
from signalbox.domain.rules import MediaMode
from signalbox.errors import FieldViolation, InvalidFieldError, RulesNotLoadedError
from signalbox.routing.convert import decision_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.routing.book import Book
    from signalbox.routing.stats import Stats

logger = structlog.get_logger(__name__)

MAX_CALL_ID = 128
MAX_TEXT = 64
MAX_QUESTIONS = 1024
PREPARED_LIMIT = 50_000
"""Most messages that are kept ready; all are dropped when it is passed."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIELDS = ("call_id", "trunk", "called", "calling", "asserted", "source_address")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decision and what is sent for it."""

    decision: Decision
    message: routing_pb2.Decision
    why: str
    anchored: bool
    rejected: bool


class Answerer:
    """Answers questions by the rules in ``book``. ``revision`` tells the etcd revision that they are from."""

    def __init__(self, book: Book, revision: Callable[[], int], stats: Stats, max_diversions: int) -> None:
        self._book = book
        self._revision = revision
        self._stats = stats
        self._max_diversions = max_diversions
        self._prepared: dict[int, Prepared] = {}

    def answer(self, request: routing_pb2.DecideStreamRequest) -> routing_pb2.DecideStreamResponse:
        """One message of answers for one of questions. A question past its deadline, counted from now, has none."""
        started = time.monotonic()
        response = routing_pb2.DecideStreamResponse(rule_revision=self._revision())
        answers = response.answers
        questions = request.questions
        self._stats.batch.observe(len(questions))
        for position, question in enumerate(questions):
            deadline_ms = question.deadline_ms
            if deadline_ms and (time.monotonic() - started) * 1000 > deadline_ms:
                self._stats.expired += 1
                continue
            answer = answers.add(id=question.id)
            if position >= MAX_QUESTIONS:
                self._refuse(question.request, answer, types_pb2.INVALID_FIELD, f"questions: more than {MAX_QUESTIONS}")
            else:
                self._answer_one(question.request, answer)
        return response

    def answer_unary(self, request: routing_pb2.DecideRequest) -> routing_pb2.DecideResponse:
        """The answer to a single question. Raises InvalidFieldError, RulesNotLoadedError."""
        self._require(check(request))
        prepared = self._decide(request)
        response = routing_pb2.DecideResponse(decision=prepared.message, rule_revision=self._revision())
        if prepared.anchored:
            self._assign(request, response.media)
        elif prepared.rejected:
            _log_rejected(request, prepared)
        return response

    def explain(self, request: routing_pb2.DecideRequest) -> routing_pb2.ExplainResponse:
        """A decision with its steps; counts nothing. Call id and trunk may be empty. Raises as answer_unary."""
        self._require(check(request, required=False))
        trace: Trace = []
        decision = decide(self._book.rules, request, self._max_diversions, trace)
        return routing_pb2.ExplainResponse(
            decision=decision_message(decision),
            steps=[routing_pb2.ExplainStep(rule=s.rule, finding=s.finding, decisive=s.decisive) for s in trace],
            rule_revision=self._revision(),
        )

    def _require(self, violation: FieldViolation | None) -> None:
        if violation:
            raise InvalidFieldError(violation)
        if not self._book.loaded:
            raise RulesNotLoadedError("no rules have been loaded yet")

    def _answer_one(self, request: routing_pb2.DecideRequest, answer: routing_pb2.Answer) -> None:
        if violation := check(request):
            self._refuse(request, answer, types_pb2.INVALID_FIELD, f"{violation.field}: {violation.reason}")
            return
        if not self._book.loaded:
            self._refuse(request, answer, types_pb2.RULES_NOT_LOADED, "")
            return
        prepared = self._decide(request)
        answer.decision.CopyFrom(prepared.message)
        if prepared.anchored:
            self._assign(request, answer.media)
        elif prepared.rejected:
            _log_rejected(request, prepared)

    def _decide(self, request: routing_pb2.DecideRequest) -> Prepared:
        decision = decide(self._book.rules, request, self._max_diversions)
        prepared = self._prepared.get(id(decision))
        if prepared is None:
            prepared = self._prepare(decision)
        self._stats.decisions[prepared.why] += 1
        return prepared

    def _prepare(self, decision: Decision) -> Prepared:
        """What is prepared holds its decision, so an id cannot come to stand for another one."""
        if len(self._prepared) >= PREPARED_LIMIT:
            self._prepared.clear()
        action = decision.action
        anchored = isinstance(action, Dial) and action.media is MediaMode.ANCHOR
        rejected = isinstance(action, Reject)
        prepared = Prepared(decision, decision_message(decision), decision.why.value, anchored, rejected)
        self._prepared[id(decision)] = prepared
        return prepared

    def _assign(self, request: routing_pb2.DecideRequest, media: routing_pb2.MediaAssignment) -> None:
        assignment = self._book.media.assign(request.call_id)
        media.node = assignment.node
        media.spare = assignment.spare

    def _refuse(
        self,
        request: routing_pb2.DecideRequest,
        answer: routing_pb2.Answer,
        error: types_pb2.ErrorReason.ValueType,
        message: str,
    ) -> None:
        reason = types_pb2.ErrorReason.Name(error)
        self._stats.refused[reason] += 1
        logger.debug("question_refused", call_id=request.call_id[:MAX_CALL_ID], reason=reason, message=message)
        answer.error = error
        answer.error_message = message


def _log_rejected(request: routing_pb2.DecideRequest, prepared: Prepared) -> None:
    decision = prepared.decision
    logger.debug("call_rejected", call_id=request.call_id, why=prepared.why, tenant=decision.tenant)


def check(request: routing_pb2.DecideRequest, *, required: bool = True) -> FieldViolation | None:
    """What is wrong with a request, if anything. ``required=False`` lets call id and trunk be empty."""
    call_id, trunk, called, calling = request.call_id, request.trunk, request.called, request.calling
    asserted, source = request.asserted, request.source_address
    if (
        len(call_id) <= MAX_CALL_ID
        and 0 < len(called) <= MAX_TEXT
        and ((call_id and trunk) or not required)
        and max(len(trunk), len(calling), len(asserted), len(source)) <= MAX_TEXT
        and not _CONTROL.search(f"{call_id}{trunk}{called}{calling}{asserted}{source}")
    ):
        return None
    return _violation(request, required)


def _violation(request: routing_pb2.DecideRequest, required: bool) -> FieldViolation:
    """The first field that is wrong; one is."""
    needed = ("call_id", "trunk", "called") if required else ("called",)
    for name in needed:
        if not getattr(request, name):
            return FieldViolation(name, "is required")
    for name in _FIELDS:
        limit = MAX_CALL_ID if name == "call_id" else MAX_TEXT
        if len(getattr(request, name)) > limit:
            return FieldViolation(name, f"longer than {limit} characters")
    name = next(name for name in _FIELDS if _CONTROL.search(getattr(request, name)))
    return FieldViolation(name, "has control characters")
