"""The routing service as processes, with a real etcd."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.errors import StoreUnavailableError
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore
from support import routing
from support.etcd import EtcdServer, own_etcd
from support.ports import free_address, free_port
from support.routing import call, put, questions
from support.routing_process import RoutingProcess
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.codec import Object

__all__ = ["own_etcd"]

TIMEOUT_S = 15.0


@pytest.fixture
async def rules(own_etcd: EtcdServer) -> AsyncIterator[PagedStore]:
    """A store that holds one number."""
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[own_etcd.endpoint])))
    await put(store, routing.trunk(), routing.line(), routing.number(), routing.node(1))
    yield store
    await store.close()


@asynccontextmanager
async def serving(process: RoutingProcess, *workers: int) -> AsyncIterator[routing_pb2_grpc.RoutingServiceAsyncStub]:
    process.start()
    try:
        await asyncio.to_thread(process.wait_ready, *workers)
        async with grpc.aio.insecure_channel(process.address) as channel:
            yield routing_pb2_grpc.RoutingServiceStub(channel)
    finally:
        await asyncio.to_thread(process.stop)


async def put_when_back(store: PagedStore, message: Object) -> None:
    """Write an object as soon as the store answers again."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            with suppress(StoreUnavailableError):
                await put(store, message)
                return
            await asyncio.sleep(0.05)


async def test_a_changed_rule_is_obeyed_and_a_snapshot_is_written(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint)
    async with serving(process) as stub:
        stream = stub.DecideStream()
        revision = await put(rules, routing.number(routing.NUMBER, ("a",), ("a",)))
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                await stream.write(questions(call()))
                response = await stream.read()
                if response.rule_revision >= revision:
                    break
        assert len(response.answers[0].decision.dial.stages) == 2
        await until((tmp_path / "rules.snapshot").exists)
    assert process.exit_code == 0


async def test_a_replica_starts_from_its_snapshot_while_etcd_is_away_and_follows_it_again(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint)
    async with serving(process):
        await until((tmp_path / "rules.snapshot").exists)
    await asyncio.to_thread(own_etcd.stop)
    async with serving(process) as stub:
        facts = process.facts()
        assert (facts["source"], facts["store_available"], facts["numbers"]) == ("snapshot", False, 1)
        assert (await stub.Decide(call())).media.node == 1
        await asyncio.to_thread(own_etcd.start)
        await put_when_back(rules, routing.number("4007654321"))
        await until(lambda: process.facts().get("numbers") == 2)
        # Numbers come by themselves: the other rules may be a moment later.
        await until(lambda: process.facts()["source"] == "etcd")
        assert (await stub.Decide(call("4007654321"))).decision.why == "dial"


