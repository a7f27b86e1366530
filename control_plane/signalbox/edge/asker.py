"""From question to answer: a deadline for each question, a second replica when the first is late.

Questions that were read together are asked together, and decisions that are ready together are sent together.

No task and no timer belongs to one question. Open questions stand in two queues in the order of their arrival:
``_fresh`` until ``hedge_after_ms``, then ``_late`` until ``decide_timeout_ms``; one timer serves the heads of both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

import structlog

from signalbox.api.types.v1.types_pb2 import DRAINING, INVALID_FIELD, RULES_NOT_LOADED, STORE_UNAVAILABLE, ErrorReason
from signalbox.edge.question import MalformedError, Question, UnreadableError, parse
from signalbox.edge.reply import (
    MAX_TOGETHER,
    DecisionCache,
    Rendered,
    ReplyWriter,
    UnusableDecisionError,
    answer,
    reject,
    unusable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.api.routing.v1.routing_pb2 import Answer, DecideStreamResponse
    from signalbox.edge.lastgood import LastGood
    from signalbox.edge.nodes import MediaNodes
    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica
    from signalbox.edge.stats import Stats
    from signalbox.settings import EdgeSettings

logger = structlog.get_logger(__name__)

MAX_BATCH = 32
"""Questions put to one replica at a time: what is read after a stall is spread over the replicas."""

TICK_S = 0.005
"""Least time between two looks at the queues."""

MAX_ATTEMPTS = 3
"""So often a question is put to replicas that are lost or say they cannot decide."""

RETRY_AFTER_OVERLOAD_S = 2
RETRY_AFTER_UNAVAILABLE_S = 5

_MALFORMED = reject(400, "Bad Request", "malformed")
_OVERLOAD = reject(503, "Service Unavailable", "overload", RETRY_AFTER_OVERLOAD_S)
_UNAVAILABLE = reject(503, "Service Unavailable", "routing_unavailable", RETRY_AFTER_UNAVAILABLE_S)
_ERROR = reject(500, "Server Internal Error", "routing_error")
_NEVER = float("inf")
_TRY_ANOTHER = frozenset({DRAINING, RULES_NOT_LOADED, STORE_UNAVAILABLE})


class Asker:
    """Owns every open question. All methods are called on the event loop."""

    def __init__(
        self,
        settings: EdgeSettings,
        pool: Pool,
        nodes: MediaNodes,
        last_good: LastGood,
        writer: ReplyWriter,
        send: Callable[[bytes], None],
        stats: Stats,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._edge = settings.id
        self._hedge_s = settings.hedge_after_ms / 1000
        self._timeout_s = settings.decide_timeout_ms / 1000
        self._limit = settings.queue_limit
        self._pool = pool
        self._nodes = nodes
        self._last_good = last_good
        self._message = writer.message
        self._send = send
        self._stats = stats
        self._decisions = DecisionCache()
        self._next_id = 0
        self._open: dict[int, Question] = {}
        self._ready: list[bytes] = []
        self._parked: list[Question] = []
        self._fresh: deque[Question] = deque()
        self._late: deque[Question] = deque()
        self._idle = asyncio.Event()
        self._tick_timer: asyncio.TimerHandle | None = None
        self._tick_due = _NEVER

    @property
    def open(self) -> int:
        """Questions without an answer."""
        return len(self._open)

    def take(self, datagrams: Sequence[bytes]) -> None:
        """Datagrams of the proxy that were read together."""
        now = self._time()
        batch: list[Question] = []
        for datagram in datagrams:
            question = self._read(datagram)
            if question is None:
                continue
            if len(self._open) >= self._limit:
                self._stats.shed += 1
                self._reply(question, _OVERLOAD)
                continue
            question.asked_at = now
            self._open[question.id] = question
            batch.append(question)
        self._fresh.extend(batch)
        for start in range(0, len(batch), MAX_BATCH):
            self._ask(batch[start : start + MAX_BATCH])
        if self._fresh and self._fresh[0].asked_at + self._hedge_s < self._tick_due:
            self._arm()
        self._send_ready()

    def _read(self, datagram: bytes) -> Question | None:
        """The question in a datagram; None if it can be put to nobody."""
        self._stats.questions += 1
        try:
            question = parse(datagram)
        except MalformedError as error:
            self._stats.malformed += 1
            # Of what is malformed nothing goes into the log but its length.
            which = {"call_id": error.call_id} if error.call_id else {"length": len(datagram)}
            logger.debug("question_malformed", field=error.field, **which)
            self._ready.append(answer(error.index, error.label, _MALFORMED.text()))
            return None
        except UnreadableError:
            self._stats.unreadable += 1
            return None
        self._next_id = question.id = self._next_id + 1
        question.request.edge = self._edge
        return question

    def _ask(self, batch: list[Question]) -> None:
        """Put questions to one replica; park them if there is none."""
        replica = self._pool.pick()
        if replica is None:
            self._parked.extend(batch)
            return
        for question in batch:
            question.first = replica
            question.attempts += 1
        replica.send(batch)
        probed = self._pool.due_for_trial()
        if probed is not None and probed is not replica and batch[0].second is None:
            # A replica that was late answers a copy: the caller does not wait for it.
            question = batch[0]
            question.second = probed
            probed.begin_trial(question)

    def _arm(self) -> None:
        """Have the timer go off at the next head of a queue, not later."""
        due = self._fresh[0].asked_at + self._hedge_s if self._fresh else _NEVER
        if self._late:
            due = min(due, self._late[0].asked_at + self._timeout_s)
        if self._parked:
            due = 0.0
        if due == _NEVER:
            return
        due = max(due, self._time() + TICK_S)
        if due < self._tick_due:
            if self._tick_timer is not None:
                self._tick_timer.cancel()
            self._tick_timer = self._loop.call_at(due, self._tick)
            self._tick_due = due

    def _tick(self) -> None:
        self._tick_timer, self._tick_due = None, _NEVER
        now = self._time()
        if self._parked:
            self._unpark()
        fresh, late = self._fresh, self._late
        overdue: list[Question] = []
        while fresh and (not fresh[0].open or fresh[0].asked_at + self._hedge_s <= now):
            question = fresh.popleft()
            if question.open:
                late.append(question)
                overdue.append(question)
        if overdue:
            self._hedge(overdue, now)
        while late and (not late[0].open or late[0].asked_at + self._timeout_s <= now):
            question = late.popleft()
            if question.open:
                self._stats.timeouts += 1
                self._give_up(question, now)
        self._arm()
        self._send_ready()

    def _unpark(self) -> None:
        parked = [question for question in self._parked if question.open]
        self._parked = []
        if parked:
            self._ask(parked)

    def _hedge(self, overdue: list[Question], now: float) -> None:
        """Ask a second replica; where there is nobody to ask at all, use the last good decision."""
        copies: dict[Replica, list[Question]] = {}
        for question in overdue:
            first = question.first
            if first is None:
                known = self._last_good.find(question, now)
                if known is not None:
                    self._use_again(question, known)
                continue
            self._pool.was_late(first)
            if question.second is not None:
                question.second.outstanding -= 1
                question.second = None
            other = self._pool.pick(exclude=first)
            if other is not None:
                question.second = other
                copies.setdefault(other, []).append(question)
        for replica, questions in copies.items():
            self._stats.hedges += len(questions)
            replica.send(questions)

    def on_answers(self, replica: Replica, response: DecideStreamResponse) -> None:
        """A message of a replica's stream."""
        if response.draining:
            replica.drain()
        now = self._time()
        for reply in response.answers:
            question = self._open.get(reply.id)
            if question is None or (question.first is not replica and question.second is not replica):
                if not replica.end_trial(reply.id, now):
                    self._stats.late_answers += 1
            elif reply.error:
                self._failed(question, replica, reply)
            else:
                self._answered(question, replica, reply, now)
        self._send_ready()

    def _answered(self, question: Question, replica: Replica, reply: Answer, now: float) -> None:
        stats = self._stats
        decision = reply.decision
        try:
            rendered = self._decisions.get(decision)
        except UnusableDecisionError as error:
            stats.unusable += 1
            logger.error(
                "decision_unusable", call_id=question.request.call_id, tenant=decision.tenant, reason=str(error)
            )
            self._close(question)
            self._reply(question, unusable(decision))
            return
        waited = now - question.asked_at
        if question.second is replica:
            if not replica.end_trial(question.id, now):
                stats.hedge_wins += 1
                replica.in_time()
        elif waited < self._hedge_s:
            replica.in_time()
        self._close(question)
        stats.routed += 1
        stats.observe(waited)
        self._last_good.keep(question, rendered, now)
        if rendered.anchored:
            media = reply.media
            self._deliver(question, rendered, *self._nodes.fit(media.node, media.spare))
        else:
            self._deliver(question, rendered, 0, 0)

    def _failed(self, question: Question, replica: Replica, reply: Answer) -> None:
        """The replica could not decide: another may, unless it is the question's fault or ours."""
        if reply.error in _TRY_ANOTHER:
            replica.refuse()
            self._release(question, replica)
            if question.first is None:
                self._move([question])
            return
        self._close(question)
        if reply.error == INVALID_FIELD:
            self._stats.malformed += 1
            logger.warning("question_refused", call_id=question.request.call_id, reason=reply.error_message)
            self._reply(question, _MALFORMED)
            return
        self._stats.errors += 1
        logger.error("question_failed", call_id=question.request.call_id, reason=_name(reply.error))
        self._reply(question, _ERROR)

    def on_lost(self, replica: Replica) -> None:
        """A replica's stream broke: what it had in hand goes to another at once."""
        orphans: list[Question] = []
        for question in self._open.values():
            if question.first is replica or question.second is replica:
                self._release(question, replica)
                if question.first is None:
                    orphans.append(question)
        replica.outstanding = 0
        if orphans:
            self._move(orphans)
        self._send_ready()

    def on_ready(self) -> None:
        """A replica can be asked (again)."""
        if self._parked:
            self._unpark()
        self._send_ready()

    def _move(self, questions: list[Question]) -> None:
        self._stats.moved += len(questions)
        again = [question for question in questions if question.attempts < MAX_ATTEMPTS]
        for question in questions:
            if question.attempts >= MAX_ATTEMPTS:
                self._give_up(question, self._time())
        if again:
            self._ask(again)
        if self._parked:
            self._arm()

    def _release(self, question: Question, replica: Replica) -> None:
        """No answer is awaited from this replica any more; a second one becomes the first."""
        replica.outstanding -= 1
        if question.second is replica:
            question.second = None
        elif question.first is replica:
            question.first, question.second = question.second, None

    def _give_up(self, question: Question, now: float) -> None:
        """Nobody answered: the last good decision, else 503."""
        known = self._last_good.find(question, now)
        if known is not None:
            self._use_again(question, known)
            return
        self._stats.unavailable += 1
        self._close(question)
        self._reply(question, _UNAVAILABLE)

    def _use_again(self, question: Question, known: Rendered) -> None:
        self._stats.last_good += 1
        self._close(question)
        self._reply(question, known)

    def _close(self, question: Question) -> None:
        question.open = False
        del self._open[question.id]
        if not self._open:
            self._idle.set()
        if question.first is not None:
            question.first.outstanding -= 1
        if question.second is not None:
            question.second.outstanding -= 1

    def _reply(self, question: Question, rendered: Rendered) -> None:
        node, spare = self._nodes.choose() if rendered.anchored else (0, 0)
        self._deliver(question, rendered, node, spare)

    def _deliver(self, question: Question, rendered: Rendered, node: int, spare: int) -> None:
        """Send the decision with others, soon; or alone and at once if the proxy will wait for rtpengine."""
        decision = answer(question.index, question.label, rendered.text(node, spare, question.anonymous))
        if rendered.anchored:
            self._send(self._message([decision]))
        else:
            self._ready.append(decision)

    def _send_ready(self) -> None:
        """Every entry to this object ends here."""
        while self._ready:
            self._send(self._message(self._ready[:MAX_TOGETHER]))
            del self._ready[:MAX_TOGETHER]

    async def drain(self) -> None:
        """Wait until every question taken has its answer; at most ``decide_timeout_ms``."""
        if self._open:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self._timeout_s + 4 * TICK_S)


def _name(reason: int) -> str:
    """Name of an ErrorReason, also of one newer than us."""
    return ErrorReason.Name(reason) if reason in ErrorReason.values() else str(reason)  # type: ignore[arg-type]
