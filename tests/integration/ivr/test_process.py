"""The worker as a process: with a real etcd, routing service, rtpengine and sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox import eventrow
from signalbox.address import split
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.journal import read
from signalbox.settings import EtcdSettings
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore
from signalbox_local.rtp_party import RtpParty, tone
from support import routing
from support.etcd import EtcdServer
from support.flows import graph
from support.ivr_media import sent_to
from support.ports import free_address, free_port
from support.program import Program
from support.routing import call, edge, put
from support.routing_process import RoutingProcess
from support.rtpengine import Rtpengine
from support.sip_agent import Agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from support.sip_agent import Call, Message

WAIT_S = 20.0
TTL_S = 2
MENU = graph(
    "ask",
    ask={"menu": {"prompt": "hello", "branches": [{"digits": "1", "next": "bye"}], "noInput": "bye", "noMatch": "bye"}},
    bye={"hangUp": {"cause": "HANG_UP_CAUSE_BUSY"}},
)
MENU.nodes[0].menu.timeout.seconds = 60


@dataclass
class Site:
    """What a worker needs, for all tests of the module."""

    directory: Path
    etcd: EtcdServer
    routing: RoutingProcess
    rtpengine: Rtpengine
    sidecar: Program

    def worker(self, name: str, **settings: Any) -> Program:
        """A worker, not started; ``sip`` of :func:`address_of` is where it listens."""
        given = {
            "ETCD__ENDPOINTS": [self.etcd.endpoint],
            "ETCD__REQUEST_TIMEOUT_S": 1,
            "IVR__ID": name,
            "IVR__LISTEN": free_address("127.0.0.8"),
            "IVR__ROUTING": [self.routing.address],
            "IVR__STATE_DIR": self.directory / name / "state",
            "IVR__LEASE_TTL_S": TTL_S,
            "OBJECTS__LOCATION": self.directory / "objects",
            **settings,
        }
        return Program("ivr", self.directory / name, given)

    @contextlib.asynccontextmanager
    async def running(self, name: str, **settings: Any) -> AsyncIterator[Program]:
        """A worker that takes calls."""
        worker = self.worker(name, **settings).start()
        try:
            await asyncio.to_thread(worker.wait_ready)
            yield worker
        finally:
            await asyncio.to_thread(worker.kill)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[EtcdStore]:
        store = EtcdStore.open(EtcdSettings(endpoints=[self.etcd.endpoint]))
        try:
            yield store
        finally:
            await store.close()

    async def entry(self, worker: Program) -> routing_pb2.VoiceWorker | None:
        """What the store has of a worker."""
        async with self.store() as store:
            found = await store.get(keys.live_voice(worker.settings["IVR__ID"]))
        return routing_pb2.VoiceWorker.FromString(found.value) if found else None

    async def until_entry(self, worker: Program, condition: Callable[[routing_pb2.VoiceWorker | None], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition(await self.entry(worker)):  # noqa: ASYNC110, only asking tells
                await asyncio.sleep(0.02)

    async def cursor(self) -> str:
        """Of a new call to the number whose flow is MENU."""
        async with grpc.aio.insecure_channel(self.routing.address) as channel:
            stub = routing_pb2_grpc.RoutingServiceStub(channel)
            async with asyncio.timeout(WAIT_S):
                while True:
                    decision = (await stub.Decide(call())).decision
                    if decision.HasField("dial"):
                        return decision.dial.stages[0].branches[0].cursor
                    await asyncio.sleep(0.05)


async def provision(endpoint: str) -> None:
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[endpoint])))
    flow = flows_pb2.Flow(tenant="acme", id="main", revisions=[flows_pb2.FlowRevision(number=1, graph=MENU)])
    number = routing.number(stages=[], flow="main")
    await put(store, types_pb2.Tenant(id="acme"), routing.trunk(), flow, types_pb2.Prompt(tenant="acme", id="hello"))
    await put(store, number, edge("edge-1", "127.0.0.1:5060"))
    await store.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    keys_address = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        etcd = EtcdServer(directory / "etcd").start()
        stack.callback(etcd.stop)
        rtpengine = Rtpengine(directory / "rtpengine", keys=keys_address).start()
        stack.callback(rtpengine.stop)
        asyncio.run(provision(etcd.endpoint))
        cursor_key = directory / "cursor.key"
        cursor_key.write_text("a secret")
        service = RoutingProcess(directory, etcd.endpoint, {"ROUTING__CURSOR_KEY_FILE": cursor_key}).start()
        stack.callback(service.stop)
        settings = {
            "ETCD__ENDPOINTS": [etcd.endpoint],
            "MEDIA__CONTROL": rtpengine.control,
            "MEDIA__LEASE_TTL_S": TTL_S,
            "MEDIA__DRAIN_S": 0,
            "MEDIA__ROUTING": [service.address],
            "MEDIA__VOICE__CACHE_DIR": directory / "audio",
            "MEDIA__VOICE__LISTEN": free_address(),
            "MEDIA__VOICE__KEYS_LISTEN": keys_address,
            "OBJECTS__LOCATION": directory / "objects",
        }
        sidecar = Program("media", directory / "media", settings).start()
        stack.callback(sidecar.kill)
        sidecar.wait_ready()
        service.wait_ready()
        yield Site(directory, etcd, service, rtpengine, sidecar)


@pytest.fixture
async def party() -> AsyncIterator[RtpParty]:
    async with RtpParty.open() as party:
        yield party


class Caller:
    """A caller, who sends what a proxy would send to the worker."""

    def __init__(self, agent: Agent, party: RtpParty) -> None:
        self.agent = agent
        self._party = party
        self.call: Call = agent.call()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, worker: Program, party: RtpParty) -> AsyncIterator[Caller]:
        agent = await Agent(split(worker.settings["IVR__LISTEN"])).start()
        try:
            yield cls(agent, party)
        finally:
            agent.close()

    async def refused(self, code: int, *headers: str) -> Message:
        """Call, and get that."""
        self.call = self.agent.call()
        self.agent.invite(self.call, headers=headers, body=self._party.description())
        reply = await self.agent.expect(code, within=WAIT_S)
        self.agent.ack_failure(self.call, reply)
        return reply

    async def answered(self, cursor: str) -> None:
        """Call, and talk to the menu."""
        headers = [f"X-Signalbox-Cursor: {cursor}", "X-Signalbox-Edge: edge-1"]
        self.agent.invite(self.call, headers=headers, body=self._party.description())
        reply = await self.agent.expect(200, within=WAIT_S)
        self.agent.answered(self.call, reply)
        self.agent.send(self.agent.in_dialog(self.call, "ACK"))
        self._party.talk_to(sent_to(reply.body), tone(300))

    async def press_until_hung_up(self, digit: str) -> Message:
        """The worker ends the call when it has the key."""
        ended = asyncio.create_task(self.agent.expect("BYE", within=WAIT_S))
        while not ended.done():
            await self._party.press(digit)
            await asyncio.wait([ended], timeout=0.3)
        return self.bye_taken(await ended)

    def bye_taken(self, bye: Message) -> Message:
        self.agent.send(self.agent.reply(bye, 200))
        return bye

    async def hang_up(self) -> None:
        self.agent.send(self.agent.in_dialog(self.call, "BYE"))
        await self.agent.expect(200, method="BYE", within=WAIT_S)


def events(worker: Program) -> list[str]:
    """What the worker's journal tells: kinds, with cause or outcome."""
    told = []
    for _, row in read(worker.directory / "state" / "journal"):
        event = eventrow.parse(row.decode())
        kind = event.WhichOneof("event")
        told.append(f"{kind} {event.flow_step.outcome or event.flow_ended.cause}")
    return told


