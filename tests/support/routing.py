"""The routing service for tests: rules to put into a store, a worker in this process, and questions."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.process import Supervisor
from signalbox.routing.worker import Role, Worker
from signalbox.settings import RoutingSettings
from signalbox.store import codec
from signalbox.store.base import Delete, Entry, Listing, Put

from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable
    from pathlib import Path

    from signalbox.routing.counters import RedisCounters
    from signalbox.store.base import Store

NUMBER = "4001234567"
T = TypeVar("T")


def trunk(id: str = "carrier", *sources: str, **fields: Any) -> types_pb2.Trunk:
    """A trunk, with an address if none is given."""
    return types_pb2.Trunk(id=id, source_addresses=sources or ("192.0.2.1",), **fields)


def line(id: str = "a", **fields: Any) -> types_pb2.Line:
    """A line of tenant acme."""
    return types_pb2.Line(**{"tenant": "acme", "id": id, "user": "13900001111", "host": "192.0.2.7", **fields})


def number(digits: str = NUMBER, *stages: Iterable[str], **fields: Any) -> types_pb2.Number:
    """A number of tenant acme that dials line a, unless stages (line ids each) are given."""
    plan = [types_pb2.DialStage(lines=lines) for lines in stages or (("a",),)]
    return types_pb2.Number(**{"number": digits, "tenant": "acme", "stages": plan, **fields})


def dial_node(id: str, *lines: str, **fields: Any) -> flows_pb2.FlowNode:
    """A node that rings lines."""
    dial = flows_pb2.DialNode(lines=[flows_pb2.DialLine(line=line) for line in lines], **fields)
    return flows_pb2.FlowNode(id=id, dial=dial)


def flow(id: str, *nodes: flows_pb2.FlowNode, number: int = 1) -> flows_pb2.Flow:
    """A flow of tenant acme, in force from the beginning of time; its entry is the first node."""
    graph = flows_pb2.FlowGraph(entry=nodes[0].id, nodes=nodes)
    return flows_pb2.Flow(tenant="acme", id=id, revisions=[flows_pb2.FlowRevision(number=number, graph=graph)])


def node(number: int, **fields: Any) -> routing_pb2.MediaNode:
    """A media node that takes calls."""
    address = f"udp:192.0.2.{number}:2223"
    given = {"id": f"m{number}", "number": number, "control_address": address, "capacity": 100, "healthy": True}
    return routing_pb2.MediaNode(**{**given, **fields})


def voice(number: int, **fields: Any) -> routing_pb2.VoiceWorker:
    """A worker with voice that takes calls."""
    given = {"id": f"ivr-{number}", "sip_address": f"192.0.2.{number}:5070", "capacity": 9}
    return routing_pb2.VoiceWorker(**{**given, **fields})


def edge(id: str = "edge-1", *addresses: str) -> routing_pb2.Edge:
    """A proxy, with an address if none is given."""
    return routing_pb2.Edge(id=id, advertised_addresses=addresses or ("192.0.2.100:5060",))


def targets(edge: str, *dead: str) -> routing_pb2.EdgeTargets:
    """What a proxy sees: hosts of dead targets, on the default port."""
    found = routing_pb2.EdgeTargets(edge=edge)
    for host in dead:
        found.dead.add(code=408).target.host = host
    return found


def entry(message: codec.Object, revision: int = 1) -> Entry:
    """An object as the store has it."""
    return Entry(codec.key_of(message), codec.encode(message), revision, revision)


def listing(*messages: codec.Object, revision: int = 1) -> Listing:
    """Objects as the store lists them."""
    return Listing(sorted((entry(m, revision) for m in messages), key=lambda e: e.key), revision)


def at_once(coroutine: Coroutine[Any, None, T]) -> T:
    """Run to its end what only lets others have their turn, with nobody else there."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


async def put(store: Store, *messages: codec.Object) -> int:
    """Write objects as the provisioning service does; returns the revision."""
    return await store.commit([], [Put(codec.key_of(m), codec.encode(m)) for m in messages])


async def delete(store: Store, *messages: codec.Object) -> int:
    """Delete objects; returns the revision."""
    return await store.commit([], [Delete(codec.key_of(m)) for m in messages])


def call(called: str = NUMBER, **fields: Any) -> routing_pb2.DecideRequest:
    """A call to a number, complete and valid."""
    given = {"call_id": "edge-1-65f0a1-1-2", "trunk": "carrier", "called": called, "calling": "13800001234"}
    return routing_pb2.DecideRequest(**{**given, **fields})


def questions(*calls: routing_pb2.DecideRequest, first_id: int = 1) -> routing_pb2.DecideStreamRequest:
    """One message of questions, with ids in sequence."""
    return routing_pb2.DecideStreamRequest(
        questions=[routing_pb2.Question(id=id, request=request) for id, request in enumerate(calls, first_id)]
    )


@dataclass
class Running:
    """A worker that serves in this process."""

    worker: Worker
    supervisor: Supervisor
    channel: grpc.aio.Channel
    stub: routing_pb2_grpc.RoutingServiceAsyncStub

    @property
    def facts(self) -> dict[str, Any]:
        """What /readyz tells."""
        ready, facts = self.worker.readiness()
        return {"ready": ready, **facts}

    async def why(self, request: routing_pb2.DecideRequest | None = None) -> str:
        """What decides a call now."""
        return (await self.stub.Decide(request or call())).decision.why


@asynccontextmanager
async def running(
    store: Store,
    directory: Path,
    role: Role | None = None,
    *,
    ready: bool = True,
    counters: RedisCounters | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A worker over the store, once it is ready (``ready=False``: once it listens). Stopped gracefully at the end."""
    given = {"listen": "127.0.0.1:0", "snapshot_file": directory / "rules.snapshot", "drain_s": 0.2, **settings}
    worker, supervisor = Worker(RoutingSettings(**given), store, role or Role(), counters), Supervisor()
    served = asyncio.create_task(worker.run(supervisor))
    try:
        await until(lambda: bool(worker.metrics_port) or served.done())
        if ready:
            await until(lambda: worker.readiness()[0] or served.done())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{worker.port}") as channel:
            yield Running(worker, supervisor, channel, routing_pb2_grpc.RoutingServiceStub(channel))
    finally:
        supervisor.stopping.set()
        await served
        await supervisor.cancel()
        assert not supervisor.failed
