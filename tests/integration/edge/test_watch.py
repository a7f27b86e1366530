"""WatchEdge from end to end: hello, acknowledged, refused, another replica when one goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge import applier
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest
    from support.kamailio_fake import KamailioFake
    from support.routing_fake import RoutingFake

    from tests.integration.edge.conftest import Edge

    Start = Callable[..., Awaitable[Edge]]


def snapshot(version: str, **changes: object) -> pb.WatchEdgeResponse:
    values: dict[str, object] = {"trunks": [pb.EdgeTrunk(id="carrier-a", source_addresses=["192.0.2.9"])]}
    return pb.WatchEdgeResponse(version=version, **(values | changes))  # type: ignore[arg-type]


def watched(edge: Edge, replicas: list[RoutingFake]) -> tuple[RoutingFake, RoutingFake]:
    """The replica that is watched, and the other."""
    first, second = replicas
    return (first, second) if edge.sidecar.watch.watched == first.address else (second, first)


async def test_hello_then_an_ack_of_each_snapshot(
    start_edge: Start, replicas: list[RoutingFake], kamailio: KamailioFake
) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    one, other = watched(edge, replicas)
    assert other.hellos == []
    (hello,) = one.hellos
    assert (hello.id, list(hello.advertised_addresses)) == ("edge-1", ["127.0.0.1:5060"])
    one.push(snapshot("v2", trunks=[]))
    await until(lambda: one.acks == ["v1", "v2"])
    assert kamailio.table("address") == []


async def test_a_refused_snapshot_is_told_with_the_reason(start_edge: Start, replicas: list[RoutingFake]) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    one, _ = watched(edge, replicas)
    one.push(snapshot("v2", media_nodes=[pb.MediaNode(number=0)]))
    await until(lambda: len(one.nacks) == 1)
    assert one.nacks[0].version == "v2"
    assert "media_nodes[0].number" in one.nacks[0].reason
    assert edge.sidecar.applier.version == "v1"


async def test_when_the_watched_replica_dies_the_other_is_watched(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    one, other = watched(edge, replicas)
    await one.stop()
    await until(lambda: edge.sidecar.watch.watched == other.address)
    other.push(snapshot("v2"))
    await until(lambda: other.acks == ["v1", "v2"])


async def test_a_draining_replica_is_left(start_edge: Start, replicas: list[RoutingFake]) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    one, other = watched(edge, replicas)
    one.push(snapshot("v1", draining=True))
    await until(lambda: edge.sidecar.watch.watched == other.address)
    await until(lambda: other.acks == ["v1"])


async def test_a_replica_that_is_behind_is_not_believed_and_another_is_watched(
    start_edge: Start, replicas: list[RoutingFake], kamailio: KamailioFake
) -> None:
    for fake in replicas:
        fake.push(snapshot("v2", revision=20))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    one, other = watched(edge, replicas)
    other.push(snapshot("v1", revision=19, trunks=[]))
    one.push(snapshot("v2", revision=20, draining=True))
    await until(lambda: len(other.hellos) == 1)
    one.push(snapshot("v2", revision=20))
    await until(lambda: edge.sidecar.watch.watched == one.address)
    assert (other.acks, edge.sidecar.applier.version) == ([], "v2")
    assert len(kamailio.table("address")) == 1
    one.push(snapshot("v3", revision=20))
    await until(lambda: one.acks[-1] == "v3")


async def test_when_all_are_behind_for_long_the_store_was_restored_and_they_are_believed(
    start_edge: Start, replicas: list[RoutingFake], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier, "OLDER_PATIENCE_S", 0.5)
    for fake in replicas:
        fake.push(snapshot("v2", revision=20))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    for fake in replicas:
        fake.push(snapshot("v1", revision=3))
    await until(lambda: edge.sidecar.applier.version == "v1")
    assert sum(len(fake.hellos) for fake in replicas) >= 2


async def test_with_no_replica_left_the_proxy_keeps_what_it_had_also_over_its_restart(
    start_edge: Start, replicas: list[RoutingFake], kamailio: KamailioFake
) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: edge.sidecar.applier.in_step)
    for fake in replicas:
        await fake.stop()
    await edge.ready(0)
    kamailio.stop()
    kamailio.start()
    await until(lambda: kamailio.htables["cfg"] == {"version": "v1"})
    ready, facts = edge.sidecar.readiness()
    assert not ready
    assert facts["in_step"]


async def test_changes_of_targets_wait_as_one_while_nobody_is_watched(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    for fake in replicas:
        fake.push(snapshot("v1"))
    edge = await start_edge()
    await until(lambda: bool(edge.sidecar.watch.watched))
    one, other = watched(edge, replicas)
    await until(lambda: one.targets == [[]])
    await one.stop()
    await other.stop()
    await until(lambda: not edge.sidecar.watch.watched)
    for _ in range(5):
        edge.sidecar.watch._report_targets()
    assert edge.sidecar.watch._reports.qsize() <= 2, "hello at most, and the targets"
    await other.start()
    await until(lambda: other.targets == [[]])
