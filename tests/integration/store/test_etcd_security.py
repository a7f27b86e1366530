"""TLS, users and tokens of the etcd store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import ConfigurationError, StoreUnavailableError
from signalbox.settings import ClientTlsSettings
from signalbox.store.base import Put
from support.etcd import EtcdServer, make_tls
from support.stores import open_etcd, watch_until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.base import Store


async def put(store: Store, key: str) -> int:
    return await store.commit([], [Put(key, b"v")])


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    server = EtcdServer(tmp_path / "m1", tls=files).start()
    try:
        tls = ClientTlsSettings(ca_file=files.ca, cert_file=files.cert, key_file=files.key, server_name="etcd.test")
        store = open_etcd(server, tls=tls)
        start = await put(store, "a")
        assert len(await watch_until(store, "", start, bool)) == 1
        await store.close()
        for wrong in (
            ClientTlsSettings(),
            tls.model_copy(update={"server_name": None}),
            tls.model_copy(update={"cert_file": None, "key_file": None}),
            tls.model_copy(update={"ca_file": make_tls(tmp_path / "other").ca}),
        ):
            store = open_etcd(server, tls=wrong, request_timeout_s=1.0)
            with pytest.raises(StoreUnavailableError):
                await store.get("a")
            await store.close()
    finally:
        server.stop()


@pytest.fixture
def guarded(own_etcd: EtcdServer) -> EtcdServer:
    """A server with authentication on: root, and the user ``app`` who may use /app/."""
    own_etcd.etcdctl("user", "add", "root:toor")
    own_etcd.etcdctl("user", "grant-role", "root", "root")
    own_etcd.etcdctl("user", "add", "app:secret")
    own_etcd.etcdctl("role", "add", "app")
    own_etcd.etcdctl("role", "grant-permission", "app", "--prefix=true", "readwrite", "/app/")
    own_etcd.etcdctl("user", "grant-role", "app", "app")
    own_etcd.etcdctl("auth", "enable")
    return own_etcd


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A file with the password of ``app``."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    return file


async def test_a_user_is_authenticated_again_after_a_restart(guarded: EtcdServer, password: Path) -> None:
    store = open_etcd(guarded, prefix="/app/", username="app", password_file=password)
    lease = await store.grant_lease(60)
    start = await put(store, "p/a")
    watching = asyncio.create_task(watch_until(store, "p/", start, lambda seen: len(seen) == 2))
    assert await store.get("p/a")
    await asyncio.to_thread(guarded.restart)
    assert await store.get("p/a")
    await store.keep_lease(lease)
    await put(store, "p/b")
    assert [change.key for change in await watching] == ["p/a", "p/b"]
    await store.close()


async def test_a_token_older_than_a_change_of_roles_is_replaced(guarded: EtcdServer, password: Path) -> None:
    store = open_etcd(guarded, prefix="/app/", username="app", password_file=password)
    await put(store, "a")
    guarded.etcdctl("--user=root:toor", "role", "add", "another")
    await put(store, "b")
    await store.close()


async def test_many_requests_with_a_refused_token_authenticate_once(guarded: EtcdServer, password: Path) -> None:
    store = open_etcd(guarded, prefix="/app/", username="app", password_file=password)
    await put(store, "a")
    before = store._connection._token
    await asyncio.to_thread(guarded.restart)
    assert all(await asyncio.gather(*(store.get("a") for _ in range(20))))
    assert store._connection._token != before
    await store.close()


async def test_refused_credentials_are_the_stores_trouble(guarded: EtcdServer, password: Path, tmp_path: Path) -> None:
    outside = open_etcd(guarded, prefix="/other/", username="app", password_file=password)
    with pytest.raises(StoreUnavailableError, match="PERMISSION_DENIED"):
        await outside.get("a")
    await outside.close()
    nobody = open_etcd(guarded, prefix="/app/")
    with pytest.raises(StoreUnavailableError):
        await nobody.get("a")
    await nobody.close()
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    stranger = open_etcd(guarded, prefix="/app/", username="app", password_file=wrong, request_timeout_s=0.5)
    with pytest.raises(StoreUnavailableError, match="refuses the password of user app"):
        await stranger.get("a")
    with pytest.raises(StoreUnavailableError, match="refuses the password of user app"):
        await watch_until(stranger, "", 1, bool)
    await stranger.close()


async def test_a_server_that_is_away_cannot_authenticate(guarded: EtcdServer, password: Path) -> None:
    store = open_etcd(guarded, prefix="/app/", username="app", password_file=password)
    guarded.kill()
    with pytest.raises(StoreUnavailableError):
        await store.get("a")
    await store.close()


async def test_a_server_without_authentication_takes_a_user_too(own_etcd: EtcdServer, password: Path) -> None:
    store = open_etcd(own_etcd, username="app", password_file=password)
    assert await put(store, "a")
    await store.close()


async def test_a_missing_file_is_a_wrong_setting(own_etcd: EtcdServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_etcd(own_etcd, username="app", password_file=tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_etcd(own_etcd, tls=ClientTlsSettings(ca_file=tmp_path / "nowhere"))