async def test_etcd_killed_while_calls_run_stops_no_call(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ETCD__REQUEST_TIMEOUT_S": 0.5})
    async with serving(process) as stub:
        await asyncio.to_thread(own_etcd.kill)
        await until(lambda: process.facts().get("store_available") is False)
        assert process.facts()["ready"]
        assert (await stub.Decide(call())).decision.why == "dial"


async def test_a_damaged_snapshot_is_no_rules_and_not_ready(tmp_path: Path) -> None:
    (tmp_path / "rules.snapshot").write_bytes(b"SBXRULES but not really")
    process = RoutingProcess(tmp_path, free_address()).start()
    try:
        await until(lambda: process.log.exists() and process.events("no_rules_yet"))
        facts = process.facts()
        assert (facts["ready"], facts["source"], facts["rule_age_s"]) == (False, "none", None)
        assert process.events("snapshot_damaged")
        async with grpc.aio.insecure_channel(process.address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        assert await asyncio.to_thread(process.stop) == 0


async def test_sigterm_is_told_to_streams_and_health_before_the_process_ends(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__DRAIN_S": TIMEOUT_S})
    async with serving(process) as stub:
        stream = stub.DecideStream()
        await stream.write(questions(call()))
        await stream.read()
        async with grpc.aio.insecure_channel(process.address) as channel:
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            async with asyncio.timeout(TIMEOUT_S):
                while (await health.read()).status != health_pb2.HealthCheckResponse.SERVING:
                    pass
            os.kill(process.pid, signal.SIGTERM)
            assert (await asyncio.wait_for(stream.read(), TIMEOUT_S)).draining
            assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            health.cancel()
        await stream.write(questions(call()))
        assert (await stream.read()).answers[0].decision.why == "dial"
        await stream.done_writing()
        assert await asyncio.to_thread(process.wait) == 0


async def test_single_questions_are_answered_as_long_as_the_name_may_have_the_address(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    """Nobody has a stream, so nothing else keeps it from ending at once."""
    least_s = 1.0
    process = RoutingProcess(
        tmp_path, own_etcd.endpoint, {"ROUTING__DRAIN_S": TIMEOUT_S, "ROUTING__DRAIN_MIN_S": least_s}
    )
    async with serving(process):
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        await until(lambda: bool(process.facts().get("draining")))
        answered = 0
        while time.monotonic() < began + least_s * 0.8:
            # Each with a connection of its own, as of a client that was told the address last.
            async with grpc.aio.insecure_channel(process.address) as channel:
                response = await routing_pb2_grpc.RoutingServiceStub(channel).Decide(call(), timeout=TIMEOUT_S)
            assert response.decision.why == "dial"
            answered += 1
        assert answered > 1
        assert await asyncio.to_thread(process.wait) == 0
        assert time.monotonic() >= began + least_s


async def test_workers_share_the_port_and_a_dead_one_is_started_again(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": 2}, metrics_port=free_port(span=2))
    async with serving(process, 0, 1) as stub:
        first, second = process.children()
        os.kill(second, signal.SIGKILL)
        await until(lambda: len(process.children()) == 2 and second not in process.children())
        await asyncio.to_thread(process.wait_ready, 0, 1)
        assert first in process.children()
        (died,) = process.events("worker_died")
        assert (died["worker"], died["pid"], died["exit_code"]) == (1, second, -signal.SIGKILL)
        assert "signalbox_routing_worker_starts 2.0" in process.metrics(1)
        assert "signalbox_routing_worker_starts 1.0" in process.metrics(0)
        for n in range(10):
            # A connection each, so that both workers are asked.
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(process.address, options) as channel:
                asked = routing_pb2_grpc.RoutingServiceStub(channel).Decide(call(call_id=str(n)), wait_for_ready=True)
                assert (await asyncio.wait_for(asked, TIMEOUT_S)).decision.why == "dial"
        assert (await stub.Decide(call(), wait_for_ready=True)).decision.why == "dial"
        workers = process.children()
    assert process.exit_code == 0
    assert not any(_alive(pid) for pid in workers)


async def test_workers_end_with_their_parent(own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": 2}, metrics_port=free_port(span=2))
    async with serving(process, 0, 1):
        workers = process.children()
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not any(_alive(pid) for pid in workers))


def _alive(pid: int) -> bool:
    """False for one that has ended, though nobody has asked for its exit code."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_port_that_is_taken_ends_the_process_with_the_code_for_wrong_settings(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path, workers: int
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint)
    async with serving(process):
        (tmp_path / "2").mkdir()
        settings = {"ROUTING__WORKERS": workers}
        other = RoutingProcess(tmp_path / "2", own_etcd.endpoint, settings, port=process.port).start()
        assert await asyncio.to_thread(other.wait) == 2
        assert "listen" in other.log.read_text()


async def test_workers_that_cannot_start_with_their_settings_are_not_started_again(tmp_path: Path) -> None:
    missing = {f"ROUTING__TLS__{name}_FILE": tmp_path / "missing.pem" for name in ("CA", "CERT", "KEY")}
    process = RoutingProcess(tmp_path, free_address(), {"ROUTING__WORKERS": 2, **missing}).start()
    assert await asyncio.to_thread(process.wait) == 1
    assert "can't start with these settings" in process.log.read_text()
    assert not process.events("worker_died")


async def test_an_edge_registers_in_etcd_for_a_day(own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path) -> None:
    async with serving(RoutingProcess(tmp_path, own_etcd.endpoint)) as stub:
        watch = stub.WatchEdge()
        await watch.write(routing_pb2.WatchEdgeRequest(hello=routing_pb2.EdgeHello(edge=routing.edge())))
        async with asyncio.timeout(TIMEOUT_S):
            while not (await watch.read()).peers:
                pass
        leases = (await asyncio.to_thread(own_etcd.etcdctl, "lease", "list")).splitlines()[1:]
        told = await asyncio.to_thread(own_etcd.etcdctl, "lease", "timetolive", "--keys", leases[0])
        assert "granted with TTL(86400s)" in told
        assert "live/edges/edge-1" in told
        watch.cancel()
