"""Who records, as media nodes say it in a real etcd, and what becomes of calls that nobody can record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore
from support import routing
from support.counters import make
from support.etcd import EtcdServer, own_etcd
from support.redis import RedisServer, redis_server
from support.routing import NUMBER, Running, call, put, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

__all__ = ["own_etcd", "redis_server"]

RECORD, ANCHOR = types_pb2.MEDIA_MODE_RECORD, types_pb2.MEDIA_MODE_ANCHOR
NONE = types_pb2.MEDIA_MODE_UNSPECIFIED
MOST_CALLS = 2
TIMEOUT_S = 10.0


@pytest.fixture
async def rules(own_etcd: EtcdServer) -> AsyncIterator[PagedStore]:
    """A recorded number that takes two calls, and two media nodes of which the second records."""
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[own_etcd.endpoint])))
    recorded = routing.number(media=RECORD, limits=types_pb2.Limits(concurrent_calls=MOST_CALLS))
    await put(store, tenant(), routing.trunk(), routing.line(), recorded, routing.node(1), recording(True))
    await put(store, routing.edge())
    yield store
    await store.close()


@pytest.fixture
async def service(rules: PagedStore, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Running]:
    counters = make(redis_server)
    async with running(rules, tmp_path, counters=counters) as made:
        yield made
    await counters.close()


def tenant(
    unrecordable: types_pb2.Unrecordable.ValueType = types_pb2.UNRECORDABLE_UNSPECIFIED,
) -> types_pb2.Tenant:
    return types_pb2.Tenant(id="acme", recording=types_pb2.RecordingPolicy(unrecordable=unrecordable))


def recording(records: bool) -> routing_pb2.MediaNode:
    return routing.node(2, records=records, captures_address="192.0.2.2:7440" if records else "")


async def decided(service: Running, call_id: str) -> routing_pb2.DecideResponse:
    return await service.stub.Decide(call(call_id=call_id))


async def ended(service: Running, *call_ids: str) -> None:
    reports = [routing_pb2.CallReport(call_id=id, ended=True) for id in call_ids]
    await service.stub.ReportCalls(routing_pb2.ReportCallsRequest(reports=reports))


async def snapshot_version(service: Running) -> str:
    """What an edge is told of media nodes is in it."""
    stream = service.stub.WatchEdge()
    await stream.write(routing_pb2.WatchEdgeRequest(hello=routing_pb2.EdgeHello(edge=routing.edge())))
    response = await stream.read()
    stream.cancel()
    return response.version


async def unrecordable(service: Running) -> dict[str, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{service.worker.metrics_port}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    name = "signalbox_routing_unrecordable_calls_total"
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith(name)}


async def test_calls_are_recorded_where_a_node_records_and_obey_their_tenant_where_none_does(
    rules: PagedStore, service: Running
) -> None:
    first = await decided(service, "c1")
    assert (first.decision.dial.media, first.media.node, first.media.spare) == (RECORD, 2, 1)
    assert [stage.record for stage in first.decision.dial.stages] == [True]
    version = await snapshot_version(service)

    await put(rules, recording(False))
    await eventually(lambda: comes_to(service, "c1", "dial", ANCHOR))
    again = await decided(service, "c1")
    assert not again.decision.caller_independent
    assert await unrecordable(service) == {"goes_on": 2, "refused": 0}
    # Nothing of it is news to an edge.
    assert await snapshot_version(service) == version
    await ended(service, "c1")

    await put(rules, tenant(types_pb2.UNRECORDABLE_CALL_IS_REFUSED))
    await eventually(lambda: comes_to(service, "c2", "recording_unavailable"))
    await ended(service, "c2")  # It may have gone on before the tenant's change was in force.
    for n in range(MOST_CALLS * 2):
        decision = (await decided(service, f"refused-{n}")).decision
        assert (decision.why, decision.reject.code, decision.number) == ("recording_unavailable", 503, NUMBER)
        # What it took is given back soon, not before the answer.
        await eventually(lambda: no_calls(service))
    assert (await unrecordable(service))["refused"] == MOST_CALLS * 2 + 1

    await put(rules, recording(True))
    await eventually(lambda: comes_to(service, "c3", "dial", RECORD))
    assert await comes_to(service, "c4", "dial", RECORD)
    assert await comes_to(service, "one too many", "limit_number")


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so. Raises TimeoutError."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110, a service is asked
            await asyncio.sleep(0.005)


async def comes_to(service: Running, call_id: str, why: str, media: types_pb2.MediaMode.ValueType = NONE) -> bool:
    decision = (await decided(service, call_id)).decision
    return (decision.why, decision.dial.media) == (why, media)


async def no_calls(service: Running) -> bool:
    explained = await service.stub.Explain(routing_pb2.ExplainRequest(request=call()))
    (count,) = [step.finding for step in explained.steps if step.rule == "limit"]
    return count.startswith(f"number/{NUMBER}: 0 of ")
