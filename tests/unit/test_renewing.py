"""Certificates are renewed in their files while servers and clients of ours run."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog.testing
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError
from signalbox import pki, redis_client, rpc, tlsfiles
from signalbox.catalog import database
from signalbox.errors import ConfigurationError
from signalbox.settings import ClientTlsSettings, RedisSettings, ServerTlsSettings
from signalbox.settings.shared import RedisTlsSettings
from signalbox.tlsfiles import Expiries, TlsFiles
from support.etcd import make_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.etcd import TlsFiles as Made

NAME = "signalbox.test"
SECRET = ("ca.crt", "tls.crt", "tls.key")


@pytest.fixture(autouse=True)
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection waits until it is time to look again."""
    monkeypatch.setattr(tlsfiles, "LOOK_S", 0.0)


class Secret:
    """A mounted Secret of Kubernetes: files are links into ``..data``, which is a link that is swapped."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory, self.version = directory, 0
        self.ca, self.cert, self.key = (directory / name for name in SECRET)

    def put(self, made: Made) -> None:
        """All three at once."""
        self.version += 1
        data = self.directory / f"..{self.version}"
        data.mkdir()
        for name, file in zip(SECRET, (made.ca, made.cert, made.key), strict=True):
            shutil.copy(file, data / name)
            if self.version == 1:
                (self.directory / name).symlink_to(f"..data/{name}")
        link = self.directory / "..new"
        link.symlink_to(data.name)
        link.rename(self.directory / "..data")


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """What is logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "secret")


@pytest.fixture
def made(tmp_path: Path) -> list[Made]:
    """Two certificates for one name, of an authority each."""
    return [make_tls(tmp_path / which, NAME) for which in ("first", "second")]


