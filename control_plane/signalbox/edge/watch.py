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

if TYPE_CHECKING:
    from signalbox.edge.applier import Applier
    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica

logger = structlog.get_logger(__name__)

RETRY_S = 0.5
"""Longest pause before another replica is watched."""

MAX_REASON = 500

_WatchCall = grpc.aio.StreamStreamCall[WatchEdgeRequest, WatchEdgeResponse]


class _MoveError(Exception):
    """This stream is of no more use."""


class EdgeWatch:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(self, edge: Edge, pool: Pool, applier: Applier) -> None:
        self._hello = WatchEdgeRequest(hello=EdgeHello(edge=edge))
        self._pool = pool
        self._applier = applier
        self._reports: asyncio.Queue[WatchEdgeRequest] = asyncio.Queue()
        applier.on_report(self._report)
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
                await call.write(await self._reports.get())
        except asyncio.CancelledError as error:
            raise _told_apart(error) from error

    def _report(self, version: str, reason: str) -> None:
        if reason:
            nack = SnapshotNack(version=version, reason=reason[:MAX_REASON])
            self._reports.put_nowait(WatchEdgeRequest(nack=nack))
        else:
            self._reports.put_nowait(WatchEdgeRequest(ack=SnapshotAck(version=version)))


def _told_apart(error: asyncio.CancelledError) -> BaseException:
    """grpc.aio raises CancelledError too when a channel is closed under a call: that is no cancellation of ours."""
    task = asyncio.current_task()
    return error if task is not None and task.cancelling() else _MoveError("channel closed")
