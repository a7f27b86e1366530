"""Who orders something at an edge is recorded, whatever is away or dies in between."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox import account
from signalbox.edge import telling
from signalbox.edge.orders import Orders, actor_of
from signalbox.edge.pool import Pool
from signalbox.settings import EdgeSettings
from structlog.testing import capture_logs
from support.journaled import Nobody
from support.routing_fake import RoutingFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def running(directory: Path, *addresses: str) -> AsyncIterator[Orders]:
    """Orders of an edge that asks these replicas, begun as the process begins them."""
    pool = Pool(EdgeSettings(id="edge-1", routing=list(addresses)))
    orders = Orders(directory, "edge-1", pool)
    orders.recover()
    tasks = [asyncio.create_task(pool.run(Nobody())), asyncio.create_task(orders.run())]
    try:
        yield orders
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ordered(orders: Orders, call: str) -> None:
    orders.settle(await orders.keep(call, "user alice"), done=True)


async def test_an_order_is_told_and_its_file_goes(tmp_path: Path) -> None:
    async with RoutingFake() as fake, running(tmp_path / "orders", fake.address) as orders:
        await ordered(orders, "call-1")
        await until(lambda: fake.orders and not orders.waiting())
        [told] = fake.orders
        assert (told.edge, told.call_id, told.actor) == ("edge-1", "call-1", "user alice")


async def test_what_came_to_nothing_is_not_told(tmp_path: Path) -> None:
    async with RoutingFake() as fake, running(tmp_path / "orders", fake.address) as orders:
        orders.settle(await orders.keep("unknown", "user alice"), done=False)
        await ordered(orders, "call-1")
        await until(lambda: [one.call_id for one in fake.orders] == ["call-1"])
        await until(lambda: not list((tmp_path / "orders").iterdir()))


async def test_orders_wait_for_a_replica_that_takes_them_also_through_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "RETRY_S", 0.05)
    async with RoutingFake() as fake:
        fake.order_status = grpc.StatusCode.UNAVAILABLE
        with capture_logs() as logs:
            async with running(tmp_path / "orders", fake.address) as orders:
                await ordered(orders, "call-1")
                # Killed before it was known what became of it.
                await orders.keep("call-2", "user bob")
                await until(lambda: any(line["event"] == "orders_delayed" for line in logs))
                assert orders.counts() == {"waiting": 1, "refused": 0}
        fake.order_status = None
        async with running(tmp_path / "orders", fake.address):
            await until(lambda: [(one.call_id, one.actor) for one in fake.orders] == [
                ("call-1", "user alice"), ("call-2", "user bob"),
            ])  # fmt: skip


async def test_an_order_that_is_refused_for_good_or_damaged_is_put_aside_and_others_go_on(tmp_path: Path) -> None:
    directory = tmp_path / "orders"
    async with RoutingFake() as fake:
        fake.order_status = grpc.StatusCode.INVALID_ARGUMENT
        async with running(directory, fake.address) as orders:
            (directory / "0-damaged.order").parent.mkdir(exist_ok=True)
            (directory / "0-damaged.order").write_bytes(b"\xff")
            await ordered(orders, "call-1")
            await until(lambda: orders.counts() == {"waiting": 0, "refused": 2})
            fake.order_status = None
            await ordered(orders, "call-2")
            await until(lambda: [one.call_id for one in fake.orders] == ["call-2"])


@pytest.mark.parametrize("status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED])
async def test_orders_that_no_replica_takes_are_counted(tmp_path: Path, status: grpc.StatusCode) -> None:
    async with RoutingFake() as fake, running(tmp_path / "orders", fake.address) as orders:
        assert orders.counts() == {"waiting": 0, "refused": 0}
        fake.order_status = status
        with capture_logs() as logs:
            for call in ("call-1", "call-2"):
                await ordered(orders, call)
            await until(lambda: any(line["event"] == "orders_delayed" for line in logs))
        assert orders.counts() == {"waiting": 2, "refused": 0}
        fake.order_status = None
        await until(lambda: orders.counts() == {"waiting": 0, "refused": 0})


async def test_orders_that_cannot_be_read_are_not_counted(tmp_path: Path) -> None:
    directory = tmp_path / "orders"
    directory.touch()
    orders = Orders(directory, "edge-1", Pool(EdgeSettings(id="edge-1", routing=["127.0.0.1:1"])))
    with capture_logs() as logs:
        assert orders.counts() == {}
    assert [line["event"] for line in logs] == ["orders_not_counted"]


def actor() -> str:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        return actor_of(ours)


def test_who_it_is_the_kernel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_login", lambda pid: None)
    assert actor() == f"user {pwd.getpwuid(os.getuid()).pw_name}"


def test_who_logged_in_counts_whoever_he_became(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(account, "_login", lambda pid: asked.append(pid) or 1)
    assert actor() == f"user {pwd.getpwuid(1).pw_name}"
    assert asked == [os.getpid()]


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_login", lambda pid: 2_000_000_001)
    assert actor() == "user 2000000001"
