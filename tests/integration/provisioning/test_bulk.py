"""Imports through real processes and a real etcd, which are killed at any instant."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import grpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.settings import BulkSettings, EtcdSettings
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from signalbox.store.etcd_maintenance import Maintenance, Quota
from signalbox.store.paged import PagedStore
from support.bulk import many, serving
from support.etcd import EtcdServer
from support.provisioning import Refusal, check_integrity
from support.stores import open_etcd

from .conftest import ProvisioningProcess, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.api.provisioning.v1.bulk_pb2 import NumberRow
    from support.bulk import Site

ROWS = 6_000
RATE = 2_000
KILLS = 8
DEADLINE_S = 120.0


def write(file: Path) -> list[int]:
    """A file in which some rows cannot be; returns their lines."""
    wrong = []
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["number", "tenant", "lines"])
        for n in range(ROWS):
            bad = n % 97 == 0
            writer.writerow([f"400{n:07d}", f"t{n // 1000}", "nowhere" if bad else f"138{n % 3000:08d}"])
            if bad:
                wrong.append(n + 2)
    return wrong


def importing(service: ProvisioningProcess, file: Path) -> subprocess.Popen[str]:
    """The command, on its way."""
    client = service.client
    command = [sys.executable, "-m", "signalbox", "import", "numbers", str(file), "--rate", str(RATE)]
    command += ["--api", service.address, "--ca", client.ca, "--cert", client.cert, "--key", client.key]
    return subprocess.Popen(
        list(map(str, command)), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_kill_of_either_side_at_any_instant_loses_and_doubles_nothing(tmp_path: Path, own_etcd: EtcdServer) -> None:
    file = tmp_path / "numbers.csv"
    wrong = write(file)
    service = ProvisioningProcess(tmp_path, own_etcd.endpoint)
    service.start()
    chance = random.Random(1)
    deadline = time.monotonic() + DEADLINE_S
    try:
        service.wait_until(ready=True)
        with service.channel() as channel:
            stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
            for n in range(6):
                stub.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=f"t{n}")), timeout=10)
        command = importing(service, file)
        for kill in range(KILLS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(chance.uniform(0.2, 1.5))
                break
            if kill % 2:
                service.kill()
                service.start()
            else:
                command.send_signal(signal.SIGKILL)
                command.communicate()
                command = importing(service, file)
        told, errors = command.communicate(timeout=deadline - time.monotonic())
        assert command.returncode == 1, errors
        assert told.startswith(f"{ROWS} rows: "), told
        assert told.endswith(f"{len(wrong)} refused\n"), told
        with (tmp_path / "numbers.refused.csv").open(encoding="utf-8-sig", newline="") as refused:
            assert [int(row["line"]) for row in csv.DictReader(refused)] == wrong
        assert not (tmp_path / "numbers.refused.csv.progress").exists()
        asyncio.run(check(own_etcd, ROWS - len(wrong)))
    finally:
        service.end()


async def check(server: EtcdServer, expected: int) -> None:
    """All numbers are there, and all that belongs to them."""
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[server.endpoint])))
    try:
        assert len((await store.list(keys.NUMBERS)).entries) == expected
        await check_integrity(store)
    finally:
        await store.close()


QUOTA = 16 * 1024**2


async def tenants(site: Site) -> None:
    for n in range(10):
        await site.rules.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=f"t{n}")))


async def imported(site: Site, rows: list[NumberRow], make_room: Callable[[], object]) -> int:
    """Import all rows, making room whenever the store has none; returns how often that was."""
    done = often = 0
    while done < len(rows):
        begun = done
        try:
            async for response in site.responses(rows[begun:], 500):
                done = begun + response.rows_done
        except grpc.aio.AioRpcError as error:
            refusal = Refusal()
            refusal.take(error)
            assert refusal.reason == "STORE_FULL", refusal
            often += 1
            assert often < 20
            await asyncio.to_thread(make_room)
    return often


def compact_and_defragment(server: EtcdServer, *more: str) -> None:
    """What etcd does by itself after some minutes, and an operator then."""
    revision = server.etcdctl("get", "x", "-w", "fields").partition('"Revision" : ')[2].split()[0]
    server.etcdctl("compact", revision, "--physical")
    server.etcdctl("defrag")
    if more:
        server.etcdctl(*more)


async def test_an_import_stops_before_etcd_is_full(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path / "m1", quota_bytes=QUOTA).start()
    store = open_etcd(server)
    maintenance = Maintenance(EtcdSettings(endpoints=[server.endpoint]))
    quota = Quota(maintenance, QUOTA, 0.7)
    quota.LOOK_S = 0.02
    try:
        async with serving(PagedStore(store, most=4000), room=quota, settings=BulkSettings(full_wait_s=0)) as site:
            await tenants(site)
            full = 0

            def make_room() -> None:
                nonlocal full
                assert server.etcdctl("alarm", "list") == ""
                (told,) = json.loads(server.etcdctl("endpoint", "status", "-w", "json"))
                full = told["Status"]["dbSize"]
                compact_and_defragment(server)
                # Forget what was seen before.
                quota._looked = float("-inf")

            assert await imported(site, many(15_000, tenants=10), make_room) >= 1
            assert 0.7 * QUOTA < full < QUOTA
            await asyncio.to_thread(make_room)
            assert set(await site.outcomes(many(15_000, tenants=10))) == {"unchanged"}
    finally:
        await maintenance.close()
        await store.close()
        server.stop()


async def test_an_import_into_an_etcd_that_is_full_is_refused_and_goes_on_later(tmp_path: Path) -> None:
    """Without anybody who looks: the alarm NOSPACE."""
    server = EtcdServer(tmp_path / "m1", quota_bytes=QUOTA // 2).start()
    store = open_etcd(server)
    try:
        async with serving(PagedStore(store, most=4000)) as site:
            await tenants(site)

            def make_room() -> None:
                assert "NOSPACE" in server.etcdctl("alarm", "list")
                compact_and_defragment(server, "alarm", "disarm")

            assert await imported(site, many(10_000, tenants=10), make_room) >= 1
            assert set(await site.outcomes(many(10_000, tenants=10))) == {"unchanged"}
            await check_integrity(site.store)
    finally:
        await store.close()
        server.stop()