async def test_it_registers_takes_a_call_and_ends_in_order(site: Site, party: RtpParty) -> None:
    async with site.running("whole", IVR__CAPACITY=7, IVR__TRANSPORT="tcp") as worker:
        sip, tcp = worker.settings["IVR__LISTEN"], types_pb2.SIP_TRANSPORT_TCP
        expected = routing_pb2.VoiceWorker(id="whole", sip_address=sip, capacity=7, transport=tcp)
        await site.until_entry(worker, lambda entry: entry == expected)
        assert worker.facts() == {
            "ready": True,
            "registered": True,
            "routing_reachable": True,
            "media_nodes": 1,
            "sidecars": 1,
            "calls": 0,
            "draining": False,
        }
        async with Caller.of(worker, party) as caller:
            await caller.answered(await site.cursor())
            await site.until_entry(worker, lambda entry: entry is not None and entry.calls == 1)
            metrics = (await asyncio.to_thread(worker.get, "metrics")).splitlines()
            assert "signalbox_ivr_calls 1.0" in metrics
            assert 'signalbox_ivr_sip_total{name="received"} 0.0' not in metrics
            assert 'signalbox_ivr_sip_total{name="timeouts"} 0.0' in metrics
            await caller.press_until_hung_up("1")
        await site.until_entry(worker, lambda entry: entry is not None and entry.calls == 0)
        worker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait) == 0
        assert await site.entry(worker) is None
        assert events(worker) == ["flow_step digits", "flow_ended flow"]


