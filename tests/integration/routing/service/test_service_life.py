"""Replicas that start, lose the store, keep snapshots, and stop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from signalbox.routing import keeper, replica
from signalbox.routing.worker import Role
from support import routing
from support.routing import Running, call, put, questions, running
from support.routing_watch import TIMEOUT_S, hello, read, read_until
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore


async def test_a_replica_without_rules_is_not_ready_and_says_so(store: MemoryStore, tmp_path: Path) -> None:
    store.available = False
    async with running(store, tmp_path, ready=False) as service:
        assert service.facts["source"] == "none"
        assert not service.facts["ready"]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.why()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        store.available = True
        await until(lambda: service.facts["ready"])
        assert await service.why() == "dial"


async def test_a_replica_starts_from_its_snapshot_while_the_store_is_away(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "SNAPSHOT_AFTER_S", 0.05)
    async with running(store, tmp_path) as service:
        watch = service.stub.WatchEdge()
        await watch.write(hello())
        version = (await read_until(watch, lambda r: r.peers)).version
        await until(lambda: (tmp_path / "rules.snapshot").exists())
    store.available = False
    async with running(store, tmp_path, snapshot_interval_s=0.01) as service:
        assert service.facts["source"] == "snapshot"
        assert not service.facts["store_available"]
        assert service.facts["rule_revision"] > 0
        assert (await service.stub.Decide(call())).media.node
        watch = service.stub.WatchEdge()
        await watch.write(hello())
        assert len((await read(watch)).media_nodes) == 2
        store.available = True
        await until(lambda: service.facts["source"] == "etcd")
        assert (await read_until(watch, lambda r: r.version == version)).version == version


async def test_what_edges_saw_of_targets_is_not_believed_from_a_snapshot(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "SNAPSHOT_AFTER_S", 0.05)
    await routing.put(store, routing.targets("edge-1", "192.0.2.1"))
    async with running(store, tmp_path) as service:
        await until(lambda: bool(service.worker._book.dead))
        await until(lambda: (tmp_path / "rules.snapshot").exists())
    store.available = False
    async with running(store, tmp_path) as service:
        assert service.facts["source"] == "snapshot"
        assert service.worker._book.dead == {}
        store.available = True
        await until(lambda: bool(service.worker._book.dead))


async def test_a_store_that_goes_away_stops_no_call_and_ages_the_rules(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path, stale_after_s=0.2) as service:
        store.available = False
        await until(lambda: not service.facts["store_available"])
        await until(lambda: not service.facts["ready"])
        assert service.facts["rule_age_s"] >= 0.2
        assert await service.why() == "dial"
        stub = health_pb2_grpc.HealthStub(service.channel)
        # Others are better, if there are any; who finds none asks this one.
        whole = stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)
        while (await whole.read()).status == health_pb2.HealthCheckResponse.SERVING:
            pass
        whole.cancel()
        by_name = health_pb2.HealthCheckRequest(service="signalbox.api.routing.v1.RoutingService")
        assert (await stub.Check(by_name)).status == health_pb2.HealthCheckResponse.SERVING
        store.available = True
        await until(lambda: service.facts["ready"])


async def test_the_snapshot_follows_the_rules_and_tells_its_age(store: MemoryStore, tmp_path: Path) -> None:
    file = tmp_path / "rules.snapshot"
    async with running(store, tmp_path, snapshot_interval_s=0.01) as service:
        await until(file.exists)
        size, written = file.stat().st_size, file.stat().st_mtime_ns
        await until(lambda: file.stat().st_mtime_ns > written)
        await put(store, routing.trunk("other", "192.0.2.99"))
        await until(lambda: file.stat().st_size > size)
        file.unlink()
        await until(file.exists)
        assert service.worker.gauges()["snapshot_age_seconds"] < 60


async def test_only_the_first_worker_writes_the_snapshot(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALONE_WITHOUT_S", 0.1)
    async with (
        running(store, tmp_path / "1", Role(index=1), snapshot_interval_s=0.01),
        running(store, tmp_path / "0", Role(index=0), snapshot_interval_s=0.01),
    ):
        await until((tmp_path / "0" / "rules.snapshot").exists)
        assert not (tmp_path / "1" / "rules.snapshot").exists()


async def test_a_snapshot_that_cannot_be_written_stops_nothing(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    async with running(store, tmp_path, snapshot_file=tmp_path / "file" / "x", snapshot_interval_s=0.01) as service:
        assert await service.why() == "dial"
        (tmp_path / "file").unlink()
        await until((tmp_path / "file" / "x").exists)


async def test_a_stopping_replica_answers_what_it_took_and_sends_the_streams_elsewhere(
    store: MemoryStore, tmp_path: Path
) -> None:
    async with running(store, tmp_path, drain_s=TIMEOUT_S) as service:
        stream, watch = service.stub.DecideStream(), service.stub.WatchEdge()
        await stream.write(questions(call()))
        await stream.read()
        await watch.write(hello())
        await read_until(watch, lambda r: r.peers)
        service.supervisor.stopping.set()
        assert (await stream.read()).draining
        assert (await read_until(watch, lambda r: r.draining)).draining
        await stream.write(questions(call()))
        last = await stream.read()
        assert last.draining
        assert [a.decision.why for a in last.answers] == ["dial"]
        assert not service.facts["ready"]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.stub.DecideStream().read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        await stream.done_writing()
        await watch.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await watch.read() is grpc.aio.EOF


async def test_a_stream_that_does_not_move_is_ended_when_the_time_is_over(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path, drain_s=0.05) as service:
        stream = service.stub.DecideStream()
        await stream.write(questions(call()))
        await stream.read()
        service.supervisor.stopping.set()
        assert (await stream.read()).draining
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stream.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stopping_replica_answers_whoever_has_its_address_still(store: MemoryStore, tmp_path: Path) -> None:
    least_s = 1.0
    async with running(store, tmp_path, drain_s=0.05, drain_min_s=least_s) as service:
        service.supervisor.stopping.set()
        begun = time.monotonic()
        while time.monotonic() - begun < least_s * 0.8:
            assert (await service.stub.Decide(call())).decision.why == "dial"
            await asyncio.sleep(0.02)
        assert not service.facts["ready"]


async def test_the_side_door_tells_figures(store: MemoryStore, tmp_path: Path) -> None:
    async with running(store, tmp_path) as service:
        await service.why()
        text = await _get(service, "/metrics")
        assert 'signalbox_routing_decisions_total{why="dial"} 1.0' in text
        assert "signalbox_routing_numbers 1.0" in text
        assert '"ready": true' in await _get(service, "/readyz")


async def _get(service: Running, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.worker.metrics_port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text
