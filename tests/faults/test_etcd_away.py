"""etcd is dead or silent: calls go on by the rules that were, and nobody can change them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from signalbox.api.events.v1 import events_pb2
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.store.directory import DirectoryReader
from support.site import LINE_HOST, TENANT, eventually
from support.wire import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.wire import Connected


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_calls_go_on_and_changes_are_refused(site, phone, how):
    async with calls_all_along(site, phone) as anchored:
        with getattr(site, how)("etcd"):
            await eventually(lambda: fact(site, "store_available") is False, "the replicas know")
            age = fact(site, "rule_age_s")
            create = provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id="late"))
            with pytest.raises(grpc.RpcError) as error:
                await asyncio.to_thread(site.provisioning.CreateTenant, create, timeout=15)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason(error.value) == "STORE_UNAVAILABLE"
            await eventually(lambda: fact(site, "rule_age_s") > age, "rules grow older")
            assert fact(site, "ready") is True
            assert site.metric("routing-1", "signalbox_routing_rule_age_seconds") > 0
        if how == "killed":
            await asyncio.to_thread(site.cluster.wait_ready, "etcd")
        await eventually(lambda: fact(site, "store_available") is True, "etcd is found again", within=15)
        get = provisioning_pb2.GetTenantRequest(id=TENANT)
        await eventually(lambda: answers(site, get), "provisioning is back", within=15)
        before = len(anchored)
        await eventually(lambda: len(anchored) > before + 1, "a whole call since then")
    print(f"{len(anchored)} calls meanwhile")
    events = await site.events_until(anchored[-1].call.call_id, "hung_up")
    assert events[1].decided.source == events_pb2.DECISION_SOURCE_ROUTING
    caller, line = await phone(), await phone(LINE_HOST)
    await (await connect(caller, line, site.number([line.address]))).hang_up()


@contextlib.asynccontextmanager
async def calls_all_along(site, phone) -> AsyncIterator[list[Connected]]:
    """Within: anchored calls, one after the other. Fails if one does."""
    caller, line = await phone(), await phone(LINE_HOST)
    number, made, over = site.number([line.address], anchored=True), [], asyncio.Event()

    async def call() -> None:
        while not over.is_set():
            made.append(await connect(caller, line, number))
            assert await made[-1].both_hear()
            await made[-1].hang_up()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call())
        yield made
        over.set()


async def test_a_replica_that_starts_without_etcd_routes_by_its_snapshot(site, caller, line):
    number = site.number([line.address])
    file = site.cluster.directory / "routing-1" / "rules.snapshot.map"
    await eventually(lambda: has_number(file, number), "the number in the map beside the snapshot")
    with site.killed("etcd", "routing-1", "routing-2"):
        site.cluster.start_process("routing-1")
        assert fact(site, "source") == "snapshot"
        assert fact(site, "store_available") is False
        await eventually(lambda: site.cluster.is_ready("edge-1"), "the sidecar has found it")
        connected = await connect(caller, line, number)
        events = await site.events_until(connected.call.call_id, "answered")
        assert events[1].decided.source == events_pb2.DECISION_SOURCE_ROUTING
        await connected.hang_up()
    site.cluster.wait_ready()
    await eventually(lambda: fact(site, "source") == "etcd", "etcd is followed again", within=15)


def has_number(file, number: str) -> bool:
    """True if a memory map has a number."""
    reader = DirectoryReader(file)
    reader.pin()
    try:
        return reader.view is not None and reader.view.number(number) is not None
    finally:
        reader.close()


def fact(site, name: str):
    """What the first replica says of itself."""
    return site.cluster.facts("routing-1").get(name)


def answers(site, request) -> bool:
    """True if provisioning reads from etcd."""
    try:
        site.provisioning.GetTenant(request, timeout=5)
    except grpc.RpcError:
        return False
    return True


def reason(error: grpc.RpcError) -> str:
    """The ErrorInfo reason of an error."""
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info):
            return info.reason
    return ""
