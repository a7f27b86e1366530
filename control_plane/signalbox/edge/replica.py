"""One routing replica: its channel, its stream of questions and what is thought of it.

::

    CONNECTING ──health SERVING, stream open──▶ READY ──late too often──▶ SUSPECT ──trial in time──▶ READY
        ▲                                         │                          │
        └────────────── stream broken, health bad, told to move (DRAINING) ──┘

A replica whose rules are old says that it is not serving, but its service by name is: it is READY, and asked only if no
other is. One that drains answers for as long as its stream is open, and is asked if there is no other at all: its
successor may be ready while no name has its address yet.
"""

from __future__ import annotations

import asyncio
import enum
import random
from typing import TYPE_CHECKING, Protocol

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from signalbox.api.routing.v1.routing_pb2 import DESCRIPTOR, DecideStreamRequest, DecideStreamResponse
from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.edge.question import Question

logger = structlog.get_logger(__name__)

LATE_LIMIT = 5
"""So many late questions in a row make a replica suspect."""

MAX_BATCH = 1024
"""Questions in one message (routing.v1.DecideStreamRequest)."""

SERVICE = DESCRIPTOR.services_by_name["RoutingService"].full_name
HEALTH_INTERVAL_S = 2.0
HEALTH_TIMEOUT_S = 1.0
RECONNECT_MIN_S = 0.1
RECONNECT_MAX_S = 2.0
TRIAL_MIN_S = 0.5
TRIAL_MAX_S = 15.0
STEADY_S = 30.0
"""A replica that was good for so long begins with the shortest wait again when it turns bad."""

StreamCall = grpc.aio.StreamStreamCall[DecideStreamRequest, DecideStreamResponse]


class State(enum.Enum):
    """What a replica may be used for."""

    CONNECTING = "connecting"
    READY = "ready"
    SUSPECT = "suspect"
    DRAINING = "draining"


class Receiver(Protocol):
    """Who hears of answers and losses."""

    def on_answers(self, replica: Replica, response: DecideStreamResponse) -> None:
        """A message came."""

    def on_lost(self, replica: Replica) -> None:
        """The stream is gone; what it had in hand gets no answer any more."""

    def on_ready(self) -> None:
        """A replica can be asked."""


class _StreamEndedError(Exception):
    """The replica closed its stream."""


