"""What is reported of the calls of a real rtpengine: they live, they are dead, or nothing that cannot be known."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox.media.lister import Lister
from signalbox.media.metrics import MediaMetrics
from signalbox.media.reporter import Reporter
from signalbox.media.watcher import Watcher
from signalbox.ng import NgClient, NgError, NgUnreachableError
from signalbox.settings import ClientTlsSettings, MediaSettings
from support.redis import RedisServer, redis_server
from support.routing_fake import RoutingFake
from support.rtpengine import STRICT, Rtpengine, media_address, ng_client, rtpengine, sdp
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["ng_client", "redis_server", "rtpengine"]

DEAD_S = 2
SLACK_S = 2.0
"""Twice a sixth of the time until the next list, whole seconds of rtpengine's clock, and a busy machine."""


class Watching:
    """A watcher over an rtpengine, and replicas that keep what they are told."""

    def __init__(self, node: Rtpengine, *replicas: RoutingFake, held_s: int = 60) -> None:
        self.node = node
        self.replicas = replicas
        self.registry = CollectorRegistry()
        self.number = 7
        self._settings = MediaSettings(control=node.control, dead_after_s=DEAD_S, held_dead_after_s=held_s)

    async def __aenter__(self) -> Watching:
        metrics = MediaMetrics(self.registry)
        self._client = await NgClient.connect(self.node.control)
        self._reporter = Reporter([replica.address for replica in self.replicas], ClientTlsSettings(), metrics)
        lister = Lister(self.node.control)
        watcher = Watcher(self._settings, self._client, lister, self._reporter, metrics, lambda: self.number)
        self._task = asyncio.create_task(watcher.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._client.close()
        await self._reporter.close()

    def alive(self, id: str) -> int:
        """How often a call was told to be alive."""
        return sum(r.call_id == id and r.alive for replica in self.replicas for r in replica.reports)

    def dead(self) -> set[str]:
        """Calls that were told to be dead."""
        return {r.call_id for replica in self.replicas for r in replica.reports if r.media_timeout == 7}


@pytest.fixture
async def routing() -> AsyncIterator[RoutingFake]:
    async with RoutingFake() as fake:
        yield fake


@pytest.fixture
async def watching(rtpengine: Rtpengine, routing: RoutingFake) -> AsyncIterator[Watching]:
    async with Watching(rtpengine, routing) as running:
        yield running


class Talk:
    """A call whose sides send RTP for as long as they are told to."""

    def __init__(self, client: NgClient, id: str) -> None:
        self.id = id
        self._client = client
        self._sides = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for side in self._sides:
            side.bind(("127.0.0.1", 0))
        self._targets: list[tuple[str, int]] = []
        self._talking: asyncio.Task[None] | None = None

    async def connect(self, direction: str = "sendrecv", host: str = "127.0.0.1") -> Talk:
        """Offer and answer; again: a re-INVITE. ``direction`` is of the caller, ``host`` where it wants its RTP."""
        reverse = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)
        (_, caller), (line_host, line) = (side.getsockname() for side in self._sides)
        call = {"call-id": self.id, "from-tag": "caller", "flags": STRICT, "ICE": "remove"}
        offered = sdp(host, caller) + f"a={direction}\r\n"
        offer = await self._client.request("offer", {**call, "sdp": offered})
        answered = sdp(line_host, line) + f"a={reverse}\r\n"
        answer = await self._client.request("answer", {**call, "to-tag": "line", "sdp": answered})
        if not self._targets:
            self._targets = [media_address(str(reply["sdp"])) for reply in (answer, offer)]
        return self

    def talk(self, *sides: int) -> None:
        """Send RTP from these sides, and from no other."""
        self.hush()
        self._talking = asyncio.create_task(self._talk(sides))

    def hush(self) -> None:
        """Send nothing any more."""
        if self._talking is not None:
            self._talking.cancel()

    def close(self) -> None:
        self.hush()
        for side in self._sides:
            side.close()

    async def _talk(self, sides: tuple[int, ...]) -> None:
        for number in range(1 << 16):
            packet = struct.pack("!BBHII", 0x80, 8, number, number * 160, 1) + bytes(160)
            for side in sides:
                self._sides[side].sendto(packet, self._targets[side])
            await asyncio.sleep(0.05)


@pytest.fixture
async def talk(ng_client: NgClient) -> AsyncIterator[Talk]:
    made = Talk(ng_client, "call-1")
    yield await made.connect()
    made.close()


