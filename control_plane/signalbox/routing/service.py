"""``signalbox.api.routing.v1.RoutingService``: answers from the replica's memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.errors import DrainingError, FieldViolation, InvalidFieldError
from signalbox.routing import access, reports
from signalbox.routing.convert import check_edge, check_targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import grpc

    from signalbox.routing.access import Access
    from signalbox.routing.answers import Answerer, Round
    from signalbox.routing.edges import EdgeFeed, EdgeRegistry, TargetKeeper, Watcher
    from signalbox.routing.guide import Guide
    from signalbox.routing.replica import Replica
    from signalbox.routing.reports import ReportSink
    from signalbox.routing.stats import Stats

    ContinueContext = grpc.aio.ServicerContext[routing_pb2.ContinueRequest, routing_pb2.ContinueResponse]
    DecideContext = grpc.aio.ServicerContext[routing_pb2.DecideRequest, routing_pb2.DecideResponse]
    ReportContext = grpc.aio.ServicerContext[routing_pb2.ReportCallsRequest, routing_pb2.ReportCallsResponse]
    ExplainContext = grpc.aio.ServicerContext[routing_pb2.ExplainRequest, routing_pb2.ExplainResponse]
    OrderContext = grpc.aio.ServicerContext[routing_pb2.RecordOrderRequest, routing_pb2.RecordOrderResponse]
    StreamContext = grpc.aio.ServicerContext[routing_pb2.DecideStreamRequest, routing_pb2.DecideStreamResponse]
    WatchContext = grpc.aio.ServicerContext[routing_pb2.WatchEdgeRequest, routing_pb2.WatchEdgeResponse]

logger = structlog.get_logger(__name__)

MAX_SETTLING = 64
"""Most messages of one stream that wait for their turn to be counted; then no more are read from it."""
SETTLED_TOGETHER = 128
"""No more messages are added to so many questions that are counted together: :data:`counters.BATCH` go in one run."""

NAME = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name


class RoutingService(routing_pb2_grpc.RoutingServiceServicer):
    """Method names and messages are the protocol's; what they promise stands in routing.proto.

    Every method may end with PERMISSION_DENIED or UNAUTHENTICATED: who may call it stands in access.py.
    """

    def __init__(
        self,
        replica: Replica,
        answerer: Answerer,
        guide: Guide,
        feed: EdgeFeed,
        registry: EdgeRegistry,
        stats: Stats,
        access: Access,
        sink: ReportSink | None = None,
    ) -> None:
        """``sink``: where reports of calls count; None: nowhere, because nothing is counted."""
        self._replica = replica
        self._answerer = answerer
        self._guide = guide
        self._feed = feed
        self._registry = registry
        self._stats = stats
        self._access = access
        self._sink = sink
        self._questions: dict[StreamContext, asyncio.Lock] = {}
        self._open = 0
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.draining = False
        """True once the replica is stopping."""

    @property
    def streams(self) -> int:
        """Open streams of questions."""
        return len(self._questions)

    async def drain(self, limit_s: float) -> None:
        """Tell all streams to move, and wait until they have: ``limit_s`` seconds at most."""
        self.draining = True
        self._feed.drain()
        told = [asyncio.create_task(self._tell_drain(*stream)) for stream in self._questions.items()]
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._none_open.wait()
        for task in told:
            task.cancel()
        await asyncio.gather(*told, return_exceptions=True)

    @rpc.serve_errors
    async def Decide(self, request: routing_pb2.DecideRequest, context: DecideContext) -> routing_pb2.DecideResponse:
        """INVALID_ARGUMENT; UNAVAILABLE before rules are loaded."""
        self._access.check(context, "Decide")
        return await self._answerer.answer_unary(request)

    @rpc.serve_errors
    async def Explain(
        self, request: routing_pb2.ExplainRequest, context: ExplainContext
    ) -> routing_pb2.ExplainResponse:
        """INVALID_ARGUMENT; UNAVAILABLE before rules are loaded."""
        self._access.check(context, "Explain")
        response = await self._guide.explain(request)
        response.rule_age.FromMilliseconds(int(self._replica.rule_age_s() * 1000))
        return response

    @rpc.serve_errors
    async def Continue(
        self, request: routing_pb2.ContinueRequest, context: ContinueContext
    ) -> routing_pb2.ContinueResponse:
        """INVALID_ARGUMENT (CURSOR_INVALID, INVALID_FIELD); UNAVAILABLE before rules are loaded."""
        self._access.check(context, "Continue")
        return await self._guide.proceed(request)

    @rpc.serve_errors
    async def ReportCalls(
        self, request: routing_pb2.ReportCallsRequest, context: ReportContext
    ) -> routing_pb2.ReportCallsResponse:
        """INVALID_ARGUMENT; UNAVAILABLE while nothing can be counted."""
        await self._access.check_reports(self._access.check(context, "ReportCalls"), request)
        if self._sink is not None:
            await reports.take(request, self._sink)
        return routing_pb2.ReportCallsResponse()

    @rpc.serve_errors
    async def RecordOrder(
        self, request: routing_pb2.RecordOrderRequest, context: OrderContext
    ) -> routing_pb2.RecordOrderResponse:
        """INVALID_ARGUMENT; UNAVAILABLE while the store cannot be written."""
        access.check_self(self._access.check(context, "RecordOrder"), request.edge, "RecordOrder")
        await self._registry.record(request)
        return routing_pb2.RecordOrderResponse()

    # The stubs know only generators of responses; a coroutine that writes them is the other way that grpc.aio has.
    @rpc.serve_errors
    async def DecideStream(  # type: ignore[override]
        self, requests: AsyncIterator[routing_pb2.DecideStreamRequest], context: StreamContext
    ) -> None:
        """UNAVAILABLE (DRAINING) for a stream that begins while the replica stops."""
        self._access.check(context, "DecideStream")
        with self._counted():
            lock = self._questions[context] = asyncio.Lock()
            waiting: asyncio.Queue[Round] = asyncio.Queue(MAX_SETTLING)
            try:
                # What waits for counts does not hold up what comes after it and needs none.
                async with asyncio.TaskGroup() as tasks:
                    settling = tasks.create_task(self._settle(context, lock, waiting))
                    async for request in requests:
                        round = self._answerer.begin(request)
                        if round.waiting:
                            await waiting.put(round)
                        else:
                            await self._write(context, lock, round)
                    await waiting.join()
                    settling.cancel()
            finally:
                del self._questions[context]

    @rpc.serve_errors
    async def WatchEdge(  # type: ignore[override]
        self, requests: AsyncIterator[routing_pb2.WatchEdgeRequest], context: WatchContext
    ) -> None:
        """INVALID_ARGUMENT if the edge does not say who it is, first and once; UNAVAILABLE (DRAINING)."""
        peer = self._access.check(context, "WatchEdge")
        with self._counted():
            edge = _hello(await anext(requests, None))
            access.check_self(peer, edge.id, "WatchEdge")
            with self._feed.watcher(edge.id) as watcher:
                logger.info("edge_watches", edge=edge.id, peer=context.peer())
                targets = self._registry.targets(edge.id)
                tasks = [
                    asyncio.create_task(self._read(watcher, targets, requests)),
                    asyncio.create_task(self._registry.keep(edge)),
                    asyncio.create_task(targets.run()),
                ]
                try:
                    await self._send_snapshots(context, *tasks)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a stream as open for as long as the context lasts."""
        if self.draining:
            raise DrainingError("this replica is stopping")
        self._open += 1
        self._none_open.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._none_open.set()

    async def _settle(self, context: StreamContext, lock: asyncio.Lock, waiting: asyncio.Queue[Round]) -> None:
        """Long-lived coroutine: complete the answers that wait for counts and send them.

        While some are being counted others come: these go together the next time, so that the more is asked the less
        each question costs. What was claimed for nothing is given back.
        """
        while True:
            round = await waiting.get()
            while len(round.waiting) < SETTLED_TOGETHER and not waiting.empty():
                round.join(waiting.get_nowait())
            try:
                await self._answerer.settle(round)
                await self._write(context, lock, round)
            except BaseException:
                self._answerer.give_back(round.claims)
                raise
            for _ in round.started:
                waiting.task_done()

    async def _write(self, context: StreamContext, lock: asyncio.Lock, round: Round) -> None:
        round.response.draining = self.draining
        async with lock:
            await context.write(round.response)
        now = time.monotonic()
        for started in round.started:
            self._stats.took_us.observe(int((now - started) * 1e6))

    async def _tell_drain(self, stream: StreamContext, lock: asyncio.Lock) -> None:
        notice = routing_pb2.DecideStreamResponse(rule_revision=self._replica.rule_revision, draining=True)
        async with lock:
            await stream.write(notice)

    async def _send_snapshots(self, context: WatchContext, *others: asyncio.Task[None]) -> None:
        """Send until one of the other tasks ends; raises what it raised.

        This and not the reading is done by the handler itself, because a write must not be cancelled half-way: gRPC
        would never get round to sending the status.
        """
        version, draining = "", False
        while not draining:
            following = asyncio.create_task(self._feed.next(version))
            try:
                await asyncio.wait({following, *others}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                unchanged = following.cancel()
            if unchanged:
                break
            response = following.result()
            await context.write(response)
            self._stats.snapshots_sent += 1
            version, draining = response.version, response.draining
        ended, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        await ended.pop()

    async def _read(
        self, watcher: Watcher, targets: TargetKeeper, requests: AsyncIterator[routing_pb2.WatchEdgeRequest]
    ) -> None:
        async for request in requests:
            if request.WhichOneof("message") == "targets":
                if violation := check_targets(request.targets):
                    raise InvalidFieldError(violation)
                targets.take(request.targets)
            else:
                self._note(watcher, request)

    def _note(self, watcher: Watcher, request: routing_pb2.WatchEdgeRequest) -> None:
        match request.WhichOneof("message"):
            case "ack":
                watcher.acknowledged = request.ack.version
                logger.info("edge_snapshot_acknowledged", edge=watcher.edge, version=request.ack.version)
            case "nack":
                self._stats.snapshots_refused += 1
                logger.error(
                    "edge_snapshot_refused",
                    edge=watcher.edge,
                    version=request.nack.version,
                    reason=request.nack.reason,
                )
            case _:
                raise InvalidFieldError(FieldViolation("message", "ack, nack or targets is expected after the first"))


def _hello(request: routing_pb2.WatchEdgeRequest | None) -> routing_pb2.Edge:
    """The edge that the first message names. Raises InvalidFieldError."""
    if request is None or request.WhichOneof("message") != "hello":
        raise InvalidFieldError(FieldViolation("message", "hello is expected first"))
    edge = request.hello.edge
    if violation := check_edge(edge):
        raise InvalidFieldError(FieldViolation(f"hello.{violation.field}", violation.reason))
    return edge
