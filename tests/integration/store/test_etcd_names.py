"""Members of etcd by their names, as of a StatefulSet: one that comes back has another address."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import StoreUnavailableError
from signalbox.settings import ClientTlsSettings
from signalbox.store import etcd_connection
from signalbox.store.base import Put
from support.etcd import EtcdServer, make_tls
from support.names import Names
from support.stores import open_etcd, until, written
from support.tcp import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.base import Store

NAME = "member-0.etcd.test"
OLD, NEW = "127.0.0.21", "127.0.0.22"
FOUND_S = 30.0
"""A member that is there again is in use after so long at most, however long it was away."""


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    """The names of endpoints are asked of this one."""
    names = await Names.start()
    targets = etcd_connection.targets

    def asked_here(endpoints: list[str], *, one_name: bool) -> list[str]:
        found = targets(endpoints, one_name=one_name)
        return [target.replace("dns:///", f"dns://{names.address}/") for target in found]

    monkeypatch.setattr(etcd_connection, "targets", asked_here)
    with contextlib.closing(names):
        yield names


@contextlib.asynccontextmanager
async def _watched(store: Store) -> AsyncIterator[list[int]]:
    """The values that were written since, also those that were while nobody could be asked."""
    values: list[int] = []

    async def watch(revision: int) -> None:
        while True:
            with contextlib.suppress(StoreUnavailableError):
                async with aclosing(store.watch("p/", revision)) as batches:
                    async for changes, _ in batches:
                        values.extend(int(change.entry.value) for change in changes if change.entry)
                        revision = max([revision, *(change.revision + 1 for change in changes)])
            await asyncio.sleep(0.05)

    task = asyncio.create_task(watch(await store.revision() + 1))
    try:
        yield values
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _moves(server: EtcdServer, names: Names, tls: ClientTlsSettings, *, silent: bool = False) -> None:
    """One member behind a name: a client goes on at its new address, and its watch misses nothing."""
    direct = open_etcd(server, prefix="/moves/", tls=tls)
    async with Relay(server.endpoint, OLD) as old:
        names.addresses[NAME] = [OLD]
        client = open_etcd(server, prefix="/moves/", endpoints=[f"{NAME}:{old.port}"], tls=tls, request_timeout_s=2.0)
        async with _watched(client) as values:
            await written(client, Put("p/a", b"0"))
            await until(lambda: values == [0])
            port = old.port
            if silent:
                old.freeze()
            else:
                del names.addresses[NAME]
                await old.__aexit__()
            await written(direct, Put("p/a", b"1"))
            with pytest.raises(StoreUnavailableError):
                await client.get("p/a")
            async with Relay(server.endpoint, NEW, port) as new:
                names.addresses[NAME] = [NEW]
                await until(lambda: values == [0, 1], deadline_s=FOUND_S)
                await written(client, Put("p/a", b"2"), FOUND_S)
                await until(lambda: values == [0, 1, 2])
                assert new.connections
                await client.close()
        if silent:
            old.thaw()
    await direct.close()


async def test_a_member_that_was_away_is_found_at_its_new_address(etcd_server: EtcdServer, names: Names) -> None:
    await _moves(etcd_server, names, ClientTlsSettings())


async def test_a_member_that_is_silent_is_found_at_its_new_address(etcd_server: EtcdServer, names: Names) -> None:
    """Its node has died: nobody ends the connection."""
    await _moves(etcd_server, names, ClientTlsSettings(), silent=True)


async def test_with_tls_its_name_is_still_checked(tmp_path: Path, names: Names) -> None:
    files = make_tls(tmp_path / "tls")
    server = EtcdServer(tmp_path / "m1", tls=files).start()
    try:
        tls = ClientTlsSettings(ca_file=files.ca, cert_file=files.cert, key_file=files.key, server_name="etcd.test")
        await _moves(server, names, tls)
    finally:
        server.stop()
