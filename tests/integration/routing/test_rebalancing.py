"""Clients spread over all replicas of a name, those too that come later, and no question fails for that."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.settings import ClientTlsSettings
from support.names import Names
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NAME = "replicas.test"
AGE_MS = 500
WAIT_S = 20.0


class Replica(routing_pb2_grpc.RoutingServiceServicer):
    """Says who it is."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.streams = 0

    async def Continue(self, request: Any, context: Any) -> Any:
        return routing_pb2.ContinueResponse(cursor=self.host)

    async def DecideStream(self, requests: Any, context: Any) -> Any:
        self.streams += 1
        async for _ in requests:
            yield routing_pb2.DecideStreamResponse(rule_revision=self.streams)


class Replicas:
    """Servers on one port of several addresses of loopback."""

    def __init__(self) -> None:
        self.port = free_port()
        self.running: dict[str, tuple[grpc.aio.Server, Replica]] = {}

    async def start(self, *hosts: str) -> None:
        for host in hosts:
            server, replica = grpc.aio.server(options=rpc.server_options(reuse_port=False)), Replica(host)
            routing_pb2_grpc.add_RoutingServiceServicer_to_server(replica, server)
            assert server.add_insecure_port(f"{host}:{self.port}") == self.port
            await server.start()
            self.running[host] = (server, replica)

    async def stop(self, *hosts: str, grace: float = 0.5) -> None:
        for host in hosts:
            server, _ = self.running.pop(host)
            await server.stop(grace)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    names = await Names.start()
    monkeypatch.setattr(rpc, "DNS_SERVER", names.address)
    monkeypatch.setattr(rpc, "CONNECTION_AGE_MS", AGE_MS)
    with contextlib.closing(names):
        yield names


@pytest.fixture
async def replicas(names: Names) -> AsyncIterator[Replicas]:
    replicas = Replicas()
    yield replicas
    await replicas.stop(*replicas.running, grace=0)


async def _asked(channel: grpc.aio.Channel, hosts: Sequence[str]) -> Counter[str]:
    """Ask until each of these and nobody else has answered 20 questions in a row; no question may fail."""
    stub = routing_pb2_grpc.RoutingServiceStub(channel)
    async with asyncio.timeout(WAIT_S):
        while True:
            found: Counter[str] = Counter()
            for _ in range(20):
                answer = await stub.Continue(routing_pb2.ContinueRequest(), wait_for_ready=True, timeout=5)
                found[answer.cursor] += 1
                await asyncio.sleep(0.01)
            if found.keys() == set(hosts):
                return found


async def test_replicas_that_come_later_get_their_part(names: Names, replicas: Replicas) -> None:
    two, four = ["127.0.0.11", "127.0.0.12"], ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"]
    names.addresses[NAME] = two
    await replicas.start(*two)
    async with rpc.channel(f"dns:{NAME}:{replicas.port}", ClientTlsSettings(), lasting=True) as channel:
        await _asked(channel, two)
        await replicas.start(*four[2:])
        names.addresses[NAME] = four
        shares = await _asked(channel, four)
        assert min(shares.values()) >= 3, shares
        names.addresses[NAME] = two
        await replicas.stop(*four[2:])
        await _asked(channel, two)


async def test_replicas_that_are_replaced_one_after_the_other_are_followed(names: Names, replicas: Replicas) -> None:
    names.addresses[NAME] = ["127.0.0.11", "127.0.0.12"]
    await replicas.start("127.0.0.11", "127.0.0.12")
    async with rpc.channel(f"dns:{NAME}:{replicas.port}", ClientTlsSettings(), lasting=True) as channel:
        await _asked(channel, names.addresses[NAME])
        for old, now in (("127.0.0.11", ["127.0.0.12"]), ("127.0.0.12", ["127.0.0.13"])):
            names.addresses[NAME] = now
            if now == ["127.0.0.13"]:
                await replicas.start("127.0.0.13")
            await replicas.stop(old)
            await _asked(channel, now)


async def test_a_stream_outlives_the_age_of_its_connection(names: Names, replicas: Replicas) -> None:
    names.addresses[NAME] = ["127.0.0.11"]
    await replicas.start("127.0.0.11")
    async with rpc.channel(f"dns:{NAME}:{replicas.port}", ClientTlsSettings(), lasting=True) as channel:
        stream = routing_pb2_grpc.RoutingServiceStub(channel).DecideStream()
        for _ in range(20):
            await stream.write(routing_pb2.DecideStreamRequest())
            assert (await stream.read()).rule_revision == 1
            await asyncio.sleep(AGE_MS / 1000 / 4)
        stream.cancel()
    assert names.asked > 0


@pytest.mark.parametrize("how", ["no such name", "a name without addresses"])
async def test_replicas_whose_name_has_lost_its_addresses_are_asked_on(
    names: Names, replicas: Replicas, how: str
) -> None:
    """None of them is ready any more: their rules are old, for etcd is away."""
    two = ["127.0.0.11", "127.0.0.12"]
    names.addresses[NAME] = two
    await replicas.start(*two)
    async with rpc.channel(f"dns:{NAME}:{replicas.port}", ClientTlsSettings(), lasting=True) as channel:
        await _asked(channel, two)
        if how == "no such name":
            del names.addresses[NAME]
        else:
            names.addresses[NAME] = []
        before = names.asked
        for _ in range(6):
            await _asked(channel, two)
        assert names.asked >= before + 2, "it was asked for again"
