"""A routing service for tests of the edge: answers as it is told to, in this process or in one of its own.

In-process::

    async with RoutingFake() as fake:
        fake.behaviour.delay_s = 0.2
        ... fake.address ...

As a process: ``python -m support.routing_fake 127.0.0.1:7410`` (it answers every call with one dial decision).
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2_grpc

from support.ports import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


SERVICE = pb.DESCRIPTOR.services_by_name["RoutingService"].full_name


def dial(number: str = "4001234567", fingerprint: int = 1, line: str = "line-a", **changes: Any) -> pb.Decision:
    """A decision to ring one line, the same for every caller."""
    branch = pb.Branch(uri="sip:200@192.0.2.7:5060", destination="sip:192.0.2.7:5060;transport=udp", line=line)
    values: dict[str, Any] = {
        "dial": pb.Dial(stages=[pb.Stage(branches=[branch], ring_time_ms=30_000)], media=1),
        "why": "dial",
        "tenant": "acme",
        "number": number,
        "fingerprint": fingerprint,
        "caller_independent": True,
    }
    return pb.Decision(**(values | changes))


@dataclass
class Behaviour:
    """What the fake does; changed by tests as they go."""

    decide: Callable[[pb.DecideRequest], pb.Decision] = lambda request: dial()
    media: pb.MediaAssignment = field(default_factory=lambda: pb.MediaAssignment(node=1, spare=2))
    delay_s: float = 0.0
    silent: bool = False
    error: int = 0
    draining: bool = False


class RoutingFake(routing_pb2_grpc.RoutingServiceServicer):
    """One replica on a free loopback port."""

    def __init__(self) -> None:
        self.address = free_address()
        self.behaviour = Behaviour()
        self.questions: list[pb.Question] = []
        self.messages = 0
        self.askers: set[str] = set()
        self.snapshot: pb.WatchEdgeResponse | None = None
        self.hellos: list[pb.Edge] = []
        self.acks: list[str] = []
        self.nacks: list[pb.SnapshotNack] = []
        self.targets: list[list[str]] = []
        """The hosts of the dead targets, as they were told."""
        self.reports: list[pb.CallReport] = []
        self.report_status: grpc.StatusCode | None = None
        self.orders: list[pb.RecordOrderRequest] = []
        self.order_status: grpc.StatusCode | None = None
        self.refused_calls: set[str] = set()
        """A message with a report of one of these is refused for good."""
        self._watchers: set[asyncio.Queue[pb.WatchEdgeResponse]] = set()
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RoutingFake:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after :meth:`stop` on the same address again."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self.set_serving(True)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """End at once: streams break."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def set_serving(self, serving: bool, *, usable: bool | None = None) -> None:
        """What the health service says, as :meth:`signalbox.rpc.Health.set`."""
        for service, well in (("", serving), (SERVICE, serving if usable is None else usable)):
            status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(service, status)

    def push(self, snapshot: pb.WatchEdgeResponse) -> None:
        """Send a snapshot to every edge that watches, and to those that come later."""
        self.snapshot = snapshot
        for watcher in self._watchers:
            watcher.put_nowait(snapshot)

    async def DecideStream(
        self, requests: AsyncIterator[pb.DecideStreamRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.DecideStreamResponse]:
        """Answers each message as the behaviour says; slow answers do not hold up later ones."""
        answers: asyncio.Queue[pb.DecideStreamResponse | None] = asyncio.Queue()

        async def take() -> None:
            async for request in requests:
                self.messages += 1
                self.askers.add(context.peer())
                self.questions.extend(request.questions)
                if self.behaviour.silent:
                    continue
                if self.behaviour.delay_s:
                    task = asyncio.create_task(late(self.behaviour.delay_s, request))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                else:
                    answers.put_nowait(self._answer(request))
            answers.put_nowait(None)

        async def late(delay_s: float, request: pb.DecideStreamRequest) -> None:
            await asyncio.sleep(delay_s)
            answers.put_nowait(self._answer(request))

        taking = asyncio.create_task(take())
        try:
            while (response := await answers.get()) is not None:
                yield response
        finally:
            taking.cancel()

    async def WatchEdge(
        self, requests: AsyncIterator[pb.WatchEdgeRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchEdgeResponse]:
        """Sends snapshots, keeps acks and nacks."""
        snapshots: asyncio.Queue[pb.WatchEdgeResponse] = asyncio.Queue()

        async def take() -> None:
            async for request in requests:
                match request.WhichOneof("message"):
                    case "hello":
                        self.hellos.append(request.hello.edge)
                    case "ack":
                        self.acks.append(request.ack.version)
                    case "nack":
                        self.nacks.append(request.nack)
                    case "targets":
                        self.targets.append([one.target.host for one in request.targets.dead])

        taking = asyncio.create_task(take())
        self._watchers.add(snapshots)
        try:
            if self.snapshot is not None:
                yield self.snapshot
            while True:
                yield await snapshots.get()
        finally:
            self._watchers.discard(snapshots)
            taking.cancel()

    async def ReportCalls(
        self, request: pb.ReportCallsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReportCallsResponse:
        """Keeps reports, unless it is to refuse them with ``report_status``, or some of them for good."""
        if self.report_status is not None:
            await context.abort(self.report_status, "as told")
        if any(report.call_id in self.refused_calls for report in request.reports):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no id of ours")
        self.reports.extend(request.reports)
        return pb.ReportCallsResponse()

    async def RecordOrder(
        self, request: pb.RecordOrderRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordOrderResponse:
        """Keeps orders, unless it is to refuse them with ``order_status``."""
        if self.order_status is not None:
            await context.abort(self.order_status, "as told")
        self.orders.append(request)
        return pb.RecordOrderResponse()

    def _answer(self, request: pb.DecideStreamRequest) -> pb.DecideStreamResponse:
        behaviour = self.behaviour
        response = pb.DecideStreamResponse(rule_revision=7, draining=behaviour.draining)
        for question in request.questions:
            if behaviour.error:
                response.answers.add(id=question.id, error=behaviour.error, error_message="as told")
            else:
                decision = behaviour.decide(question.request)
                response.answers.add(id=question.id, decision=decision, media=behaviour.media)
        return response


class FastFake(routing_pb2_grpc.RoutingServiceServicer):
    """Answers every question at once with one decision: for measurements."""

    async def DecideStream(
        self, requests: AsyncIterator[pb.DecideStreamRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.DecideStreamResponse]:
        """One message of answers for each of questions."""
        decision, media = dial(), pb.MediaAssignment(node=1, spare=2)
        async for request in requests:
            response = pb.DecideStreamResponse()
            for question in request.questions:
                response.answers.add(id=question.id, decision=decision, media=media)
            yield response

    async def WatchEdge(
        self, requests: AsyncIterator[pb.WatchEdgeRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchEdgeResponse]:
        """One empty snapshot."""
        yield pb.WatchEdgeResponse(version="1", revision=1)
        async for _ in requests:
            pass


async def _serve(address: str) -> None:
    server = grpc.aio.server()
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(FastFake(), server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port(address)
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1]))