class Replica:
    """Supervised by the pool through :meth:`run`. Everything else is called on the event loop and never waits."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], grpc.aio.Channel],
        receiver: Receiver,
        changed: Callable[[], None],
        *,
        hedge_after_s: float,
        timeout_s: float,
    ) -> None:
        self.name = name
        self.state = State.CONNECTING
        self.stale = False
        """Its rules are old: it is asked if no other can be."""
        self.outstanding = 0
        self.late_streak = 0
        self.channel: grpc.aio.Channel | None = None
        self._connect = connect
        self._receiver = receiver
        self._changed = changed
        self._hedge_s = hedge_after_s
        self._timeout_s = timeout_s
        self._time = asyncio.get_running_loop().time
        self._outbox: list[Question] = []
        self._wake = asyncio.Event()
        self._trial_id = 0
        self._trial_at = 0.0
        self._next_trial = 0.0
        self._trial_wait_s = TRIAL_MIN_S
        self._ready_since = 0.0
        self._reconnect_s = RECONNECT_MIN_S

    def send(self, questions: list[Question]) -> None:
        """Queue questions for the stream."""
        self.outstanding += len(questions)
        self._outbox.extend(questions)
        self._wake.set()

    def in_time(self) -> None:
        """It answered before a second replica was asked."""
        self.late_streak = 0
        if self.state is State.SUSPECT:
            self._set(State.READY)

    def suspect(self) -> None:
        """Late too often: no more questions but trials."""
        if self.state is State.READY:
            if self._time() - self._ready_since > STEADY_S:
                self._trial_wait_s = TRIAL_MIN_S
            self._trial_id = 0
            self._next_trial = self._time() + self._trial_wait_s
            self._set(State.SUSPECT)

    def refuse(self) -> None:
        """It said that it cannot decide now: trials will tell when it can."""
        self.suspect()

    def drain(self) -> None:
        """It is stopping: it answers what it has, and gets more only while no other can be asked."""
        if self.state in (State.READY, State.SUSPECT):
            self._set(State.DRAINING)

    def trial_due(self, now: float) -> bool:
        """True if a suspect replica should get a copy of a question."""
        return self.state is State.SUSPECT and now >= self._next_trial

    def begin_trial(self, question: Question) -> None:
        """Put a copy of one question to it; the next trial waits twice as long."""
        self._trial_id, self._trial_at = question.id, self._time()
        self._next_trial = self._trial_at + self._trial_wait_s
        self._trial_wait_s = min(self._trial_wait_s * 2, TRIAL_MAX_S)
        self.send([question])

    def end_trial(self, number: int, now: float) -> bool:
        """An answer came; True if it was the trial's. In time, the replica is ready again."""
        if number != self._trial_id:
            return False
        self._trial_id = 0
        if now - self._trial_at < self._hedge_s:
            self.in_time()
        return True

    async def run(self) -> None:
        """Long-lived coroutine: connect, serve, and begin again when it breaks."""
        while True:
            try:
                async with self._connect() as channel:
                    self.stale = await self._is_stale(channel)
                    self.channel = channel
                    await self._serve(channel)
            except* (grpc.aio.AioRpcError, asyncio.InvalidStateError, _StreamEndedError) as group:
                level = "info" if self.state in (State.CONNECTING, State.DRAINING) else "warning"
                getattr(logger, level)("replica_lost", replica=self.name, state=self.state.value, reason=_reason(group))
            finally:
                self._reset()
            await asyncio.sleep(self._reconnect_s * random.uniform(0.5, 1.0))
            self._reconnect_s = min(self._reconnect_s * 2, RECONNECT_MAX_S)

    async def _serve(self, channel: grpc.aio.Channel) -> None:
        call: StreamCall = RoutingServiceStub(channel).DecideStream()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(call), name=f"write {self.name}")
            tasks.create_task(self._poll_health(channel), name=f"health {self.name}")
            self._ready_since = self._time()
            self._reconnect_s = RECONNECT_MIN_S
            self.late_streak = 0
            self._set(State.READY)
            self._receiver.on_ready()
            async for response in call:
                self._receiver.on_answers(self, response)
            raise _StreamEndedError(f"stream ended: {(await call.code()).name}")

    async def _write(self, call: StreamCall) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                batch, self._outbox = self._outbox[:MAX_BATCH], self._outbox[MAX_BATCH:]
                message = DecideStreamRequest()
                add = message.questions.add
                end = self._timeout_s - self._time()
                for question in batch:
                    if question.open:
                        left_ms = max(int((question.asked_at + end) * 1000), 1)
                        add(id=question.id, deadline_ms=left_ms, request=question.request)
                if message.questions:
                    await call.write(message)

    async def _poll_health(self, channel: grpc.aio.Channel) -> None:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_S)
            if self.state is not State.DRAINING:
                stale = await self._is_stale(channel)
                if stale is not self.stale:
                    logger.info("replica_stale", replica=self.name, stale=stale)
                    self.stale = stale
                    self._changed()

    async def _is_stale(self, channel: grpc.aio.Channel) -> bool:
        """Raises AioRpcError or _StreamEndedError if it cannot decide calls at all."""
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await stub.Check(request, timeout=HEALTH_TIMEOUT_S)  # type: ignore[attr-defined]
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return bool(service)
        raise _StreamEndedError("not serving")

    def _reset(self) -> None:
        """Forget the connection and hand its questions back."""
        was_connected = self.state is not State.CONNECTING
        self.channel = None
        self._outbox = []
        self._trial_id = 0
        self._set(State.CONNECTING)
        if was_connected:
            self._receiver.on_lost(self)

    def _set(self, state: State) -> None:
        if state is self.state:
            return
        logger.info("replica_state", replica=self.name, state=state.value, before=self.state.value)
        if state is State.READY:
            self._ready_since = self._time()
            self.late_streak = 0
        self.state = state
        self._changed()


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """The first cause, in one line."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
