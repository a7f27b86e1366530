"""Limits through the routing service: two replicas, one redis, questions, reports, and redis away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from signalbox.api.routing.v1.routing_pb2 import CallReport, DecideResponse, ReportCallsRequest
from signalbox.api.types.v1 import types_pb2
from signalbox.store.memory import MemoryStore
from support import routing
from support.counters import make
from support.redis import RedisServer, redis_server
from support.routing import NUMBER, Running, call, put, questions, running
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(progress_interval_s=0.05)
    limited = routing.number(limits=types_pb2.Limits(concurrent_calls=2))
    line = routing.line(concurrent_calls=5)
    await put(store, types_pb2.Tenant(id="acme"), routing.trunk(), line, limited, routing.node(1))
    yield store
    await store.close()


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[list[RedisCounters]]:
    made = [make(redis_server, timeout_ms=300) for _ in range(2)]
    yield made
    for one in made:
        await one.close()


@pytest.fixture
async def replicas(
    store: MemoryStore, tmp_path: Path, counters: list[RedisCounters]
) -> AsyncIterator[tuple[Running, Running]]:
    one, two = counters
    async with (
        running(store, tmp_path / "1", counters=one) as first,
        running(store, tmp_path / "2", counters=two) as second,
    ):
        yield first, second


async def decided(replica: Running, call_id: str) -> DecideResponse:
    return await replica.stub.Decide(call(call_id=call_id))


async def ended(replica: Running, *call_ids: str) -> None:
    reports = [CallReport(call_id=call_id, ended=True) for call_id in call_ids]
    await replica.stub.ReportCalls(ReportCallsRequest(reports=reports))


async def test_a_limit_holds_over_both_and_an_end_frees(replicas: tuple[Running, Running]) -> None:
    one, two = replicas
    whys = [(await decided(replica, id)).decision.why for replica, id in ((one, "1"), (two, "2"), (one, "3"))]
    assert whys[:2] == ["dial", "dial"]
    assert whys[2].startswith("limit")
    # Asked again elsewhere, as a hedge does, each hears the same.
    assert [(await decided(two, id)).decision.why for id in "123"] == whys
    await ended(two, "1")
    await ended(one, "1")
    assert (await decided(one, "4")).decision.why == "dial"
    assert (await decided(two, "5")).decision.why == whys[2]


async def test_one_message_of_questions_counts_each(replicas: tuple[Running, Running]) -> None:
    stream = replicas[0].stub.DecideStream()
    await stream.write(questions(*(call(call_id=f"c{n}") for n in range(6))))
    answers = (await stream.read()).answers
    assert sorted(answer.decision.dial.ByteSize() > 0 for answer in answers) == [False] * 4 + [True] * 2
    await stream.done_writing()


async def test_who_reports_nonsense_is_told(replicas: tuple[Running, Running]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await replicas[0].stub.ReportCalls(ReportCallsRequest(reports=[CallReport(ended=True)]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "reports[0].call_id" in str(caught.value.details())


async def test_redis_away_and_back(
    replicas: tuple[Running, Running], redis_server: RedisServer, counters: list[RedisCounters]
) -> None:
    one, two = replicas
    redis_server.pause()
    for n in range(4):
        assert (await decided(one, f"c{n}")).decision.why == "dial"
    assert one.facts["counts_available"] is False
    assert one.facts["ready"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ended(one, "c0")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    redis_server.resume()
    await until(lambda: counters[0].available)
    # Four calls live where two may: no more before three of them have ended.
    assert (await decided(two, "x")).decision.why.startswith("limit")
    await ended(two, "c0", "c1", "c2")
    assert (await decided(one, "y")).decision.why == "dial"


async def test_what_is_counted_can_be_watched(replicas: tuple[Running, Running]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{replicas[0].worker.metrics_port}/metrics") as response,
    ):
        names = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {f"signalbox_routing_counts_{name}" for name in ("available", "uncounted", "recovered", "given_up")} <= names


async def test_the_number_dialled_is_the_one_that_counts(replicas: tuple[Running, Running], store: MemoryStore) -> None:
    other = routing.number("4007654321", limits=types_pb2.Limits(concurrent_calls=2))
    await put(store, other)
    await until(lambda: replicas[0].facts["numbers"] == 2)
    for n, called in enumerate((NUMBER, NUMBER, "4007654321", "4007654321")):
        response = await replicas[0].stub.Decide(call(called, call_id=f"n{n}"))
        assert response.decision.why == "dial"
