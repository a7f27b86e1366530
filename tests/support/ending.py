"""Proxies with their sidecars over one redis, and answered calls through them that are ended from outside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge.dialogs import operation
from signalbox.edge.door import SOCKET
from signalbox.edge.main import Sidecar
from signalbox.eventrow import Row
from signalbox.process import Supervisor
from signalbox.settings import RedisSettings

from support.kamailio import CLUSTER_KEY, TOKEN, Kamailio
from support.routing_fake import RoutingFake, dial
from support.sip_agent import Agent, Call, Message, connect
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from signalbox.edge.dialogs import Operation

    from support.redis import RedisServer

HOSTS = ("127.0.0.41", "127.0.0.42")


class Site:
    """Proxies with their sidecars, one routing service, one redis."""

    def __init__(self, proxies: list[Kamailio], routing: RoutingFake, redis: RedisServer, directory: Path) -> None:
        self.proxies = proxies
        self.routing = routing
        self.redis = RedisSettings(address=redis.address, timeout_ms=500)
        self._directory = directory
        self._running: dict[int, tuple[Sidecar, Supervisor, asyncio.Task[None]]] = {}

    async def start(self, n: int = 0) -> Sidecar:
        """The sidecar of a proxy."""
        proxy, state = self.proxies[n], self._directory / f"state-{n}"
        state.mkdir(exist_ok=True)
        (state / "token").write_text(TOKEN)
        changes = {"routing": [self.routing.address], "state_dir": state, "token_file": state / "token"}
        sidecar, supervisor = (
            Sidecar(proxy.settings.model_copy(update=changes), self.redis, CollectorRegistry()),
            Supervisor(),
        )
        self._running[n] = sidecar, supervisor, asyncio.create_task(sidecar.run(supervisor))
        await until(lambda: sidecar.pool.healthy and sidecar.applier.in_step, timeout_s=25)
        return sidecar

    async def stop(self, n: int = 0) -> None:
        """End a sidecar."""
        _, supervisor, task = self._running.pop(n)
        supervisor.stopping.set()
        await asyncio.wait_for(task, 10)
        assert not supervisor.failed

    async def stop_all(self) -> None:
        """End all that run."""
        for n in list(self._running):
            await self.stop(n)


@pytest.fixture
def proxies() -> Iterator[list[Kamailio]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Kamailio(id=f"edge-{n}", host=host)) for n, host in enumerate(HOSTS, 1)]


@pytest.fixture
async def site(proxies: list[Kamailio], redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Site]:
    async with RoutingFake() as routing:
        routing.push(
            pb.WatchEdgeResponse(
                version="v1",
                trunks=[pb.EdgeTrunk(id="carrier-a", source_addresses=["127.0.0.0/8"])],
                peers=[pb.Edge(id=p.settings.id, advertised_addresses=[f"{p.host}:{p.port}"]) for p in proxies],
            )
        )
        site = Site(proxies, routing, redis_server, tmp_path)
        yield site
        await site.stop_all()


def _sender(request: Message) -> tuple[str, int]:
    """The proxy that a request came from, which need not be the one that the call was set up through."""
    host, _, port = request.get("Via").split()[1].partition(";")[0].partition(":")
    return host, int(port)


def id_of(invite: Message) -> str:
    """Our id of the call that an INVITE to a line is of."""
    found: str = re.findall(r";sb=([^;>]+)", " ".join(invite.all("Record-Route")))[-1]
    return found


class Talk:
    """An answered call between two agents."""

    def __init__(self, caller: Agent, line: Agent, call: Call, invite: Message) -> None:
        self.caller, self.line, self.call, self.invite = caller, line, call, invite
        self.dialog = line.dialog(invite)
        self.id = id_of(invite)

    def close(self) -> None:
        """Close the sockets."""
        self.caller.close()
        self.line.close()

    async def both_hung_up(self, within: float = 3.0) -> None:
        """Both get one BYE that fits what they know of the dialog, and say yes."""
        for agent, own in ((self.caller, self.call), (self.line, self.dialog)):
            bye = await agent.expect("BYE", within=within)
            agent.send(agent.reply(bye, 200), _sender(bye))
            assert bye.uri == f"sip:{'agent' if agent is self.caller else 'line'}@{agent.host}:{agent.port}"
            assert bye.get("Call-ID") == own.call_id
            assert bye.get("To") == own.local
            assert bye.get("From") == own.remote
            assert not bye.all("X-Signalbox-End")
            assert not bye.all("Route")

    def byes(self) -> list[list[int]]:
        """CSeq numbers of the BYEs that caller and line got, one for each transaction."""
        return [
            sorted({int(m.get("CSeq").split()[0]) for m in agent.seen if m.method == "BYE" and not m.code})
            for agent in (self.caller, self.line)
        ]


def decide(site: Site, port: int, *, longest_s: int = 0, transport: str = "udp") -> None:
    uri = f"sip:1001@127.0.0.1:{port};transport={transport}"
    branch = pb.Branch(uri=uri, destination=f"sip:127.0.0.1:{port};transport={transport}", line="line-a")
    stage = pb.Stage(branches=[branch], ring_time_ms=30_000)
    site.routing.behaviour.decide = lambda request: dial(
        dial=pb.Dial(stages=[stage], media=2, max_duration_s=longest_s), fingerprint=0
    )


async def talk(site: Site, *, longest_s: int = 0, n: int = 0) -> Talk:
    """Set a call up through the n-th proxy."""
    proxy = site.proxies[n]
    caller, line = [await Agent((proxy.host, proxy.port)).start() for _ in range(2)]
    decide(site, line.port, longest_s=longest_s)
    call, invite = await connect(caller, line)
    return Talk(caller, line, call, invite)


async def hang_up(site: Site, call_id: str, n: int = 0) -> tuple[int, dict[str, Any]]:
    """POST to the door of the n-th sidecar."""
    connector = aiohttp.UnixConnector(path=str(site.proxies[n].directory / SOCKET))
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.post(f"http://edge/calls/{call_id}/hangup") as response,
    ):
        return response.status, await response.json()


async def known(sidecar: Sidecar) -> None:
    """Wait until redis knows what was written so far."""
    await until(lambda: sidecar.journal.sequence > 0 and not sidecar.follower.behind_bytes and not sidecar.ender.behind)


def due_call(n: int, agent: Agent, host: str, port: int, key: str = CLUSTER_KEY) -> Operation:
    """What redis is told of a call whose time is over; the agent is both its parties."""
    id, call_id, contact = f"edge-1-{int(time.time())}-1-{n}", f"due-{n}@h", f"<sip:{agent.host}:{agent.port}>"
    signed = hmac.digest(key.encode(), f"{id} 0.0 c {call_id}".encode(), "sha256")
    route = f"<sip:{host}:{port};lr;ftag=c;sb={id};mn=0.0;sg={base64.urlsafe_b64encode(signed)[:22].decode()}>"
    facts = (call_id, "<sip:c@h>;tag=c", "<sip:l@h>;tag=l", contact, contact, route)
    text = " ".join(["C", "line-a", "1", "1", "l", *(base64.b64encode(one.encode()).decode() for one in facts)])
    connected = operation(Row("", text, "1", "1.0", id, ""))
    assert connected is not None
    return connected
