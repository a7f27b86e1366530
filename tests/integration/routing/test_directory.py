"""What tenants own in one memory map of several workers, with a real etcd."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1 import routing_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.domain.screening import Page, page_of
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore
from signalbox.store.screening import page_message
from support import routing
from support.etcd import EtcdServer, own_etcd
from support.ports import free_port
from support.routing import call, delete, put
from support.routing_process import RoutingProcess
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["own_etcd"]

WORKERS = 2
COUNT = 600
FLOW_NUMBER = "4009999999"
SCREENED = (
    routing.number(FLOW_NUMBER, stages=[], flow="main", screening=types_pb2.Screening(blacklists=["spam"])),
    routing.flow("main", routing.dial_node("entry", "line-1")),
    ScreeningList(id="spam"),
    page_message("", "spam", page_of("n13900001111"), Page.of(["n13900001111"])),
)


@pytest.fixture
async def rules(own_etcd: EtcdServer) -> AsyncIterator[PagedStore]:
    """A store with some hundred numbers, each with a line of its own, and one with a flow that screens its callers."""
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[own_etcd.endpoint])))
    await put(store, routing.trunk(), routing.node(1), *SCREENED)
    for first in range(0, COUNT, 50):
        some = range(first, first + 50)
        await put(store, *(routing.line(f"line-{n}") for n in some))
        await put(store, *(routing.number(digits(n), (f"line-{n}",)) for n in some))
    yield store
    await store.close()


def digits(n: int) -> str:
    return f"4001{n:06d}"


@asynccontextmanager
async def serving(process: RoutingProcess) -> AsyncIterator[routing_pb2_grpc.RoutingServiceAsyncStub]:
    process.start()
    try:
        await asyncio.to_thread(process.wait_ready, *range(WORKERS))
        async with grpc.aio.insecure_channel(process.address) as channel:
            yield routing_pb2_grpc.RoutingServiceStub(channel)
    finally:
        await asyncio.to_thread(process.stop)


def gauge(process: RoutingProcess, name: str, worker: int) -> float:
    """A figure of a worker; -1 if it does not answer."""
    try:
        found = re.search(rf"^signalbox_routing_{name} (\S+)$", process.metrics(worker), re.MULTILINE)
    except OSError:
        return -1
    assert found is not None
    return float(found[1])


async def assert_screened(stub: routing_pb2_grpc.RoutingServiceAsyncStub) -> None:
    """The number with a flow takes whom its list does not name."""
    for caller, why in (("13900001111", "caller_blacklisted"), ("13900002222", "dial")):
        for _ in range(4):
            assert (await stub.Decide(call(FLOW_NUMBER, calling=caller))).decision.why == why


async def assert_equal(process: RoutingProcess, numbers: int, revision: int) -> None:
    """All workers have come to the same, and have it in the map."""
    for worker in range(WORKERS):
        await until(lambda worker=worker: gauge(process, "numbers", worker) == numbers, "the numbers")  # type: ignore[misc]
        await until(
            lambda worker=worker: gauge(process, "directory_map_revision", worker) >= revision,  # type: ignore[misc]
            "the revision in the map",
        )
        assert gauge(process, "directory_unwritten", worker) == 0
        assert gauge(process, "directory_differed", worker) == 0
    assert len({gauge(process, "directory_digest", worker) for worker in range(WORKERS)}) == 1


async def test_workers_share_the_map_and_survive_who_writes_it(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": WORKERS}, metrics_port=free_port(span=2))
    async with serving(process) as stub:
        for n in range(0, COUNT, 60):
            assert (await stub.Decide(call(digits(n)))).decision.dial.stages[0].branches[0].line == f"line-{n}"
        await assert_screened(stub)
        await put(rules, routing.number(digits(COUNT), ("line-1",)), routing.line("line-1", user="100"))
        revision = await delete(rules, routing.number(digits(3)))
        await assert_equal(process, COUNT + 1, revision)
        os.kill(process.children()[0], signal.SIGKILL)
        await until(lambda: not process.facts(0).get("ready"), "the end of the writer")
        revision = await put(rules, routing.number(digits(3), ("line-2",)))
        await until(lambda: process.facts(1).get("numbers") == COUNT + 2, "the change where it is not written")
        await asyncio.to_thread(process.wait_ready, *range(WORKERS))
        await assert_equal(process, COUNT + 2, revision)


async def test_workers_start_from_the_map_while_etcd_is_away(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": WORKERS}, metrics_port=free_port(span=2))
    async with serving(process):
        await until((tmp_path / "rules.snapshot").exists)
        await assert_equal(process, COUNT + 1, 1)
    await asyncio.to_thread(own_etcd.stop)
    async with serving(process) as stub:
        for worker in range(WORKERS):
            facts = process.facts(worker)
            assert (facts["source"], facts["numbers"]) == ("snapshot", COUNT + 1)
        await assert_screened(stub)
        for n in range(0, COUNT, 60):
            assert (await stub.Decide(call(digits(n)))).decision.dial.stages[0].branches[0].line == f"line-{n}"
        await asyncio.to_thread(own_etcd.start)
        for worker in range(WORKERS):
            await until(lambda worker=worker: process.facts(worker).get("source") == "etcd", "etcd")  # type: ignore[misc]


async def test_a_damaged_map_is_made_anew(own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path) -> None:
    process = RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": WORKERS}, metrics_port=free_port(span=2))
    async with serving(process):
        await assert_equal(process, COUNT + 1, 1)
    (tmp_path / "rules.snapshot.map").write_bytes(b"\xff" * 100_000)
    async with serving(process):
        await assert_equal(process, COUNT + 1, 1)
    assert len(process.events("directory_set_aside")) == 1
    assert (tmp_path / "rules.snapshot.map-damaged").stat().st_size == 100_000


async def test_workers_do_not_take_a_restored_etcd_for_the_one_that_they_knew(
    own_etcd: EtcdServer, rules: PagedStore, tmp_path: Path
) -> None:
    """Revisions are given again, to other changes, and beyond those that were known: with workers that live through it,
    and with a replica that comes back later with its map and its snapshot."""
    backup, process = (
        tmp_path / "backup.db",
        RoutingProcess(tmp_path, own_etcd.endpoint, {"ROUTING__WORKERS": WORKERS}, metrics_port=free_port(span=2)),
    )
    await asyncio.to_thread(own_etcd.etcdctl, "snapshot", "save", str(backup))

    async def asked(stub: routing_pb2_grpc.RoutingServiceAsyncStub, n: int) -> str:
        decision = (await stub.Decide(call(digits(n)))).decision
        return decision.dial.stages[0].branches[0].line if decision.HasField("dial") else decision.why

    async def exchange(turn: int) -> int:
        await asyncio.to_thread(own_etcd.restore, backup, tmp_path / f"restored-{turn}")
        for n in range(60):
            revision = await put(rules, routing.number(digits(n), (f"line-{n + turn}",)))
        return revision

    async with serving(process):
        for n in range(50):
            known = await put(rules, routing.number(digits(n), ("line-599",)), routing.number(digits(COUNT + n)))
        await assert_equal(process, COUNT + 51, known)
        assert await exchange(1) > known
        for worker in range(WORKERS):
            await until(lambda worker=worker: gauge(process, "numbers", worker) == COUNT + 1, "what was restored")  # type: ignore[misc]
        await assert_equal(process, COUNT + 1, 1)
        async with grpc.aio.insecure_channel(process.address) as channel:
            for n in range(COUNT):
                line = f"line-{n + 1}" if n < 60 else f"line-{n}"
                assert await asked(routing_pb2_grpc.RoutingServiceStub(channel), n) == line
    await exchange(2)
    async with serving(process):
        await assert_equal(process, COUNT + 1, 1)
        # One channel is one worker; both are asked in time.
        for _ in range(8):
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub = routing_pb2_grpc.RoutingServiceStub(channel)
                assert [await asked(stub, n) for n in range(60)] == [f"line-{n + 2}" for n in range(60)]
                assert await asked(stub, COUNT) == "number_unknown"
