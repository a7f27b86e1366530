"""The routing service over gRPC, in this process, over a store in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.routing import edges
from signalbox.store import keys
from signalbox.store.base import Put
from support import routing
from support.routing import call, delete, put, questions, running
from support.routing_watch import hello, read, read_until
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore


def ack(version: str) -> routing_pb2.WatchEdgeRequest:
    return routing_pb2.WatchEdgeRequest(ack=routing_pb2.SnapshotAck(version=version))


def sees(*dead: str) -> routing_pb2.WatchEdgeRequest:
    return routing_pb2.WatchEdgeRequest(targets=routing.targets("", *dead))


async def test_a_call_is_decided_and_explained(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        response = await service.stub.Decide(call())
        assert response.decision.dial.stages[0].branches[0].line == "a"
        assert {response.media.node, response.media.spare} == {1, 2}
        assert response.rule_revision >= await store.revision()
        explained = await service.stub.Explain(routing_pb2.ExplainRequest(request=call()))
        assert explained.decision == response.decision
        assert explained.steps[-1].decisive
        assert explained.rule_age.ToSeconds() < 60


async def test_invalid_requests_are_refused_with_the_field(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        for asked in (
            service.stub.Decide(call(call_id="")),
            service.stub.Explain(routing_pb2.ExplainRequest(request=call(""))),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await asked
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_answers_message_by_message_with_the_rules_of_the_moment(
    store: MemoryStore, tmp_path: Path
) -> None:
    async with running(store, tmp_path) as service:
        stream = service.stub.DecideStream()
        await stream.write(questions(call(), call("110"), call(call_id=""), first_id=5))
        response = await stream.read()
        assert [(a.id, a.decision.why, a.error) for a in response.answers] == [
            (5, "dial", 0),
            (6, "number_unknown", 0),
            (7, "", types_pb2.INVALID_FIELD),
        ]
        assert not response.draining
        revision = await delete(store, routing.line())
        await until(lambda: service.facts["rule_revision"] >= revision)
        await stream.write(questions(call()))
        response = await stream.read()
        assert [a.decision.why for a in response.answers] == ["no_line"]
        assert response.rule_revision >= revision
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_a_damaged_rule_does_not_stop_the_others(store: MemoryStore, tmp_path: Path) -> None:
    await store.commit([], [Put(keys.number("4007654321"), b"\xff"), Put(keys.live_media("m9"), b"\xff")])
    async with running(store, tmp_path) as service:
        assert await service.why() == "dial"
        assert service.facts["damaged_values"] == [keys.live_media("m9"), keys.number("4007654321")]
        await put(store, routing.number("4007654321"))
        await delete(store, routing.node(9))
        await until(lambda: service.facts["damaged_values"] == [])
        assert await service.why(call("4007654321")) == "dial"


async def test_an_edge_gets_everything_and_then_every_change(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        watch = service.stub.WatchEdge()
        await watch.write(hello())
        first = await read_until(watch, lambda r: r.peers)
        assert [t.id for t in first.trunks] == ["carrier"]
        assert [n.number for n in first.media_nodes] == [1, 2]
        assert list(first.peers) == [routing.edge()]
        await put(store, routing.trunk("other", "192.0.2.2"))
        second = await read(watch)
        assert [t.id for t in second.trunks] == ["carrier", "other"]
        assert second.version != first.version
        await delete(store, routing.node(1))
        third = await read(watch)
        assert [n.number for n in third.media_nodes] == [2]


async def test_acknowledged_and_refused_snapshots_are_known(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        watch = service.stub.WatchEdge()
        await watch.write(hello())
        first = await read_until(watch, lambda r: r.peers)
        await watch.write(ack(first.version))
        await until(lambda: service.facts["edges"] == {"edge-1": first.version})
        refused = routing_pb2.SnapshotNack(version="x", reason="no disk")
        await watch.write(routing_pb2.WatchEdgeRequest(nack=refused))
        await until(lambda: service.worker.stats.snapshots_refused == 1)
        assert service.facts["edges"] == {"edge-1": first.version}
        await watch.done_writing()
        assert await read_until(watch, lambda r: r is grpc.aio.EOF) is grpc.aio.EOF
        assert service.facts["edges"] == {}


@pytest.mark.parametrize(
    "messages",
    [
        [ack("x")],
        [hello(routing.edge("Not an id"))],
        [hello(), hello()],
        [routing_pb2.WatchEdgeRequest()],
        [sees()],
        [hello(), sees("carrier.example")],
    ],
)
async def test_an_edge_that_breaks_the_protocol_is_refused(
    store: MemoryStore, tmp_path: Path, messages: list[routing_pb2.WatchEdgeRequest]
) -> None:
    async with running(store, tmp_path) as service:
        watch = service.stub.WatchEdge(iter(messages))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await read_until(watch, lambda r: r is grpc.aio.EOF)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_edge_that_breaks_off_is_forgotten_and_stays_registered(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        watch = service.stub.WatchEdge()
        await watch.write(hello())
        await read_until(watch, lambda r: r.peers)
        watch.cancel()
        await until(lambda: service.facts["edges"] == {})
        assert await store.get(keys.live_edge("edge-1"))


async def test_an_edge_that_moves_to_another_replica_never_vanishes(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges, "CHECK_INTERVAL_S", 0.01)
    async with running(store, tmp_path / "1") as one, running(store, tmp_path / "2") as other:
        observer = other.stub.WatchEdge()
        await observer.write(hello(routing.edge("observer")))
        first = one.stub.WatchEdge()
        await first.write(hello())
        seen = await read_until(observer, lambda r: {p.id for p in r.peers} == {"edge-1", "observer"})
        same = await read_until(first, lambda r: {p.id for p in r.peers} == {"edge-1", "observer"})
        assert same.version == seen.version
        first_lease = store._lease_of[keys.live_edge("edge-1")]
        first.cancel()
        await until(lambda: one.facts["edges"] == {})
        second = other.stub.WatchEdge()
        await second.write(hello())
        await until(lambda: store._lease_of[keys.live_edge("edge-1")] != first_lease)
        store.expire_lease(first_lease)
        await put(store, routing.trunk("other", "192.0.2.2"))
        last = await read_until(observer, lambda r: len(r.trunks) == 2)
        assert {p.id for p in last.peers} == {"edge-1", "observer"}


async def test_calls_of_an_edge_pass_over_the_targets_that_are_dead_to_it(store: MemoryStore, tmp_path: Path) -> None:
    targets = [types_pb2.TrunkTarget(host=f"192.0.2.{n}") for n in (1, 2)]
    group = types_pb2.TrunkGroup(id="all", prefixes=[""], members=[types_pb2.TrunkGroupMember(trunk="out")])
    out = types_pb2.Trunk(id="out", targets=targets)
    await routing.put(store, routing.trunk(), out, group, routing.line(host=""), routing.number())
    async with (
        routing.running(store, tmp_path / "one") as one,
        routing.running(store, tmp_path / "two") as other,
    ):
        watch = one.stub.WatchEdge()
        await watch.write(hello(routing.edge("edge-1")))
        await read(watch)

        async def tried(edge: str, service: routing.Running) -> list[str]:
            response = await service.stub.Decide(routing.call(edge=edge))
            return [stage.branches[0].destination.split(":")[1] for stage in response.decision.dial.stages]

        for dead, left in (
            (["192.0.2.1"], ["192.0.2.2"]),
            (["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]),
            (["192.0.2.2"], ["192.0.2.1"]),
            ([], ["192.0.2.1", "192.0.2.2"]),
        ):
            await watch.write(sees(*dead))
            for service in (one, other):
                async with asyncio.timeout(5):
                    while await tried("edge-1", service) != left:  # noqa: ASYNC110, only asking tells
                        await asyncio.sleep(0.01)
                assert await tried("edge-2", service) == ["192.0.2.1", "192.0.2.2"]
        watch.cancel()


async def test_two_replicas_give_a_call_the_same_decision_and_nodes(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path / "1") as one, running(store, tmp_path / "2") as other:
        for n in range(20):
            asked = call(call_id=f"edge-1-65f0a1-{n}-7")
            answers = [await service.stub.Decide(asked) for service in (one, other)]
            assert answers[0].decision == answers[1].decision
            assert answers[0].media == answers[1].media