async def for_a_while(watching: Watching, id: str = "call-1") -> None:
    """Long enough for a call to be found dead."""
    told = watching.alive(id)
    await asyncio.sleep(DEAD_S + SLACK_S)
    assert watching.dead() == set()
    assert watching.alive(id) > told


@pytest.mark.parametrize("sides", [(0, 1), (0,), (1,)], ids=["both", "caller", "line"])
async def test_a_call_lives_while_anybody_is_heard(watching: Watching, talk: Talk, sides: tuple[int, ...]) -> None:
    talk.talk(*sides)
    await for_a_while(watching)


async def test_a_call_in_which_nobody_is_heard_any_more_is_dead(watching: Watching, talk: Talk) -> None:
    talk.talk(0, 1)
    await until(lambda: watching.alive("call-1") > 0)
    talk.hush()
    begun = time.monotonic()
    await until(lambda: watching.dead() == {"call-1"})
    assert DEAD_S - 1 <= time.monotonic() - begun < DEAD_S + SLACK_S
    # Told again and again until somebody has ended it.
    count = len(watching.replicas[0].reports)
    await until(lambda: len(watching.replicas[0].reports) > count)
    assert watching.registry.get_sample_value("signalbox_media_dead_calls") == 1


async def test_a_call_in_which_nobody_was_ever_heard_is_dead(watching: Watching, talk: Talk) -> None:
    await until(lambda: watching.dead() == {"call-1"})


@pytest.mark.parametrize(
    ("direction", "host"),
    [("inactive", "127.0.0.1"), ("sendonly", "127.0.0.1"), ("recvonly", "127.0.0.1"), ("sendrecv", "0.0.0.0")],
)
async def test_a_call_on_hold_is_not_dead(watching: Watching, talk: Talk, direction: str, host: str) -> None:
    """RFC 3264 section 8.4, and as RFC 2543 had it."""
    talk.talk(0, 1)
    await talk.connect(direction, host)
    talk.hush()
    await for_a_while(watching)
    await talk.connect()
    await until(lambda: watching.dead() == {"call-1"})


async def test_hold_has_an_end_too(rtpengine: Rtpengine, routing: RoutingFake, talk: Talk) -> None:
    await talk.connect("inactive")
    async with Watching(rtpengine, routing, held_s=4) as watching:
        await asyncio.sleep(3)
        assert watching.dead() == set()
        await until(lambda: watching.dead() == {"call-1"})


async def test_a_call_that_rings_is_not_dead(watching: Watching, ng_client: NgClient) -> None:
    call = {"call-id": "call-1", "from-tag": "caller", "ICE": "remove", "sdp": sdp("127.0.0.1", 9000)}
    await ng_client.request("offer", call)
    await for_a_while(watching)


