"""``WatchEdge``: snapshots from one replica at a time, acknowledged or refused; another replica when it goes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox.api.routing.v1.routing_pb2 import (
    Edge,
    EdgeHello,
    SnapshotAck,
    SnapshotNack,
    WatchEdgeRequest,
    WatchEdgeResponse,
)
from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceStub
from signalbox.cancellation import cancelled

if TYPE_CHECKING:
    from signalbox.edge.applier import Applier
    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica
    from signalbox.edge.targets import Targets

logger = structlog.get_logger(__name__)

RETRY_S = 0.5
"""Longest pause before another replica is watched."""

MAX_REASON = 500

_WatchCall = grpc.aio.StreamStreamCall[WatchEdgeRequest, WatchEdgeResponse]


class _MoveError(Exception):
    """This stream is of no more use."""


class EdgeWatch:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(self, edge: Edge, pool: Pool, applier: Applier, targets: Targets) -> None:
        self._hello = WatchEdgeRequest(hello=EdgeHello(edge=edge))
        self._pool = pool
        self._applier = applier
        self._targets = targets
        # None stands for the targets as they are when it is their turn; it is in there once at most.
        self._reports: asyncio.Queue[WatchEdgeRequest | None] = asyncio.Queue()
        self._targets_due = False
        applier.on_report(self._report)
        targets.on_change(self._report_targets)
        self.watched = ""

    async def run(self) -> None:
        """Watch a replica until it goes, then the next."""
        avoid: Replica | None = None
        while True:
            avoid = replica = await self._pool.connected(avoid)
            try:
                await self._watch(replica)
            except* (grpc.aio.AioRpcError, asyncio.InvalidStateError, _MoveError) as group:
                logger.info("watch_moved", replica=replica.name, reason=str(group.exceptions[0]))
            finally:
                self.watched = ""
            await asyncio.sleep(random.uniform(0, RETRY_S))

    async def _watch(self, replica: Replica) -> None:
        if replica.channel is None:
            return
        call: _WatchCall = RoutingServiceStub(replica.channel).WatchEdge()
        self._reports = asyncio.Queue()
        self._reports.put_nowait(self._hello)
        self._targets_due = False
        self._report_targets()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(call), name="watch reports")
            tasks.create_task(self._read(call, replica), name="watch snapshots")

    async def _read(self, call: _WatchCall, replica: Replica) -> None:
        try:
            async for snapshot in call:
                if snapshot.version:
                    if not self._applier.submit(snapshot):
                        raise _MoveError("older snapshot")
                    self.watched = replica.name
                if snapshot.draining:
                    raise _MoveError("draining")
            raise _MoveError("stream ended")
        except asyncio.CancelledError as error:
            raise _told_apart(error) from error

    async def _write(self, call: _WatchCall) -> None:
        try:
            while True:
                report = await self._reports.get()
                if report is None:
                    self._targets_due = False
                    report = WatchEdgeRequest(targets=self._targets.seen())
                await call.write(report)
        except asyncio.CancelledError as error:
            raise _told_apart(error) from error

    def _report(self, version: str, reason: str) -> None:
        if reason:
            nack = SnapshotNack(version=version, reason=reason[:MAX_REASON])
            self._reports.put_nowait(WatchEdgeRequest(nack=nack))
        else:
            self._reports.put_nowait(WatchEdgeRequest(ack=SnapshotAck(version=version)))

    def _report_targets(self) -> None:
        if not self._targets_due:
            self._targets_due = True
            self._reports.put_nowait(None)


def _told_apart(error: asyncio.CancelledError) -> BaseException:
    """Our own cancellation as it is."""
    return error if cancelled() else _MoveError("channel closed")
