"""What an edge tells a replica and reads of it."""

from __future__ import annotations

import asyncio

from signalbox.api.routing.v1 import routing_pb2

from support import routing

TIMEOUT_S = 10.0


def hello(edge: routing_pb2.Edge | None = None) -> routing_pb2.WatchEdgeRequest:
    return routing_pb2.WatchEdgeRequest(hello=routing_pb2.EdgeHello(edge=edge or routing.edge()))


async def read(call: object) -> routing_pb2.WatchEdgeResponse:
    return await asyncio.wait_for(call.read(), TIMEOUT_S)  # type: ignore[attr-defined]


async def read_until(call: object, condition: object) -> routing_pb2.WatchEdgeResponse:
    """Snapshots until one fulfils the condition."""
    while not condition(response := await read(call)):  # type: ignore[operator]
        pass
    return response