async def test_a_dead_call_that_nobody_ends_gives_its_ports_back(
    rtpengine: Rtpengine, routing: RoutingFake, talk: Talk, ng_client: NgClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.watcher.ENDING_S", 1)
    async with Watching(rtpengine, routing) as watching:
        await until(lambda: watching.dead() == {"call-1"})
        assert await ng_client.calls() == 1
        async with asyncio.timeout(5):
            while await ng_client.calls():  # noqa: ASYNC110, only asking tells
                await asyncio.sleep(0.05)


async def test_a_call_that_was_ended_is_forgotten(watching: Watching, talk: Talk, ng_client: NgClient) -> None:
    await until(lambda: watching.alive("call-1") > 0)
    await ng_client.request("delete", {"call-id": "call-1", "from-tag": "caller"})
    await asyncio.sleep(DEAD_S + SLACK_S)
    assert watching.dead() == set()


async def test_more_calls_than_fit_a_datagram(tmp_path: Path, routing: RoutingFake) -> None:
    ids = [f"{'proxy' * 20}-1795318705-{n}-12345678"[-128:] for n in range(600)]
    assert sum(map(len, ids)) > 1 << 16
    node = Rtpengine(tmp_path / "rtpengine", ports=4 * len(ids) + 100).start()
    client = await NgClient.connect(node.control)
    try:
        for id in ids:
            call = {"call-id": id, "from-tag": "caller", "ICE": "remove", "sdp": sdp("127.0.0.1", 9000)}
            await client.request("offer", call)
        async with Watching(node, routing) as watching:
            await until(lambda: all(watching.alive(id) for id in ids))
    finally:
        client.close()
        node.stop()


async def test_calls_of_an_rtpengine_that_came_back_without_them_are_dead(
    watching: Watching, talk: Talk, rtpengine: Rtpengine
) -> None:
    talk.talk(0, 1)
    await until(lambda: watching.alive("call-1") > 0)
    rtpengine.kill()
    killed = time.monotonic()
    rtpengine.restart()
    await until(lambda: watching.dead() == {"call-1"})
    assert time.monotonic() - killed > DEAD_S


async def test_calls_of_an_rtpengine_that_stays_away_are_dead(
    watching: Watching, talk: Talk, rtpengine: Rtpengine
) -> None:
    await until(lambda: watching.alive("call-1") > 0)
    rtpengine.kill()
    await until(lambda: watching.dead() == {"call-1"})


async def test_an_rtpengine_that_answers_has_its_calls_though_its_list_cannot_be_had(
    watching: Watching, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: Lister) -> frozenset[str]:
        raise NgUnreachableError("closed")

    await until(lambda: watching.alive("call-1") > 0)
    monkeypatch.setattr(Lister, "calls", refused)
    await asyncio.sleep(DEAD_S + SLACK_S)
    assert watching.dead() == set()


async def test_calls_that_an_rtpengine_has_again_live_on(
    tmp_path: Path, redis_server: RedisServer, routing: RoutingFake
) -> None:
    node = Rtpengine(tmp_path / "rtpengine", redis=f"{redis_server.address}/1").start()
    client = await NgClient.connect(node.control)
    talk = await Talk(client, "call-1").connect()
    try:
        talk.talk(0, 1)
        async with Watching(node, routing) as watching:
            await until(lambda: watching.alive("call-1") > 0)
            node.kill()
            node.restart()
            await for_a_while(watching)
    finally:
        talk.close()
        client.close()
        node.stop()


async def test_of_a_frozen_rtpengine_nothing_is_known(watching: Watching, talk: Talk, rtpengine: Rtpengine) -> None:
    await until(lambda: watching.alive("call-1") > 0)
    rtpengine.pause()
    try:
        await asyncio.sleep(DEAD_S + SLACK_S)
        assert watching.dead() == set()
    finally:
        rtpengine.resume()
    await until(lambda: watching.dead() == {"call-1"}, 20)


async def test_an_rtpengine_that_goes_on_after_a_pause_has_no_dead_calls(
    watching: Watching, ng_client: NgClient, rtpengine: Rtpengine
) -> None:
    """It may answer before it has read the packets that wait."""
    talks = [await Talk(ng_client, f"talk-{n}").connect() for n in range(12)]
    for each in talks:
        each.talk(0, 1)
    try:
        for _ in range(3):
            told = {each.id: watching.alive(each.id) for each in talks}
            rtpengine.pause()
            await asyncio.sleep(DEAD_S + SLACK_S)
            rtpengine.resume()
            await until(lambda told=told: all(watching.alive(id) > count + 1 for id, count in told.items()), 20)
        assert watching.dead() == set()
    finally:
        for each in talks:
            each.close()


async def test_reports_go_to_another_replica_and_on_when_all_were_away(rtpengine: Rtpengine, talk: Talk) -> None:
    talk.talk(0, 1)
    async with RoutingFake() as first, RoutingFake() as second, Watching(rtpengine, first, second) as watching:
        await until(lambda: watching.alive("call-1") > 0)
        await first.stop()
        told = len(second.reports)
        await until(lambda: len(second.reports) > told)
        second.report_status = grpc.StatusCode.UNAVAILABLE
        talk.hush()
        refused = "signalbox_media_reports_refused_total"
        await asyncio.sleep(DEAD_S + SLACK_S)
        await until(lambda: (watching.registry.get_sample_value(refused) or 0) > 0)
        assert watching.dead() == set()
        second.report_status = None
        await until(lambda: watching.dead() == {"call-1"})


async def test_a_node_that_has_no_number_yet_reports_who_lives(watching: Watching, talk: Talk) -> None:
    watching.number = 0
    await until(lambda: watching.alive("call-1") > 0)
    await asyncio.sleep(DEAD_S + SLACK_S)
    assert not [report for report in watching.replicas[0].reports if not report.alive]
    watching.number = 7
    await until(lambda: watching.dead() == {"call-1"})


async def test_nobody_listens_where_it_is_asked() -> None:
    with pytest.raises(NgError, match="cannot be reached"):
        await Lister("127.0.0.1:9").calls()
