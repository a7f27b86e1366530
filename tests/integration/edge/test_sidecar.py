"""The sidecar as a whole: readiness, metrics, secrets, wrong settings, SIGTERM."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.exposition import generate_latest
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge import beat, secrets
from signalbox.edge.main import Sidecar
from signalbox.errors import ConfigurationError
from signalbox.journal import read
from signalbox.settings import EdgeSettings, RedisSettings
from support.kamailio_fake import RouteSocket, question
from support.ports import free_port
from support.promises_fake import RecorderFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.kamailio_fake import KamailioFake
    from support.routing_fake import RoutingFake

    from tests.integration.edge.conftest import Edge

    Start = Callable[..., Awaitable[Edge]]


async def readiness(port: int) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status, await answer.json()


async def test_ready_means_proxy_in_step_and_somebody_to_ask(
    start_edge: Start, replicas: list[RoutingFake], kamailio: KamailioFake
) -> None:
    edge = await start_edge()
    status, facts = await readiness(edge.sidecar.metrics_port)
    assert (status, facts["in_step"], facts["snapshot_version"]) == (503, False, "")
    for fake in replicas:
        fake.push(pb.WatchEdgeResponse(version="v1"))
    await until(lambda: edge.sidecar.readiness()[0])
    status, facts = await readiness(edge.sidecar.metrics_port)
    assert status == 200
    assert facts["replicas"] == {fake.address: "ready" for fake in replicas}
    assert (facts["proxy_up"], facts["snapshot_version"], facts["open_questions"]) == (True, "v1", 0)
    kamailio.stop()
    await until(lambda: not edge.sidecar.readiness()[0])


async def test_the_sign_of_life_is_given_while_somebody_can_be_asked_and_the_proxy_has_a_media_node(
    start_edge: Start, replicas: list[RoutingFake], kamailio: KamailioFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat, "INTERVAL_S", 0.02)

    def beats() -> int:
        return kamailio.calls.count(("htable.seti", "health", "alive", 1))

    async def falls_silent() -> None:
        """The proxy forgets it by and by; here at once."""
        while kamailio.htables["health"]:
            kamailio.htables["health"].clear()
            await asyncio.sleep(0.1)

    edge = await start_edge()
    await until(lambda: kamailio.htables["health"] == {"alive": 1})
    kamailio.refuse.add("htable.seti")
    before = beats()
    await until(lambda: beats() > before + 2)
    kamailio.refuse.clear()
    kamailio.refuse.add("rtpengine.reload")
    node = pb.MediaNode(number=1, control_address="udp:127.0.0.1:22001", healthy=True)
    for fake in replicas:
        fake.push(pb.WatchEdgeResponse(version="v1", media_nodes=[node]))
    await asyncio.wait_for(falls_silent(), 10)
    assert edge.sidecar.pool.healthy
    kamailio.refuse.clear()
    await until(lambda: kamailio.htables["health"] == {"alive": 1})
    for fake in replicas:
        await fake.stop()
    await asyncio.wait_for(falls_silent(), 10)
    for fake in replicas:
        await fake.start()
    await until(lambda: kamailio.htables["health"] == {"alive": 1})


async def test_metrics_tell_what_happened(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    await edge.answer(question())
    edge.ask(b"nonsense")
    await until(lambda: edge.stats.unreadable == 1)
    text = generate_latest(edge.registry).decode()
    for line in (
        "signalbox_edge_questions_total 2.0",
        "signalbox_edge_unreadable_total 1.0",
        'signalbox_edge_answers_total{source="routing"} 1.0',
        'signalbox_edge_answer_seconds_bucket{le="+Inf"} 1.0',
        "signalbox_edge_answer_seconds_count 1.0",
        "signalbox_edge_journal_sequence 0.0",
        'signalbox_edge_orders{state="waiting"} 0.0',
        'signalbox_edge_orders{state="refused"} 0.0',
        f'signalbox_edge_replica_state{{replica="{replicas[0].address}",state="ready"}} 1.0',
    ):
        assert line in text.splitlines()


async def test_event_rows_land_in_the_journal(start_edge: Start, tmp_path: Path) -> None:
    edge = await start_edge()
    (tmp_path / "events" / "events_1.log").write_bytes(b"a\nb\n")
    await until(lambda: edge.sidecar.journal.sequence == 2)
    await edge.stop()
    assert list(read(tmp_path / "state" / "journal")) == [(1, b"a"), (2, b"b")]


async def test_recorders_are_told_of_recordings_that_are_promised(start_edge: Start, tmp_path: Path) -> None:
    async with RecorderFake() as recorder:
        edge = await start_edge(recorders=[recorder.address])
        row = "INVITE|a|b|id@host||S line-a 7 acme 4001234567 a b - - |1795318705|1795318705.386123|call-1|"
        (tmp_path / "events" / "events_1.log").write_text(f"{row}\n")
        await until(lambda: bool(recorder.promises))
        assert [(one.proxy, one.facts.call_id) for one in recorder.promises] == [("edge-1", "call-1")]
        await until(lambda: edge.sidecar.promises.behind == 0)
        lines = generate_latest(edge.registry).decode().splitlines()
        assert "signalbox_edge_promises_told 1.0" in lines
        assert "signalbox_edge_promises_behind 0.0" in lines
        assert "signalbox_edge_promises_given_up 0.0" in lines


def test_the_token_is_made_once_and_only_for_us(tmp_path: Path) -> None:
    settings = EdgeSettings(token_file=tmp_path / "deep" / "token")
    made = secrets.token(settings)
    assert len(made) >= 32
    assert secrets.token(settings) == made
    assert settings.token_file.stat().st_mode & 0o777 == 0o600


def test_the_clusters_keys_are_never_made_here(tmp_path: Path) -> None:
    settings = EdgeSettings(cluster_key_file=tmp_path / "cluster.key")
    with pytest.raises(ConfigurationError, match=r"edge\.cluster_key_file: .*cluster\.key does not exist"):
        secrets.cluster_keys(settings)
    settings.cluster_key_file.write_text("a-key-of-the-cluster\n")
    assert secrets.cluster_keys(settings) == ("a-key-of-the-cluster",)


def test_the_clusters_keys_are_one_a_line(tmp_path: Path) -> None:
    settings = EdgeSettings(cluster_key_file=tmp_path / "cluster.key")
    settings.cluster_key_file.write_text("the-key-that-signs\nthe-key-before\n\n")
    assert secrets.cluster_keys(settings) == ("the-key-that-signs", "the-key-before")


@pytest.mark.parametrize("value", ["0.0.0.0:9007", "192.0.2.1:9007", "localhost:9007"])
def test_only_loopback_addresses_are_taken(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"edge\.ask_listen"):
        Sidecar(EdgeSettings(ask_listen=value), RedisSettings())


async def test_replicas_are_found_by_name(start_edge: Start, replicas: list[RoutingFake]) -> None:
    port = replicas[0].address.rpartition(":")[2]
    edge = await start_edge(routing=[f"dns:127.0.0.1:{port}", "dns:no-such-name.invalid:7410"], ready=1)
    assert f"ipv4:127.0.0.1:{port}" in edge.states()
    assert (await edge.answer(question()))["by"] == "routing"


async def test_sigterm_ends_the_process_with_0_after_the_answers(
    tmp_path: Path, replicas: list[RoutingFake], kamailio: KamailioFake
) -> None:
    for fake in replicas:
        fake.behaviour.delay_s = 0.05
    proxy = await RouteSocket.open()
    ask = ("127.0.0.1", free_port())
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "SIGNALBOX_EDGE__ASK_LISTEN": f"{ask[0]}:{ask[1]}",
        "SIGNALBOX_EDGE__ROUTING": json.dumps([fake.address for fake in replicas]),
        "SIGNALBOX_EDGE__STATE_DIR": str(tmp_path / "state"),
        "SIGNALBOX_EDGE__TOKEN_FILE": str(tmp_path / "token"),
        "SIGNALBOX_EDGE__KAMAILIO__ROUTE_LISTEN": proxy.address,
        "SIGNALBOX_EDGE__KAMAILIO__RUNTIME_DIR": str(kamailio.runtime_dir),
        "SIGNALBOX_EDGE__KAMAILIO__EVENT_DIR": str(tmp_path / "events"),
    }
    program = "from signalbox.settings import load; from signalbox.edge.main import serve; serve(load())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stderr=subprocess.PIPE
    )
    try:
        asked = 0
        async with asyncio.timeout(20):
            while not proxy.routes:
                proxy.ask(ask, question(1, 1))
                asked += 1
                await asyncio.sleep(0.1)
        taken = sum(len(fake.questions) for fake in replicas)
        for number in range(20):
            proxy.ask(ask, question(100 + number, 1))
        await until(lambda: sum(len(fake.questions) for fake in replicas) >= taken + 20)
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        proxy.close()
    assert process.returncode == 0, errors.decode()
    assert {route.index for route in proxy.routes} >= set(range(100, 120))
    assert not (kamailio.runtime_dir / "rpc-edge.sock").exists()