async def test_who_has_no_cursor_of_routing_is_refused_and_who_is_too_many(site: Site, party: RtpParty) -> None:
    async with site.running("strict", IVR__CAPACITY=1) as worker, Caller.of(worker, party) as caller:
        await caller.refused(403)
        await caller.refused(403, "X-Signalbox-Cursor: forged")
        caller.call = caller.agent.call()
        first = caller.call
        await caller.answered(await site.cursor())
        reply = await caller.refused(503, f"X-Signalbox-Cursor: {await site.cursor()}")
        assert reply.get("Retry-After") == "1"
        caller.call = first
        await caller.hang_up()
        metrics = await asyncio.to_thread(worker.get, "metrics")
        assert 'signalbox_ivr_invites_refused_total{why="no_cursor"} 1.0' in metrics
        assert 'signalbox_ivr_invites_refused_total{why="full"} 1.0' in metrics


async def test_it_runs_out_its_calls_and_takes_no_new_ones(site: Site, party: RtpParty) -> None:
    async with site.running("patient", IVR__DRAIN_S=60) as worker, Caller.of(worker, party) as caller:
        await caller.answered(await site.cursor())
        talking = caller.call
        worker.signal(signal.SIGTERM)
        await site.until_entry(worker, lambda entry: entry is not None and entry.draining)
        await asyncio.to_thread(worker.wait_ready, False)
        assert (await caller.refused(503, "X-Signalbox-Cursor: any")).get("Retry-After")
        caller.call = talking
        await caller.hang_up()
        assert await asyncio.to_thread(worker.wait) == 0
        assert events(worker) == ["flow_step ", "flow_ended caller"]


async def test_calls_that_last_too_long_are_ended_with_a_reason(site: Site, party: RtpParty) -> None:
    async with site.running("hasty", IVR__DRAIN_S=0.1) as worker, Caller.of(worker, party) as caller:
        await caller.answered(await site.cursor())
        worker.signal(signal.SIGTERM)
        bye = caller.bye_taken(await caller.agent.expect("BYE", within=WAIT_S))
        assert bye.get("Reason").startswith("SIP;cause=503")
        assert await asyncio.to_thread(worker.wait) == 0
        assert events(worker)[-1] == "flow_ended drained"


async def test_a_routing_replica_that_is_away_or_hangs_costs_no_call(
    site: Site, tmp_path: Path, party: RtpParty
) -> None:
    frozen = RoutingProcess(tmp_path, site.etcd.endpoint, site.routing.settings).start()
    try:
        await asyncio.to_thread(frozen.wait_ready)
        replicas = [free_address(), frozen.address, site.routing.address]
        async with site.running("careful", IVR__ROUTING=replicas) as worker:
            assert frozen._process is not None
            frozen._process.send_signal(signal.SIGSTOP)
            for _ in range(3):
                async with Caller.of(worker, party) as caller:
                    await caller.answered(await site.cursor())
                    await caller.press_until_hung_up("1")
            await asyncio.to_thread(worker.stop)
        assert events(worker) == ["flow_step digits", "flow_ended flow"] * 3
    finally:
        frozen._process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        await asyncio.to_thread(frozen.stop)


