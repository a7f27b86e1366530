"""The hot path: questions in, answers out, from memory.

All questions of a message are run until they need something counted; that is settled for all of them together, and
they are run to their ends. Questions that need nothing counted are answered without awaiting anything. The message of a
decision that is remembered is made once and copied into every answer; of any other decision, that of its dial.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.claims import uncounted
from signalbox.domain.decided import Decision, Dial, Reject
from signalbox.domain.decision import decide, known
from signalbox.domain.objects import MediaMode
from signalbox.domain.reaching import reach
from signalbox.errors import FieldViolation, InvalidFieldError, RulesNotLoadedError
from signalbox.routing.messages import DialMessage, dial_message, write_decision
from signalbox.routing.unrecordable import Unrecordable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.domain.claims import Claim, Claimed, Counters
    from signalbox.domain.decision import Deciding, Setup
    from signalbox.routing.book import Book
    from signalbox.routing.stats import Stats

logger = structlog.get_logger(__name__)

_BYPASS, _RECORD = MediaMode.BYPASS, MediaMode.RECORD

MAX_CALL_ID = 128
MAX_TEXT = 64
MAX_QUESTIONS = 1024
PREPARED_LIMIT = 16_384
"""Most messages of remembered decisions that are kept ready; the oldest goes when it is passed."""
DIALS_LIMIT = 4_096
"""As much for the dials of other decisions: a random order hardly ever comes again."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIELDS = ("call_id", "trunk", "called", "calling", "asserted", "source_address")


@dataclass(slots=True)
class Waiting:
    """A question whose decision waits for a claim to be settled. ``expires``: monotonic seconds."""

    deciding: Deciding
    claim: Claim
    question: routing_pb2.Question
    expires: float


