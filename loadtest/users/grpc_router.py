"""Questions to a routing replica: one at a time, and several by a stream."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import grpc
from gevent.queue import Queue
from locust import constant_throughput, task
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc

from loadtest import rows
from loadtest.figures import ROUTING
from loadtest.users.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.env import Environment

DECIDE_S = 5.0
QUESTIONS = 10
"""In a message of a stream, as proxies under load ask."""


class GrpcRouter(Asking):
    """Asks for decisions as a proxy's sidecar does, ten times a second; a call of it never comes."""

    part = ROUTING
    fixed_count = 2
    wait_time = constant_throughput(10)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._model = self.of_run.callers.model
        self._random = Random(self._model.traffic.seed)

    def on_start(self) -> None:
        """Connect, and open a stream."""
        self._stub = routing_pb2_grpc.RoutingServiceStub(self.of_run.routing())
        self._asked: Queue[routing_pb2.DecideStreamRequest | None] = Queue()
        self._answers = self._stub.DecideStream(self._to_ask())

    def on_stop(self) -> None:
        """End the stream."""
        self._asked.put(None)

    @task(3)
    def decide(self) -> None:
        """One question."""
        began = time.perf_counter()
        try:
            response = self._stub.Decide(self._next(), timeout=DECIDE_S)
        except grpc.RpcError as error:
            self.tell(rows.DECIDE, began, error.code().name)
        else:
            refused = "" if response.decision.HasField("dial") else "a decision without a line"
            self.tell(rows.DECIDE, began, refused)

    @task(1)
    def decide_stream(self) -> None:
        """Several questions in a message of a stream, whose answers come one by one or together."""
        request = routing_pb2.DecideStreamRequest()
        for id in range(QUESTIONS):
            request.questions.add(id=id, request=self._next())
        began, left, refused = time.perf_counter(), QUESTIONS, 0
        self._asked.put(request)
        try:
            while left > 0:
                answers = next(self._answers).answers
                left -= len(answers)
                refused += sum(not answer.decision.HasField("dial") for answer in answers)
        except (grpc.RpcError, StopIteration) as error:
            self.tell(rows.DECIDE_STREAM, began, error.code().name if isinstance(error, grpc.RpcError) else "ended")
            self.on_start()
        else:
            self.tell(rows.DECIDE_STREAM, began, f"{refused} of {QUESTIONS} without a line" if refused else "")

    def _to_ask(self) -> Iterator[routing_pb2.DecideStreamRequest]:
        while (request := self._asked.get()) is not None:
            yield request

    def _next(self) -> routing_pb2.DecideRequest:
        plan = self._model.call(self._random)
        return self.question(plan.rank, plan.caller)
