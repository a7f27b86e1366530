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
from signalbox.routing import reports
from signalbox.routing.convert import check_edge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import grpc

    from signalbox.routing.answers import Answerer, Round
    from signalbox.routing.edges import EdgeFeed, EdgeRegistry, Watcher
    from signalbox.routing.guide import Guide
    from signalbox.routing.replica import Replica
    from signalbox.routing.reports import ReportSink
    from signalbox.routing.stats import Stats

    ContinueContext = grpc.aio.ServicerContext[routing_pb2.ContinueRequest, routing_pb2.ContinueResponse]
    DecideContext = grpc.aio.ServicerContext[routing_pb2.DecideRequest, routing_pb2.DecideResponse]
    ReportContext = grpc.aio.ServicerContext[routing_pb2.ReportCallsRequest, routing_pb2.ReportCallsResponse]
    ExplainContext = grpc.aio.ServicerContext[routing_pb2.ExplainRequest, routing_pb2.ExplainResponse]
    StreamContext = grpc.aio.ServicerContext[routing_pb2.DecideStreamRequest, routing_pb2.DecideStreamResponse]
    WatchContext = grpc.aio.ServicerContext[routing_pb2.WatchEdgeRequest, routing_pb2.WatchEdgeResponse]

logger = structlog.get_logger(__name__)

MAX_SETTLING = 64
"""Most messages of one stream that wait for counts at the same time; then no more are read from it."""

NAME = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name


class RoutingService(routing_pb2_grpc.RoutingServiceServicer):
    """Method names and messages are the protocol's; what they promise stands in routing.proto."""

    def __init__(
        self,
        replica: Replica,
        answerer: Answerer,
        guide: Guide,
        feed: EdgeFeed,
        registry: EdgeRegistry,
        stats: Stats,
        sink: ReportSink | None = None,
    ) -> None:
        """``sink``: where reports of calls count; None: nowhere, because nothing is counted."""
        self._replica = replica
        self._answerer = answerer
        self._guide = guide
        self._feed = feed
        self._registry = registry
        self._stats = stats
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
        return await self._answerer.answer_unary(request)

    @rpc.serve_errors
    async def Explain(
        self, request: routing_pb2.ExplainRequest, context: ExplainContext
    ) -> routing_pb2.ExplainResponse:
        """INVALID_ARGUMENT; UNAVAILABLE before rules are loaded."""
        response = await self._guide.explain(request)
        response.rule_age.FromMilliseconds(int(self._replica.rule_age_s() * 1000))
        return response

    @rpc.serve_errors
    async def Continue(
        self, request: routing_pb2.ContinueRequest, context: ContinueContext
    ) -> routing_pb2.ContinueResponse:
        """INVALID_ARGUMENT (CURSOR_INVALID, INVALID_FIELD); UNAVAILABLE before rules are loaded."""
        return await self._guide.proceed(request)

    @rpc.serve_errors
    async def ReportCalls(
        self, request: routing_pb2.ReportCallsRequest, context: ReportContext
    ) -> routing_pb2.ReportCallsResponse:
        """INVALID_ARGUMENT; UNAVAILABLE while nothing can be counted."""
        if self._sink is not None:
            await reports.take(request, self._sink)
        return routing_pb2.ReportCallsResponse()

    # The stubs know only generators of responses; a coroutine that writes them is the other way that grpc.aio has.
    @rpc.serve_errors
    async def DecideStream(  # type: ignore[override]
        self, requests: AsyncIterator[routing_pb2.DecideStreamRequest], context: StreamContext
    ) -> None:
        """UNAVAILABLE (DRAINING) for a stream that begins while the replica stops."""
        with self._counted():
            lock = self._questions[context] = asyncio.Lock()
            room = asyncio.Semaphore(MAX_SETTLING)
            try:
                # What waits for counts does not hold up what comes after it.
                async with asyncio.TaskGroup() as settling:
                    async for request in requests:
                        started = time.monotonic()
                        round = self._answerer.begin(request)
                        if round.waiting:
                            await room.acquire()
                            task = settling.create_task(self._settle(context, lock, round, started))
                            task.add_done_callback(lambda _: room.release())
                        else:
                            await self._write(context, lock, round, started)
            finally:
                del self._questions[context]

    @rpc.serve_errors
    async def WatchEdge(  # type: ignore[override]
        self, requests: AsyncIterator[routing_pb2.WatchEdgeRequest], context: WatchContext
    ) -> None:
        """INVALID_ARGUMENT if the edge does not say who it is, first and once; UNAVAILABLE (DRAINING)."""
        with self._counted():
            edge = _hello(await anext(requests, None))
            with self._feed.watcher(edge.id) as watcher:
                logger.info("edge_watches", edge=edge.id, peer=context.peer())
                reader = asyncio.create_task(self._read(watcher, requests))
                keeper = asyncio.create_task(self._registry.keep(edge))
                try:
                    await self._send_snapshots(context, reader, keeper)
                finally:
                    reader.cancel()
                    keeper.cancel()
                    await asyncio.gather(reader, keeper, return_exceptions=True)

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

    async def _settle(self, context: StreamContext, lock: asyncio.Lock, round: Round, started: float) -> None:
        """Complete the answers of a message and send them; what was claimed for nothing is given back."""
        try:
            await self._answerer.settle(round)
            await self._write(context, lock, round, started)
        except BaseException:
            self._answerer.give_back(round.claims)
            raise

    async def _write(self, context: StreamContext, lock: asyncio.Lock, round: Round, started: float) -> None:
        round.response.draining = self.draining
        async with lock:
            await context.write(round.response)
        self._stats.took_us.observe(int((time.monotonic() - started) * 1e6))

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

    async def _read(self, watcher: Watcher, requests: AsyncIterator[routing_pb2.WatchEdgeRequest]) -> None:
        async for request in requests:
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
                raise InvalidFieldError(FieldViolation("message", "ack or nack is expected after the first message"))


def _hello(request: routing_pb2.WatchEdgeRequest | None) -> routing_pb2.Edge:
    """The edge that the first message names. Raises InvalidFieldError."""
    if request is None or request.WhichOneof("message") != "hello":
        raise InvalidFieldError(FieldViolation("message", "hello is expected first"))
    edge = request.hello.edge
    if violation := check_edge(edge):
        raise InvalidFieldError(FieldViolation(f"hello.{violation.field}", violation.reason))
    return edge