@dataclass(slots=True)
class Round:
    """The answers to a message of questions, or to several: complete when nothing is ``waiting``.

    ``claims`` have been settled. ``started``: when each message came, monotonic seconds.
    """

    response: routing_pb2.DecideStreamResponse
    waiting: list[Waiting]
    claims: list[Claim]
    started: list[float]

    def join(self, later: Round) -> None:
        """Take over the questions and answers of a later message, of which nothing has been settled yet."""
        self.response.answers.extend(later.response.answers)
        self.waiting += later.waiting
        self.started += later.started


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
        self._prepared: OrderedDict[int, tuple[Decision, routing_pb2.Decision]] = OrderedDict()
        self._dials: OrderedDict[tuple[int, int, int], DialMessage] = OrderedDict()
        self.unrecordable = Unrecordable(book, stats)

    def begin(self, request: routing_pb2.DecideStreamRequest) -> Round:
        """Answer one message of questions, at one instant, as far as nothing has to be counted for it.

        A question past its deadline, counted from now, has no answer.
        """
        started, now = time.monotonic(), time.time()
        response = routing_pb2.DecideStreamResponse(rule_revision=self._revision())
        questions = request.questions
        waiting: list[Waiting] = []
        self._stats.batch.observe(len(questions))
        for position, question in enumerate(questions):
            deadline_ms = question.deadline_ms
            if deadline_ms and (time.monotonic() - started) * 1000 > deadline_ms:
                self._stats.expired += 1
            elif position >= MAX_QUESTIONS:
                reason = f"questions: more than {MAX_QUESTIONS}"
                self._refuse(question, response, types_pb2.INVALID_FIELD, reason)
            elif (asked := self._answer_alone(question, response, now)) is not None:
                expires = started + deadline_ms / 1000 if deadline_ms else math.inf
                waiting.append(Waiting(*asked, question, expires))
        return Round(response, waiting, [], [started])

    async def settle(self, round: Round) -> None:
        """Complete the answers: all claims of the round go together, and once more for calls that claim again.

        A question that nobody waits for any more by then has no answer, and what it claimed is given back.
        """
        while round.waiting:
            waiting, round.waiting = round.waiting, []
            claims = [one.claim for one in waiting]
            round.claims += claims
            assert self._counters is not None, "without counters nothing waits"
            settled = await self._counters.settle(claims)
            now = time.monotonic()
            vain: list[Claim] = []
            for one, claimed in zip(waiting, settled, strict=True):
                try:
                    found = _advance(one.deciding, claimed)
                except Exception:
                    self._fail(one.question, round.response)
                    vain.append(one.claim)
                    continue
                if now > one.expires:
                    self._stats.expired += 1
                    vain.append(one.claim)
                elif isinstance(found, Decision):
                    answer = round.response.answers.add(id=one.question.id)
                    if not self._complete(one.question.request, answer, found) and claimed.over < 0:
                        # Refused all the same, for want of a free line or of a node that records.
                        vain.append(one.claim)
                else:
                    one.claim = found
                    round.waiting.append(one)
            if vain:
                # Once: another replica may have taken the same for the call by the next time.
                self.give_back(vain)
                gone = set(map(id, vain))
                round.claims = [claim for claim in round.claims if id(claim) not in gone]

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Nobody waits for what was claimed any more."""
        if claims and self._counters is not None:
            self._counters.give_back(claims)

    async def answer_unary(self, request: routing_pb2.DecideRequest) -> routing_pb2.DecideResponse:
        """The answer to a single question. Raises InvalidFieldError, RulesNotLoadedError."""
        self.require(check(request))
        found = self._known(request) or self._decide(request, time.time())
        claims: list[Claim] = []
        granted = False
        try:
            while not isinstance(found, Decision):
                deciding, claim = found
                claims.append(claim)
                assert self._counters is not None, "without counters nothing waits"
                (claimed,) = await self._counters.settle([claim])
                granted = claimed.over < 0
                after = _advance(deciding, claimed)
                found = after if isinstance(after, Decision) else (deciding, after)
        except asyncio.CancelledError:
            self.give_back(claims)
            raise
        response = routing_pb2.DecideResponse(rule_revision=self._revision())
        if not self._complete(request, response, found) and granted:
            self.give_back(claims[-1:])
        return response

    def require(self, violation: FieldViolation | None) -> None:
        """Raise InvalidFieldError if a request is wrong, RulesNotLoadedError if there is nothing to decide by."""
        if violation:
            raise InvalidFieldError(violation)
        if not self._book.loaded:
            raise RulesNotLoadedError("no rules have been loaded yet")

    def _answer_alone(
        self, question: routing_pb2.Question, response: routing_pb2.DecideStreamResponse, now: float
    ) -> tuple[Deciding, Claim] | None:
        """As _answer_one; a rule that nobody can obey is no reason to leave others without answers."""
        answered = len(response.answers)
        try:
            return self._answer_one(question, response, now)
        except Exception:
            del response.answers[answered:]
            self._fail(question, response)
            return None

    def _fail(self, question: routing_pb2.Question, response: routing_pb2.DecideStreamResponse) -> None:
        """A decision could not be made; called where the reason is being handled."""
        request = question.request
        logger.exception("decision_failed", call_id=request.call_id[:MAX_CALL_ID], called=request.called[:MAX_TEXT])
        self._refuse(question, response, types_pb2.INTERNAL, "")

    def _answer_one(
        self, question: routing_pb2.Question, response: routing_pb2.DecideStreamResponse, now: float
    ) -> tuple[Deciding, Claim] | None:
        """Answer a question at once, or say what it waits for."""
        request = question.request
        if violation := check(request):
            self._refuse(question, response, types_pb2.INVALID_FIELD, f"{violation.field}: {violation.reason}")
            return None
        if not self._book.loaded:
            self._refuse(question, response, types_pb2.RULES_NOT_LOADED, "")
            return None
        found = self._known(request) or self._decide(request, now)
        if not isinstance(found, Decision):
            return found
        self._complete(request, response.answers.add(id=question.id), found)
        return None

    def _known(self, request: routing_pb2.DecideRequest) -> Decision | None:
        """A decision that is remembered, if nothing is counted that could be in its way."""
        if request.leg:
            return None
        remembered = known(self._book.rules, request, self._max_diversions, counting=self._counting)
        if remembered is not None and not self._counting:
            self._stats.uncounted += 1
        return remembered

    def _complete(
        self,
        request: routing_pb2.DecideRequest,
        answer: routing_pb2.Answer | routing_pb2.DecideResponse,
        decision: Decision,
    ) -> bool:
        """Write an answer; False: it is a refusal. What media nodes have to do with it is of this moment."""
        action = decision.action
        if isinstance(action, Dial) and action.media is _RECORD and not self._book.media.records:
            decision = self.unrecordable.decision(decision, request.call_id)
            action = decision.action
        self._stats.decisions[decision.why] += 1
        prepared = self._prepared.get(id(decision))
        if prepared is not None:
            answer.decision.CopyFrom(prepared[1])
        else:
            write_decision(decision, self._dial(action) if isinstance(action, Dial) else None, answer.decision)
            if decision.caller_independent:
                self._prepare(decision, answer.decision)
        if isinstance(action, Reject):
            logger.debug("call_rejected", call_id=request.call_id, why=decision.why.value, tenant=decision.tenant)
            return False
        if action.media is not _BYPASS:
            nodes, media = self._book.media, answer.media
            assign = nodes.assign_recording if action.media is _RECORD else nodes.assign
            assignment = assign(request.call_id)
            media.node = assignment.node
            media.spare = assignment.spare
        return True

    def _decide(self, request: routing_pb2.DecideRequest, now: float) -> Decision | tuple[Deciding, Claim]:
        """A decision, or one that waits for a claim."""
        if request.leg:
            dead = self._setup.dead.get(request.edge, frozenset())
            return reach(self._book.rules, request, self._setup.cursor_key, now, dead)
        deciding = decide(self._book.rules, request, now, self._setup)
        found = _advance(deciding, None)
        if self._counters is None:
            while not isinstance(found, Decision):
                self._stats.uncounted += 1
                found = _advance(deciding, uncounted(found))
        return found if isinstance(found, Decision) else (deciding, found)

    def _prepare(self, decision: Decision, message: routing_pb2.Decision) -> None:
        """Keep the message of a decision if that is remembered, with it: so its id cannot come to stand for another."""
        if self._book.rules.remembers(decision):
            if len(self._prepared) >= PREPARED_LIMIT:
                self._prepared.popitem(last=False)
            kept = routing_pb2.Decision()
            kept.CopyFrom(message)
            self._prepared[id(decision)] = decision, kept

    def _dial(self, dial: Dial) -> DialMessage:
        """A dial's message, made once for equal ones.

        Stages are told apart by identity, for equal plans mostly have the identical ones; what is kept holds them, so
        an id cannot come to stand for others.
        """
        key = (id(dial.stages), id(dial.media), dial.max_duration_s)
        found = self._dials.get(key)
        if found is None:
            found = dial_message(dial)
            if not any(stage.cursor for stage in dial.stages):
                if len(self._dials) >= DIALS_LIMIT:
                    self._dials.popitem(last=False)
                self._dials[key] = found
        return found

    def _refuse(
        self,
        question: routing_pb2.Question,
        response: routing_pb2.DecideStreamResponse,
        error: types_pb2.ErrorReason.ValueType,
        message: str,
    ) -> None:
        reason, call_id = types_pb2.ErrorReason.Name(error), question.request.call_id[:MAX_CALL_ID]
        self._stats.refused[reason] += 1
        logger.debug("question_refused", call_id=call_id, reason=reason, message=message)
        response.answers.add(id=question.id, error=error, error_message=message)


def _advance(deciding: Deciding, claimed: Claimed | None) -> Claim | Decision:
    """Run a decision to its next claim or its end. It begins with None."""
    try:
        return next(deciding) if claimed is None else deciding.send(claimed)
    except StopIteration as end:
        decision: Decision = end.value
        return decision


def check(request: routing_pb2.DecideRequest, *, required: bool = True) -> FieldViolation | None:
    """What is wrong with a request, if anything. ``required=False`` lets call id and trunk be empty."""
    call_id, trunk, called, calling = request.call_id, request.trunk, request.called, request.calling
    asserted, source = request.asserted, request.source_address
    texts = f"{call_id}{trunk}{called}{calling}{asserted}{source}"
    if (
        len(call_id) <= MAX_CALL_ID
        and called
        and ((call_id and trunk) or not required)
        and max(len(trunk), len(called), len(calling), len(asserted), len(source)) <= MAX_TEXT
        # What is printable has none, and that is quickly seen.
        and (texts.isprintable() or not _CONTROL.search(texts))
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