class Health(health_pb2_grpc.HealthServicer):
    """Answers, and a watch that lasts until it is told to end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=1)

    async def Watch(self, request: Any, context: Any) -> Any:
        yield health_pb2.HealthCheckResponse(status=1)
        await self.over.wait()
        yield health_pb2.HealthCheckResponse(status=2)


@asynccontextmanager
async def serving(tls: ServerTlsSettings) -> AsyncIterator[tuple[str, Health]]:
    """A server of ours at an address."""
    server, service = grpc.aio.server(options=rpc.server_options(reuse_port=False)), Health()
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = rpc.bind(server, "127.0.0.1:0", tls)
    await server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        await server.stop(None)


def of_secret(secret: Secret) -> ServerTlsSettings:
    return ServerTlsSettings(ca_file=secret.ca, cert_file=secret.cert, key_file=secret.key)


def client(made: Made | Secret) -> ClientTlsSettings:
    return ClientTlsSettings(ca_file=made.ca, cert_file=made.cert, key_file=made.key, server_name=NAME)


async def asked(channel: grpc.aio.Channel) -> None:
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


async def is_accepted(address: str, made: Made) -> bool:
    """By a connection of its own."""
    async with rpc.channel(address, client(made)) as channel:
        try:
            await asked(channel)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


async def test_a_server_takes_the_new_certificate_at_the_next_connection_and_what_is_open_goes_on(secret, made):
    first, second = made
    secret.put(first)
    async with serving(of_secret(secret)) as (address, service), rpc.channel(address, client(first)) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == 1
        secret.put(second)
        assert await is_accepted(address, second)
        assert not await is_accepted(address, first)
        service.over.set()
        assert (await watch.read()).status == 2


async def test_a_client_takes_its_new_certificate_for_calls_to_come_and_what_is_open_goes_on(secret, made):
    first, second = made
    secret.put(first)
    async with (
        serving(ServerTlsSettings(ca_file=first.ca, cert_file=first.cert, key_file=first.key)) as (old, service),
        serving(ServerTlsSettings(ca_file=second.ca, cert_file=second.cert, key_file=second.key)) as (new, _),
        rpc.channel(old, client(secret), lasting=True) as to_old,
        rpc.channel(new, client(secret), lasting=True) as to_new,
    ):
        watch = health_pb2_grpc.HealthStub(to_old).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == 1
        await asked(to_old)
        held = health_pb2_grpc.HealthStub(to_new)
        with pytest.raises(grpc.aio.AioRpcError):
            await held.Check(health_pb2.HealthCheckRequest(), timeout=5)
        secret.put(second)
        await held.Check(health_pb2.HealthCheckRequest(), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(to_old)
        service.over.set()
        assert (await watch.read()).status == 2
        assert await watch.read() is grpc.aio.EOF
        (retired,) = to_old._old
        assert retired.closing is not None
        await asyncio.wait_for(retired.closing, 5)


async def test_a_pair_of_which_one_half_is_new_is_not_taken_until_the_other_is(tmp_path, made, log):
    first, second = made
    files = [tmp_path / name for name in SECRET]
    for file, source in zip(files, (first.ca, first.cert, first.key), strict=True):
        shutil.copy(source, file)
    _, cert, key = files
    async with serving(ServerTlsSettings(cert_file=cert, key_file=key)) as (address, _):
        shutil.copy(second.cert, cert)
        assert await is_accepted(address, first)
        assert await is_accepted(address, first)
        assert [line["reason"] for line in log if line["event"] == "certificate_not_taken"] == [
            f"tls: {key} is not the key of {cert}"
        ]
        shutil.copy(second.key, key)
        assert await is_accepted(address, second)
        assert [line["event"] for line in log][-1] == "certificate_renewed"


async def test_redis_is_reached_with_what_is_new(secret, made):
    first, second = made
    secret.put(first)
    tls = RedisTlsSettings(ca_file=secret.ca, cert_file=secret.cert, key_file=secret.key)
    async with redis_client.connect(RedisSettings(address="127.0.0.1:6379", tls=tls)) as redis:
        connection = redis.connection_pool.make_connection()

        def trusted() -> set[str]:
            known = connection._connection_arguments()["ssl"].get_ca_certs(binary_form=True)
            return {ssl.DER_cert_to_PEM_cert(one) for one in known}

        assert trusted() == {first.ca.read_text()}
        assert connection._connection_arguments()["ssl"] is connection._connection_arguments()["ssl"]
        secret.put(second)
        assert trusted() == {second.ca.read_text()}


@pytest.mark.parametrize("whose", ["ours", "public"])
async def test_an_authority_that_the_machine_trusts_is_no_authority_for_redis(tmp_path, monkeypatch, whose):
    """Public ones sign for anybody."""
    made = {name: pki.issue(tmp_path / name, "redis", server=True) for name in ("ours", "public")}
    monkeypatch.setenv("SSL_CERT_FILE", str(made["public"].ca))
    assert ssl.create_default_context().get_ca_certs(), "the machine trusts it"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made[whose].cert, made[whose].key)
    asked = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            asked.set()
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    tls = RedisTlsSettings(ca_file=made["ours"].ca)
    async with listening, redis_client.connect(RedisSettings(address=address, tls=tls)) as redis:
        with pytest.raises(RedisError):
            await redis.ping()
    assert asked.is_set() is (whose == "ours")


def test_the_database_is_reached_with_what_is_new(secret, made):
    first, second = made
    secret.put(first)
    context = database._tls(client(secret))

    def authorities() -> int:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
        return len(context.get_ca_certs())

    assert authorities() == 1
    secret.put(second)
    # The one that was trusted stays so until the process ends.
    assert authorities() == 2


@pytest.mark.parametrize(
    ("which", "content", "why"),
    [
        ("ca", "nothing", "is no certificate in PEM"),
        ("cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is no certificate in PEM"),
        ("key", "nothing", "is no key in PEM without a password"),
        ("key", None, "No such file"),
    ],
)
def test_what_cannot_be_read_is_an_error_at_the_start_and_keeps_the_old_one_later(
    tmp_path, made, log, which, content, why
):
    good = made[0]
    files = TlsFiles("etcd.tls", ca=good.ca, cert=good.cert, key=good.key)
    before = files.material
    file = getattr(good, which)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=rf"etcd\.tls: .*{file.name}.*") as error:
        TlsFiles("etcd.tls", ca=good.ca, cert=good.cert, key=good.key)
    assert why in str(error.value)
    assert files.material is before
    assert files.material is before
    assert [line["event"] for line in log] == ["certificate_not_taken"]


def test_files_that_were_touched_only_are_not_new(made):
    files = TlsFiles("tls", ca=made[0].ca, cert=None, key=None)
    before = files.material
    os.utime(made[0].ca, (1, 1))
    assert files.material is before


def test_files_are_looked_at_now_and_then_only(made, monkeypatch):
    monkeypatch.setattr(tlsfiles, "LOOK_S", 60.0)
    files = TlsFiles("tls", ca=made[0].ca, cert=made[0].cert, key=made[0].key)
    before = files.material
    for name in ("ca", "cert", "key"):
        shutil.copy(getattr(made[1], name), getattr(made[0], name))
    assert files.material is before
    files.look()
    assert files.material is not before


def test_when_what_is_in_use_expires_is_a_metric(tmp_path):
    files = pki.issue(tmp_path, "edge", server=True)
    registry = CollectorRegistry()
    registry.register(Expiries([TlsFiles("tls", ca=files.ca, cert=files.cert, key=files.key)]))
    name = "signalbox_certificate_expiry_timestamp_seconds"
    days = {
        which: (registry.get_sample_value(name, {"file": str(file)}) - time.time()) / 86_400
        for which, file in (("ca", files.ca), ("cert", files.cert))
    }
    assert days == {
        "ca": pytest.approx(pki.AUTHORITY_DAYS, abs=1),
        "cert": pytest.approx(pki.CERTIFICATE_DAYS, abs=1),
    }
