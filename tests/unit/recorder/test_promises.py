"""Promises are taken in, once they make sense, from whose they are."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox import rpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.certificates import Peer, Role
from signalbox.errors import DatabaseUnavailableError
from signalbox.recorder import facts as facts_rules
from signalbox.recorder.metrics import RecorderMetrics
from signalbox.recorder.promises import PromiseService
from support.captures_fake import facts
from support.provisioning import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

INVALID, DENIED, UNAVAILABLE = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAVAILABLE,
)


class Promised:
    """Of a catalog what takes promises."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.error: Exception | None = None

    async def promise(self, promises: Sequence[recording_pb2.Promise]) -> None:
        if self.error:
            raise self.error
        self.taken += [one.facts.call_id for one in promises]


def promise(call_id: str = "c1", proxy: str = "edge-1", **fields: Any) -> recording_pb2.Promise:
    return recording_pb2.Promise(proxy=proxy, sequence=1, facts=facts(call_id, **fields))


@asynccontextmanager
async def served(catalog: Promised, peer: Peer | None = None) -> AsyncIterator[tuple[Any, PromiseService]]:
    service = PromiseService(catalog, RecorderMetrics(CollectorRegistry()), certified=False)
    service._access.check = lambda *_: peer
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    recording_pb2_grpc.add_PromiseServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = recording_pb2_grpc.PromiseServiceStub(channel)

        async def report(*promises: recording_pb2.Promise) -> None:
            await stub.ReportPromises(recording_pb2.ReportPromisesRequest(promises=promises))

        yield report, service
    await server.stop(None)


async def test_a_recording_that_is_not_the_first_of_its_call_is_known_by_its_own_id() -> None:
    catalog = Promised()
    async with served(catalog) as (report, _):
        await report(promise("c1"), promise("c1", recording="c1.2"))
    assert catalog.taken == ["c1", "c1.2"]


async def test_promises_are_taken_in() -> None:
    catalog = Promised()
    async with served(catalog) as (report, _):
        await report()
        await report(promise("c1"), promise("c2"))
    assert catalog.taken == ["c1", "c2"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (promise(proxy=""), "promises[1].proxy"),
        (promise(proxy="Edge 1"), "promises[1].proxy"),
        (promise(""), "promises[1].facts.call_id"),
        (promise("c" * 257), "promises[1].facts.call_id"),
        (promise("c\n1"), "promises[1].facts.call_id"),
        (promise(tenant=""), "promises[1].facts.tenant"),
        (promise(tenant="../acme"), "promises[1].facts.tenant"),
        (promise(number="+86"), "promises[1].facts.number"),
        (promise(line=""), "promises[1].facts.line"),
        (promise(caller="\0"), "promises[1].facts.caller"),
        (promise(node=0), "promises[1].facts.media_node"),
        (promise(node=65_536), "promises[1].facts.media_node"),
        (recording_pb2.Promise(proxy="edge-1", sequence=2**63, facts=facts("c1")), "promises[1].sequence"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_field(wrong: recording_pb2.Promise, field: str) -> None:
    catalog = Promised()
    async with served(catalog) as (report, _):
        with refused(INVALID, "INVALID_FIELD") as refusal:
            await report(promise(), wrong)
    assert field in refusal.fields
    assert catalog.taken == []


async def test_a_time_is_needed() -> None:
    async with served(Promised()) as (report, _):
        for seconds in (None, -1, 10**12, round(time.time()) + 2 * facts_rules.AHEAD_S):
            wrong = promise()
            wrong.facts.ClearField("answer_time")
            if seconds is not None:
                wrong.facts.answer_time.seconds = seconds
            with refused(INVALID, "INVALID_FIELD") as refusal:
                await report(wrong)
            assert "promises[0].facts.answer_time" in refusal.fields


async def test_too_many_at_once_are_refused() -> None:
    async with served(Promised()) as (report, _):
        with refused(INVALID, "INVALID_FIELD"):
            await report(*[promise()] * 1025)


@pytest.mark.parametrize("role", [Role.EDGE, Role.IVR])
async def test_an_edge_or_a_worker_promises_for_itself_alone(role: Role) -> None:
    catalog = Promised()
    async with served(catalog, Peer(role, "edge-1")) as (report, _):
        await report(promise("c1"))
        with refused(DENIED, "PERMISSION_REFUSED"):
            await report(promise("c2"), promise("c3", proxy="edge-2"))
    async with served(catalog, Peer(Role.OPERATOR)) as (report, _):
        await report(promise("c4", proxy="edge-2"))
    assert catalog.taken == ["c1", "c4"]


async def test_promises_wait_at_the_edge_while_the_database_is_away_or_the_recorder_stops() -> None:
    catalog = Promised()
    catalog.error = DatabaseUnavailableError("away")
    async with served(catalog) as (report, service):
        with refused(UNAVAILABLE, "DATABASE_UNAVAILABLE"):
            await report(promise())
        service.draining = True
        with refused(UNAVAILABLE, "DRAINING"):
            await report(promise())
