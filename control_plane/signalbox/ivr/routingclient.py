"""The routing service as workers ask it: each step of a flow from whichever replica answers, and who has answered."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from signalbox import callreports, rpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceStub
from signalbox.callreports import ReportsNotTakenError
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.ivr.metrics import IvrMetrics
    from signalbox.settings import ClientTlsSettings

logger = structlog.get_logger(__name__)

SERVICE = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name
TRY_S = 1.5
"""For one replica: a step is a decision, which takes milliseconds."""
STEP_S = 5.0
"""For a step in all, whoever is asked: the caller hears nothing meanwhile."""
PAUSE_S = 0.1
"""Before the replicas are asked again that have all failed at once."""
HEALTH_S = 2.0
"""Time between two questions how the replicas are."""
AWAY_S = 0.2
"""The same, while none of them serves."""
SHUNNED_S = 5.0
"""A replica that has failed is asked after the others for so long."""
REPORT_S = 0.2
REPORTS_MAX = 20_000
"""Reports that wait for a replica; of more, the oldest are given up."""


class Replicas:
    """The :class:`~signalbox.ivr.ports.Routing`. :meth:`watch` and :meth:`report` are its long-lived coroutines.

    To be made within the event loop. Raises ConfigurationError if a file cannot be read.
    """

    def __init__(self, replicas: Sequence[str], tls: ClientTlsSettings, metrics: IvrMetrics) -> None:
        self._metrics = metrics
        self._channels = {name: rpc.channel(name, tls, lasting=True) for name in replicas}
        self._stubs = {name: RoutingServiceStub(channel) for name, channel in self._channels.items()}
        self._shunned: dict[str, float] = {}
        self._healthy: set[str] = set()
        self._turn = 0
        self._time = asyncio.get_running_loop().time
        self._reports: dict[tuple[str, str], routing_pb2.CallReport] = {}
        """By call and what is told of it: the newest."""
        self._news = asyncio.Event()
        self._delayed = False

    @property
    def reachable(self) -> bool:
        """A replica said that it serves when it was last asked."""
        return bool(self._healthy)

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        """As :meth:`signalbox.ivr.ports.Routing.proceed`, within STEP_S. To ask twice does no harm."""
        end, why = self._time() + STEP_S, ""
        while True:
            for name in self._order():
                left_s = end - self._time()
                if left_s <= 0:
                    raise RoutingAwayError(f"no replica gave the next step within {STEP_S:g} s: {why}")
                try:
                    return await self._stubs[name].Continue(request, timeout=min(TRY_S, left_s))
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                        raise FlowRefusedError(error.details() or "the step is refused") from error
                    why = f"{error.code().name}: {error.details()}"
                    self._failed(name, why)
            await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))

    def answered(self, call_id: str, line: str) -> None:
        """As :meth:`signalbox.ivr.ports.Routing.answered`. Does not wait."""
        self._later("answered", routing_pb2.CallReport(call_id=call_id, answered=line))

    def anchored(self, call_id: str, node: int) -> None:
        """As :meth:`signalbox.ivr.ports.Routing.anchored`. Does not wait."""
        self._later("anchored", routing_pb2.CallReport(call_id=call_id, anchored=node))

    async def watch(self) -> None:
        """Long-lived coroutine: ask the replicas how they are."""
        while True:
            await asyncio.gather(*map(self._look, self._channels))
            await asyncio.sleep(HEALTH_S if self.reachable else AWAY_S)

    async def report(self) -> None:
        """Long-lived coroutine: tell what is to be told of calls, until a replica has taken it."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._tell()
            await asyncio.sleep(REPORT_S)

    async def flush(self, timeout_s: float) -> None:
        """At the end: tell what is still to be told. End :meth:`report` first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._tell()
        except TimeoutError:
            logger.warning("reports_given_up", count=len(self._reports))

    async def close(self) -> None:
        """Close connections."""
        for channel in self._channels.values():
            await channel.close()

    def _order(self) -> list[str]:
        """In turn, those that have failed a moment ago at the end."""
        names = list(self._channels)
        self._turn = (self._turn + 1) % len(names)
        now = self._time()
        return sorted((*names[self._turn :], *names[: self._turn]), key=lambda name: self._shunned.get(name, 0) > now)

    def _failed(self, name: str, why: str) -> None:
        self._metrics.steps_asked_again.inc()
        if self._shunned.get(name, 0) <= self._time():
            logger.warning("routing_replica_failed", replica=name, reason=why)
        self._shunned[name] = self._time() + SHUNNED_S

    async def _look(self, name: str) -> None:
        # A name may stand for several replicas, one of which is about to end: the next in turn is asked then.
        serving = await self._serves(name) or await self._serves(name)
        if serving != (name in self._healthy):
            logger.info("routing_replica", replica=name, serving=serving)
        (self._healthy.add if serving else self._healthy.discard)(name)

    async def _serves(self, name: str) -> bool:
        stub = health_pb2_grpc.HealthStub(self._channels[name])
        try:
            # By name: one with old rules is not serving as a whole, and decides all the same.
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            answer = await stub.Check(request, timeout=TRY_S)  # type: ignore[attr-defined]
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _tell(self) -> None:
        while self._reports:
            some = list(self._reports.items())[: callreports.MAX_REPORTS]
            reports = [report for _, report in some]
            await callreports.deliver(reports, self._until_taken, self._metrics.reports_given_up.inc)
            for key, report in some:
                # A line that has answered meanwhile is told next.
                if self._reports.get(key) is report:
                    del self._reports[key]

    def _later(self, what: str, report: routing_pb2.CallReport) -> None:
        """The last one counts, and is told last."""
        key = report.call_id, what
        self._reports.pop(key, None)
        self._reports[key] = report
        if len(self._reports) > REPORTS_MAX:
            self._reports.pop(next(iter(self._reports)))
            self._metrics.reports_given_up.inc()
        self._news.set()

    async def _until_taken(self, request: routing_pb2.ReportCallsRequest) -> None:
        """One replica after the other, until one has taken them. Raises ReportsRefusedError."""
        while True:
            for name in self._order():
                try:
                    await callreports.hand_over(self._channels[name], request)
                except ReportsNotTakenError as error:
                    self._delay(name, str(error))
                else:
                    if self._delayed:
                        logger.info("reports_go_on", replica=name)
                    self._delayed = False
                    return
            await asyncio.sleep(random.uniform(0, HEALTH_S))

    def _delay(self, name: str, reason: str) -> None:
        if not self._delayed:
            logger.warning("reports_delayed", replica=name, reason=reason)
        self._delayed = True
