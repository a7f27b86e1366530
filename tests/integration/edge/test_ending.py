"""Calls that are ended from outside, with real proxies and a real redis: each party gets one BYE, for its dialog."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from signalbox import redis_client
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge.dialogs import Dialogs
from signalbox.edge.door import SOCKET
from signalbox.edge.main import Sidecar
from signalbox.process import Supervisor
from signalbox.settings import RedisSettings
from support.kamailio import TOKEN, Kamailio
from support.redis import RedisServer, redis_server
from support.routing_fake import RoutingFake, dial
from support.sip_agent import SDP, Agent, Call, Message
from support.sip_agent_tcp import TcpAgent
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["redis_server"]

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


class Talk:
    """An answered call between two agents."""

    def __init__(self, caller: Agent, line: Agent, call: Call, invite: Message) -> None:
        self.caller, self.line, self.call, self.invite = caller, line, call, invite
        self.dialog = line.dialog(invite)
        self.id = re.findall(r";sb=([^;>]+)", " ".join(invite.all("Record-Route")))[-1]

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
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
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


async def test_a_call_is_ended_when_it_is_as_long_as_it_may_be(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site, longest_s=2)
    begun = time.monotonic()
    await one.both_hung_up(within=6)
    assert 1.0 < time.monotonic() - begun < 5.0
    assert one.byes() == [[1], [2]]
    await until(lambda: sidecar.ender.ended == 1)
    events = await site.proxies[0].events_until(one.call, "hung_up")
    assert [(e.hung_up.party, e.hung_up.cause) for e in events if e.HasField("hung_up")] == [
        (3, 'Q.850;cause=31;text="Maximum Call Duration"')
    ]
    await asyncio.sleep(2)  # time for a second one, should there be any
    assert one.byes() == [[1], [2]]
    one.close()


async def test_after_requests_within_the_dialog_numbers_and_contacts_are_the_newest(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site)
    moved = await Agent(one.line.proxy).start()
    for sender, own, receiver in ((one.line, one.dialog, one.caller), (one.caller, one.call, one.line)):
        for method in ("INFO", "INVITE", "UPDATE"):
            if sender is one.line:
                own.cseq += 100
            sender.send(sender.in_dialog(own, method, body=SDP if method == "INVITE" else ""))
            request = await receiver.expect(method)
            answerer = moved if receiver is one.line and method == "UPDATE" else receiver
            receiver.send(answerer.reply(request, 200, body=SDP if method == "INVITE" else ""))
            await sender.expect(200, method=method)
            if method == "INVITE":
                sender.send(sender.in_dialog(own, "ACK"))
                await receiver.expect("ACK")
    await known(sidecar)
    result = asyncio.create_task(hang_up(site, one.id))
    bye = await moved.expect("BYE")
    assert (bye.get("CSeq"), bye.get("To")) == (f"{one.call.cseq + 1} BYE", one.dialog.local)
    moved.send(moved.reply(bye, 200))
    bye = await one.caller.expect("BYE")
    assert (bye.get("CSeq"), bye.get("To")) == (f"{one.dialog.cseq + 1} BYE", one.call.local)
    one.caller.send(one.caller.reply(bye, 481))
    assert await result == (200, {"call_id": one.id, "caller": 481, "line": 200})
    moved.close()
    one.close()


async def test_an_operator_ends_a_call_at_any_edge_even_if_the_proxy_that_took_it_is_gone(site: Site) -> None:
    first = await site.start(0)
    await site.start(1)
    one = await talk(site)
    await known(first)
    await site.stop(0)
    site.proxies[0].kill()
    assert (await hang_up(site, "edge-9-1-1-1", 1))[0] == 404
    result = asyncio.create_task(hang_up(site, one.id, 1))
    await one.both_hung_up()
    assert await result == (200, {"call_id": one.id, "caller": 200, "line": 200})
    assert (await hang_up(site, one.id, 1))[0] == 404
    events = await site.proxies[1].events_until(one.call, "hung_up")
    assert events[-1].hung_up.cause == 'Q.850;cause=31;text="Ended by the Operator"'
    one.close()


async def test_the_duration_holds_although_the_edge_that_saw_the_answer_is_gone(site: Site) -> None:
    first = await site.start(0)
    one = await talk(site, longest_s=4)
    await known(first)
    await site.stop(0)
    site.proxies[0].kill()
    await site.start(1)
    await one.both_hung_up(within=10)
    one.close()


async def test_what_happened_while_the_edge_was_away_is_taken_over(site: Site) -> None:
    await site.start()
    one = await talk(site, longest_s=4)
    await site.stop()
    await site.start()
    await one.both_hung_up(within=10)
    one.close()


async def test_edges_together_end_a_call_once(site: Site) -> None:
    await site.start(0)
    await site.start(1)
    talks = [await talk(site, longest_s=3, n=n % 2) for n in range(6)]
    await asyncio.gather(*(one.both_hung_up(within=8) for one in talks))
    await asyncio.sleep(1.5)  # time for a second one, should there be any
    assert [one.byes() for one in talks] == [[[1], [2]]] * 6
    for one in talks:
        one.close()


async def test_a_call_that_has_ended_is_not_ended_again(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site, longest_s=3)
    one.line.send(one.line.in_dialog(one.dialog, "BYE"))
    bye = await one.caller.expect("BYE")
    one.caller.send(one.caller.reply(bye, 200))
    await known(sidecar)
    assert (await hang_up(site, one.id))[0] == 404
    one.close()


async def test_without_redis_calls_go_on_and_when_it_is_back_they_are_known(
    site: Site, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = await site.start()
    redis_server.stop()
    one = await talk(site, longest_s=2)
    await until(lambda: sidecar.ender.behind > 0)
    assert (await hang_up(site, one.id))[0] == 503
    written: list[str] = []

    def told() -> bool:
        written.extend(capsys.readouterr())
        return "dialogs_unavailable" in "".join(written)

    await until(told)
    redis_server.start()
    await one.both_hung_up(within=10)
    one.close()


async def test_across_transports_and_other_proxies_the_route_sets_are_those_of_the_parties(site: Site) -> None:
    sidecar = await site.start()
    proxy = site.proxies[0]
    caller = await Agent((proxy.host, proxy.port)).start()
    line = await TcpAgent((proxy.host, proxy.port)).start()
    decide(site, line.port, transport="tcp")
    call = caller.call()
    caller.invite(call, headers=[f"Record-Route: <sip:{caller.host}:{caller.port};lr;near>"])
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    reply = await caller.expect(200)
    caller.answered(call, reply)
    assert len(call.routes) == 3, "one of another proxy, and two of ours, for two transports"
    call.routes = call.routes[1:]
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    await known(sidecar)
    call_id = re.findall(r";sb=([^;>]+)", " ".join(invite.all("Record-Route")))[-1]
    result = asyncio.create_task(hang_up(site, call_id))
    bye = await caller.expect("BYE")
    assert bye.all("Route") == [f"<sip:{caller.host}:{caller.port};lr;near>"]
    caller.send(caller.reply(bye, 200))
    bye = await line.expect("BYE")
    assert not bye.all("Route")
    line.send(line.reply(bye, 200))
    assert (await result)[1] == {"call_id": call_id, "caller": 200, "line": 200}
    caller.close()
    await line.stop()


async def test_a_stop_while_redis_is_asked_is_a_stop_at_whatever_moment_it_comes(redis_server: RedisServer) -> None:
    for turns in range(300):
        dialogs = Dialogs(redis_client.connect(RedisSettings(address=redis_server.address)), "test:")
        task = asyncio.create_task(dialogs.due(1, "max_duration"))
        for _ in range(turns % 30):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        await dialogs.close()