async def test_keys_reach_a_call_whose_sidecar_was_restarted(site: Site, party: RtpParty) -> None:
    async with site.running("heedful") as worker, Caller.of(worker, party) as caller:
        await caller.answered(await site.cursor())
        await asyncio.to_thread(site.sidecar.kill)
        # Longer than its entry lives, so that the node has left the cluster.
        await asyncio.sleep(TTL_S)
        await asyncio.to_thread(site.sidecar.start().wait_ready)
        await caller.press_until_hung_up("1")
        assert "signalbox_ivr_key_gaps_total 1.0" in await asyncio.to_thread(worker.get, "metrics")


async def test_a_store_that_is_away_ends_no_call_and_is_registered_with_again(site: Site, party: RtpParty) -> None:
    async with site.running("steady") as worker, Caller.of(worker, party) as caller:
        cursor = await site.cursor()
        await asyncio.to_thread(site.etcd.stop)
        try:
            await caller.answered(cursor)
            await asyncio.sleep(TTL_S)
            await caller.press_until_hung_up("1")
            assert "heartbeat_age_s" in await asyncio.to_thread(worker.get, "healthz")
        finally:
            await asyncio.to_thread(site.etcd.start)
        await asyncio.to_thread(worker.wait_ready)
        await site.until_entry(worker, lambda entry: entry is not None and not entry.draining)


async def test_a_worker_that_was_killed_begins_again_under_its_id(site: Site) -> None:
    async with site.running("again") as worker:
        await asyncio.to_thread(worker.kill)
        moved = site.worker("again").start()
        try:
            await asyncio.to_thread(moved.wait_ready)
            entry = await site.entry(moved)
            assert entry is not None
            assert entry.sip_address == moved.settings["IVR__LISTEN"]
        finally:
            await asyncio.to_thread(moved.kill)


async def test_an_id_that_another_worker_has_ends_the_start(site: Site, tmp_path: Path) -> None:
    async with site.running("taken") as worker:
        other = site.worker("taken", IVR__STATE_DIR=tmp_path)
        other.directory = tmp_path
        assert await asyncio.to_thread(other.start().wait) == 2
        assert "ivr.id: taken is the id of the worker at " in other.log.read_text()
        assert worker.facts()["ready"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"IVR__LISTEN": "worker.example:5060"}, "ivr.listen: 'worker.example:5060' must have an IP address"),
    ({"IVR__LISTEN": "0.0.0.0:5060"}, "needs an advertised address"),
    ({"IVR__ADVERTISE": "192.0.2.1:0"}, "ivr.advertise: '192.0.2.1:0' must end in a port"),
    ({"IVR__LISTEN": "192.0.2.1:5060"}, "sip udp 192.0.2.1:5060"),
    ({"IVR__STATE_DIR": "/proc/state"}, "ivr.state_dir: "),
    ({"IVR__ROUTING_TLS__CA_FILE": "/nowhere"}, "/nowhere"),
    ({"IVR__MESSAGES__SENDER": "http"}, "ivr.messages: url is needed"),
    ({"IVR__REQUESTS__ALLOWED_NETWORKS": ["10.0.0.0/99"]}, "ivr.requests.allowed_networks"),
]


async def test_a_wrong_setting_ends_the_process_with_2_and_is_named(site: Site) -> None:
    workers = [site.worker(f"wrong-{number}", **settings).start() for number, (settings, _) in enumerate(WRONG)]
    codes = await asyncio.gather(*(asyncio.to_thread(worker.wait) for worker in workers))
    assert codes == [2] * len(WRONG)
    for worker, (_, named) in zip(workers, WRONG, strict=True):
        assert named in worker.log.read_text()
