"""The hot path: questions in, answers out, from memory.

All questions of a message are run until they need something counted; that is settled for all of them together, and
they are run to their ends. Questions that need nothing counted are answered without awaiting anything. A decision's
message is made once and copied into every answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.claims import uncounted
from signalbox.domain.decided import Decision, Dial, Reject
from signalbox.domain.decision import decide, known
from signalbox.domain.objects import MediaMode
from signalbox.errors import FieldViolation, InvalidFieldError, RulesNotLoadedError
from signalbox.routing.messages import decision_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.domain.claims import Claim, Claimed, Counters
    from signalbox.domain.decision import Deciding, Setup
    from signalbox.routing.book import Book
    from signalbox.routing.stats import Stats

logger = structlog.get_logger(__name__)

MAX_CALL_ID = 128
MAX_TEXT = 64
MAX_QUESTIONS = 1024
PREPARED_LIMIT = 50_000
"""Most messages that are kept ready; all are dropped when it is passed."""
SHARED_LIMIT = 4_096
"""As much for decisions that are worked out anew for each call: a random order hardly ever comes again."""

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


@dataclass(slots=True)
class Waiting:
    """A question whose decision waits for a claim to be settled. ``expires``: monotonic seconds; 0: never."""

    deciding: Deciding
    claim: Claim
    question: routing_pb2.Question
    answer: routing_pb2.Answer
    expires: float


@dataclass(slots=True)
class Round:
    """The answers to one message of questions: complete when nothing is ``waiting``. ``claims`` have been settled."""

    response: routing_pb2.DecideStreamResponse
    waiting: list[Waiting]
    claims: list[Claim]


class Answerer:
    """Answers questions by the rules in ``book``. ``revision`` tells the etcd revision that they are from.

    Without ``counters`` no limit is enforced and turns fall at random; then no question ever waits.
    """

    def __init__(
        self, book: Book, revision: Callable[[], int], stats: Stats, setup: Setup, counters: Counters | None = None
    ) -> None:
        self._book = book
        self._revision = revision
        self._stats = stats
        self._setup = setup
        self._max_diversions = setup.max_diversions
        self._counting = counters is not None
        self._counters = counters
        self._prepared: dict[int, Prepared] = {}
        self._shared: dict[object, Prepared] = {}

    def begin(self, request: routing_pb2.DecideStreamRequest) -> Round:
        """Answer one message of questions as far as nothing has to be counted for it.

        A question past its deadline, counted from now, has no answer.
        """
        started = time.monotonic()
        response = routing_pb2.DecideStreamResponse(rule_revision=self._revision())
        answers = response.answers
        questions = request.questions
        waiting: list[Waiting] = []
        self._stats.batch.observe(len(questions))
        for position, question in enumerate(questions):
            deadline_ms = question.deadline_ms
            if deadline_ms and (time.monotonic() - started) * 1000 > deadline_ms:
                self._stats.expired += 1
                continue
            answer = answers.add(id=question.id)
            if position >= MAX_QUESTIONS:
                self._refuse(question.request, answer, types_pb2.INVALID_FIELD, f"questions: more than {MAX_QUESTIONS}")
            elif (asked := self._answer_one(question.request, answer)) is not None:
                expires = started + deadline_ms / 1000 if deadline_ms else 0.0
                waiting.append(Waiting(*asked, question, answer, expires))
        return Round(response, waiting, [])

    async def settle(self, round: Round) -> None:
        """Complete the answers: all claims of the round go together, and once more for calls that claim again."""
        while round.waiting:
            waiting, round.waiting = round.waiting, []
            claims = [one.claim for one in waiting]
            round.claims += claims
            assert self._counters is not None, "without counters nothing waits"
            settled = await self._counters.settle(claims)
            refused: list[Claim] = []
            for one, claimed in zip(waiting, settled, strict=True):
                found = _advance(one.deciding, claimed)
                if isinstance(found, Decision):
                    if isinstance(found.action, Reject) and claimed.over < 0:
                        refused.append(one.claim)
                    self._complete(one.question.request, one.answer, self._share(found))
                else:
                    one.claim = found
                    round.waiting.append(one)
            # A call that is refused all the same, for want of a free line, has taken nothing.
            self._return(round, refused)
            self._expire(round, waiting)

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Nobody waits for what was claimed any more."""
        if claims and self._counters is not None:
            self._counters.give_back(claims)

    async def answer_unary(self, request: routing_pb2.DecideRequest) -> routing_pb2.DecideResponse:
        """The answer to a single question. Raises InvalidFieldError, RulesNotLoadedError."""
        self.require(check(request))
        found = self._known(request) or self._decide(request)
        claims: list[Claim] = []
        try:
            while not isinstance(found, Prepared):
                deciding, claim = found
                claims.append(claim)
                assert self._counters is not None, "without counters nothing waits"
                (claimed,) = await self._counters.settle([claim])
                after = _advance(deciding, claimed)
                if isinstance(after, Decision) and isinstance(after.action, Reject) and claimed.over < 0:
                    self.give_back(claims[-1:])
                found = self._share(after) if isinstance(after, Decision) else (deciding, after)
        except asyncio.CancelledError:
            self.give_back(claims)
            raise
        response = routing_pb2.DecideResponse(rule_revision=self._revision())
        self._complete(request, response, found)
        return response

    def require(self, violation: FieldViolation | None) -> None:
        """Raise InvalidFieldError if a request is wrong, RulesNotLoadedError if there is nothing to decide by."""
        if violation:
            raise InvalidFieldError(violation)
        if not self._book.loaded:
            raise RulesNotLoadedError("no rules have been loaded yet")

    def _answer_one(
        self, request: routing_pb2.DecideRequest, answer: routing_pb2.Answer
    ) -> tuple[Deciding, Claim] | None:
        """Answer a question at once, or say what it waits for."""
        if violation := check(request):
            self._refuse(request, answer, types_pb2.INVALID_FIELD, f"{violation.field}: {violation.reason}")
            return None
        if not self._book.loaded:
            self._refuse(request, answer, types_pb2.RULES_NOT_LOADED, "")
            return None
        prepared = self._known(request)
        if prepared is None:
            found = self._decide(request)
            if not isinstance(found, Prepared):
                return found
            prepared = found
        self._complete(request, answer, prepared)
        return None

    def _known(self, request: routing_pb2.DecideRequest) -> Prepared | None:
        """What is sent for a decision that is remembered, if nothing is counted that could be in its way."""
        counting = self._counting
        remembered = known(self._book.rules, request, self._max_diversions, counting=counting)
        if remembered is None:
            return None
        if not counting:
            self._stats.uncounted += 1
        return self._prepared.get(id(remembered)) or self._prepare(remembered)

    def _complete(
        self,
        request: routing_pb2.DecideRequest,
        answer: routing_pb2.Answer | routing_pb2.DecideResponse,
        prepared: Prepared,
    ) -> None:
        self._stats.decisions[prepared.why] += 1
        answer.decision.CopyFrom(prepared.message)
        if prepared.anchored:
            media = answer.media
            assignment = self._book.media.assign(request.call_id)
            media.node = assignment.node
            media.spare = assignment.spare
        elif prepared.rejected:
            _log_rejected(request, prepared)

    def _decide(self, request: routing_pb2.DecideRequest) -> Prepared | tuple[Deciding, Claim]:
        """A decision, or one that waits for a claim."""
        deciding = decide(self._book.rules, request, time.time(), self._setup)
        found = _advance(deciding, None)
        if self._counters is None:
            while not isinstance(found, Decision):
                self._stats.uncounted += 1
                found = _advance(deciding, uncounted(found))
        return self._share(found) if isinstance(found, Decision) else (deciding, found)

    def _prepare(self, decision: Decision) -> Prepared:
        """What is prepared holds its decision, so an id cannot come to stand for another one."""
        if len(self._prepared) >= PREPARED_LIMIT:
            self._prepared.clear()
        prepared = self._prepared[id(decision)] = _prepared(decision)
        return prepared

    def _share(self, decision: Decision) -> Prepared:
        """What is sent for a decision, made once for equal ones.

        Stages are told apart by identity, for equal plans mostly have the identical ones; what is kept holds them, so
        an id cannot come to stand for others.
        """
        action = decision.action
        key: object = decision
        if isinstance(action, Dial):
            if any(stage.cursor for stage in action.stages):
                return _prepared(decision)
            key = (
                id(action.stages), action.media, action.max_duration_s,
                decision.why, decision.tenant, decision.number, decision.caller_independent,
            )  # fmt: skip
        prepared = self._shared.get(key)
        if prepared is None:
            if len(self._shared) >= SHARED_LIMIT:
                self._shared.clear()
            prepared = self._shared[key] = _prepared(decision)
        return prepared

    def _expire(self, round: Round, settled: Sequence[Waiting]) -> None:
        """Take answers out that nobody waits for any more, and give back what they claimed."""
        now = time.monotonic()
        late = {id(one.answer): one for one in settled if one.expires and now > one.expires}
        if not late:
            return
        self._stats.expired += len(late)
        self._return(round, [one.claim for one in late.values()])
        round.waiting = [one for one in round.waiting if id(one.answer) not in late]
        gone = {one.question.id for one in late.values()}
        for position in range(len(round.response.answers) - 1, -1, -1):
            if round.response.answers[position].id in gone:
                del round.response.answers[position]

    def _return(self, round: Round, claims: Sequence[Claim]) -> None:
        """Give claims of a round back, once: another replica may have taken the same for the call by the next time."""
        if claims:
            self.give_back(claims)
            gone = set(map(id, claims))
            round.claims = [claim for claim in round.claims if id(claim) not in gone]

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


def _prepared(decision: Decision) -> Prepared:
    action = decision.action
    anchored = isinstance(action, Dial) and action.media is MediaMode.ANCHOR
    return Prepared(decision, decision_message(decision), decision.why.value, anchored, isinstance(action, Reject))


def _advance(deciding: Deciding, claimed: Claimed | None) -> Claim | Decision:
    """Run a decision to its next claim or its end. It begins with None."""
    try:
        return next(deciding) if claimed is None else deciding.send(claimed)
    except StopIteration as end:
        decision: Decision = end.value
        return decision


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
