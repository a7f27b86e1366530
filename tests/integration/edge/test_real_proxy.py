"""The edge beside a real Kamailio: what it writes is read, what it calls exists, no event row is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge import follower as follower_module
from signalbox.edge.main import Sidecar
from signalbox.journal import read
from signalbox.process import Supervisor
from signalbox.settings import RedisSettings
from signalbox_local import probes
from support.kamailio import TOKEN, Kamailio
from support.ports import free_address
from support.routing_fake import RoutingFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class FakeRtpengine(threading.Thread):
    """Answers pings of the ng protocol (bencode), so that the proxy takes it for alive; also while the loop is busy."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"udp:127.0.0.1:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        """Until an empty datagram comes."""
        while True:
            data, address = self._socket.recvfrom(65535)
            if not data:
                break
            self._socket.sendto(data.split(b" ", 1)[0] + b" d6:result4:ponge", address)

    def stop(self) -> None:
        """End the thread."""
        self._socket.sendto(b"", self._socket.getsockname())
        self.join()
        self._socket.close()


@pytest.fixture
def engines() -> Iterator[list[FakeRtpengine]]:
    made = [FakeRtpengine(), FakeRtpengine()]
    for engine in made:
        engine.start()
    yield made
    for engine in made:
        engine.stop()


@pytest.fixture
def proxy() -> Iterator[Kamailio]:
    with Kamailio(trunks=()) as running:
        running.rpc("htable.delete", "cfg", "version")
        yield running


@pytest.fixture
async def routing() -> AsyncIterator[RoutingFake]:
    async with RoutingFake() as fake:
        fake.behaviour.decide = lambda request: pb.Decision(
            reject=pb.Reject(code=404, phrase="Not Found"), why="number_unknown", fingerprint=4
        )
        yield fake


@pytest.fixture
async def sidecar(proxy: Kamailio, routing: RoutingFake, tmp_path: Path) -> AsyncIterator[Sidecar]:
    (tmp_path / "token").write_text(TOKEN)
    changes = {"routing": [routing.address], "state_dir": tmp_path / "state", "token_file": tmp_path / "token"}
    supervisor = Supervisor()
    redis = RedisSettings(address=free_address())
    running = Sidecar(proxy.settings.model_copy(update=changes), redis, CollectorRegistry())
    task = asyncio.create_task(running.run(supervisor))
    await until(lambda: running.pool.healthy)
    yield running
    supervisor.stopping.set()
    await task
    assert not supervisor.failed


def snapshot(version: str, engines: list[FakeRtpengine], **changes: object) -> pb.WatchEdgeResponse:
    values: dict[str, object] = {
        "trunks": [
            pb.EdgeTrunk(id="carrier-a", source_addresses=["127.0.0.0/8", "2001:db8::1"]),
            pb.EdgeTrunk(id="carrier-b", source_addresses=["198.51.100.7"], disabled=True),
        ],
        "peers": [pb.Edge(id="edge-2", advertised_addresses=["192.0.2.8:5060", "[2001:db8::2]:5060"])],
        "media_nodes": [
            pb.MediaNode(id=f"m{number}", number=number, control_address=engine.url, healthy=True)
            for number, engine in enumerate(engines, 1)
        ],
    }
    return pb.WatchEdgeResponse(version=version, **(values | changes))  # type: ignore[arg-type]


def shown(proxy: Kamailio) -> dict[tuple[int, str], bool]:
    """Whether each node is in use, by set and url."""
    nodes = proxy.rpc("rtpengine.show", "all")
    return {(node["set"], node["url"]): str(node["disabled"]) in ("0", "False") for node in nodes}


async def test_the_proxy_has_what_the_snapshot_says_and_again_after_its_restart(
    proxy: Kamailio, sidecar: Sidecar, routing: RoutingFake, engines: list[FakeRtpengine]
) -> None:
    ban = pb.Ban(address="203.0.113.9")
    ban.expire_time.FromMilliseconds(int((time.time() + 600) * 1000))
    routing.push(snapshot("v1", engines, bans=[ban]))

    def holds() -> bool:
        return routing.acks[-1:] == ["v1"] and sidecar.applier.in_step

    def check() -> None:
        subnets = proxy.rpc("permissions.subnetDump")
        assert [(e["group"], e["item"]["ip"], e["item"]["mask"], e["item"]["tag"]) for e in subnets] == [
            (1, "127.0.0.0", 8, "carrier-a")
        ]
        addresses = {(e["group"], e["item"]["ip"], e["item"]["tag"]) for e in proxy.rpc("permissions.addressDump")}
        assert addresses == {(1, "2001:db8::1", "carrier-a"), (2, "198.51.100.7", "carrier-b")}
        domains = {entry["domain"] for entry in proxy.rpc("domain.dump")["domains"]}
        assert domains == {"192.0.2.8", "2001:db8::2", "[2001:db8::2]"}
        assert shown(proxy) == {(number, engine.url): True for number, engine in enumerate(engines, 1)}
        assert proxy.rpc("htable.get", "cfg", "version")["item"]["value"] == "v1"
        assert proxy.rpc("htable.get", "ban", "203.0.113.9")["item"]["value"] == "cluster"

    await until(holds, timeout_s=25)
    check()
    proxy.kill(signal.SIGKILL)
    await until(lambda: not sidecar.applier.proxy_up)
    await asyncio.to_thread(proxy.start, marked=False)
    await until(lambda: sidecar.applier.in_step)
    check()


async def options(proxy: Kamailio) -> str:
    """What the proxy answers: "" for 200, else the status line."""
    try:
        await asyncio.to_thread(probes.sip, f"{proxy.host}:{proxy.port}")
    except probes.NotReadyError as error:
        return str(error)
    return ""


async def test_options_gets_503_soon_after_there_is_nobody_to_ask(
    proxy: Kamailio, sidecar: Sidecar, routing: RoutingFake
) -> None:
    async def becomes(status: str) -> None:
        async with asyncio.timeout(10):
            while await options(proxy) != status:  # noqa: ASYNC110, only asking tells
                await asyncio.sleep(0.1)

    routing.push(snapshot("v1", []))
    await until(lambda: routing.acks == ["v1"], timeout_s=25)
    await becomes("")
    await routing.stop()
    await becomes("SIP/2.0 503 Not Ready")
    assert proxy.rpc("htable.get", "cfg", "version")["item"]["value"] == "v1"
    await routing.start()
    await becomes("")


async def test_changes_within_one_second_all_arrive(proxy: Kamailio, sidecar: Sidecar, routing: RoutingFake) -> None:
    """Kamailio takes a table that is not a whole second newer for unchanged."""
    for number in range(1, 6):
        trunk = pb.EdgeTrunk(id=f"carrier-{number}", source_addresses=[f"192.0.2.{number}"])
        routing.push(snapshot(f"v{number}", [], trunks=[trunk]))
        await until(lambda number=number: routing.acks[-1:] == [f"v{number}"])  # type: ignore[misc]
        (entry,) = proxy.rpc("permissions.addressDump")
        assert entry["item"]["tag"] == f"carrier-{number}"


async def test_a_dead_node_is_off_within_a_second_and_back_when_it_answers(
    proxy: Kamailio, sidecar: Sidecar, routing: RoutingFake, engines: list[FakeRtpengine]
) -> None:
    routing.push(snapshot("v1", engines))
    await until(lambda: routing.acks == ["v1"], timeout_s=25)
    dead = snapshot("v2", engines)
    dead.media_nodes[0].healthy = False
    begun = time.monotonic()
    routing.push(dead)
    await until(lambda: not shown(proxy)[1, engines[0].url])
    assert time.monotonic() - begun < 1.0
    assert shown(proxy)[2, engines[1].url]
    assert sidecar.nodes.fit(1, 0) == (2, 0)
    routing.push(snapshot("v3", engines))
    await until(lambda: routing.acks[-1] == "v3")
    assert shown(proxy)[1, engines[0].url]


class Caller(asyncio.DatagramProtocol):
    """Sends INVITEs, acknowledges final replies."""

    def __init__(self) -> None:
        self.finals: dict[str, int] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def call(self, number: int, proxy: Kamailio) -> None:
        self.transport.sendto(self._request("INVITE", number, "", proxy), (proxy.host, proxy.port))

    def datagram_received(self, data: bytes, address: Any) -> None:
        lines = data.decode().split("\r\n")
        code = int(lines[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if code >= 200:
            number = int(headers["call-id"].partition("@")[0])
            self.finals[headers["call-id"]] = code
            to_tag = headers["to"].partition(";tag=")[2]
            self.transport.sendto(self._request("ACK", number, f";tag={to_tag}", None), address)

    def _request(self, method: str, number: int, to_tag: str, proxy: Kamailio | None) -> bytes:
        return (
            f"{method} sip:4001234567@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{number}\r\n"
            f"From: <sip:13800001234@127.0.0.1>;tag=t{number}\r\nTo: <sip:4001234567@127.0.0.1>{to_tag}\r\n"
            f"Call-ID: {number}@test\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:13800001234@{self.host}:{self.port}>\r\nContent-Length: 0\r\n\r\n"
        ).encode()


async def test_calls_are_decided_and_no_event_row_is_lost_while_files_are_rotated(
    proxy: Kamailio, sidecar: Sidecar, routing: RoutingFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "ROTATE_BYTES", 4_000)
    monkeypatch.setattr(follower_module, "ROTATE_CHECK_S", 0.1)
    monkeypatch.setattr(follower_module, "GRACE_S", 0.3)
    routing.push(snapshot("v1", []))
    await until(lambda: routing.acks == ["v1"])
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_datagram_endpoint(Caller, local_addr=("127.0.0.1", 0))
    removed: set[str] = set()
    seen: set[str] = set()
    calls = 0
    async with asyncio.timeout(40):
        while len(removed) < 8:
            for _ in range(5):
                calls += 1
                caller.call(calls, proxy)
            await asyncio.sleep(0.02)
            with contextlib.suppress(FileNotFoundError):
                names = {path.name for path in (proxy.directory / "events").iterdir()}
                removed |= seen - names
                seen |= {name for name in names if name.endswith(".aside")}
    await until(lambda: len(caller.finals) == calls)
    transport.close()
    assert set(caller.finals.values()) == {404}
    journal = tmp_path / "state" / "journal"

    def rows() -> list[tuple[int, bytes]]:
        return list(read(journal))

    await until(lambda: len(rows()) >= 3 * calls)
    assert [number for number, _ in rows()] == list(range(1, 3 * calls + 1)), "question, decision and end of each call"
    assert len({row for _, row in rows()}) == 3 * calls
