"""The sidecar as a process, with a real etcd and a real rtpengine."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from signalbox import rpc
from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.ng import NgClient
from signalbox.settings import ClientTlsSettings, EtcdSettings
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from support.capturing import RecordedCall
from support.etcd import EtcdServer, etcd_server, own_etcd
from support.ports import free_port
from support.provisioning import reason_of
from support.rtpengine import Rtpengine, rtpengine, sdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["etcd_server", "own_etcd", "rtpengine"]

TTL_S = 2
START = "from signalbox.media.main import serve; from signalbox.settings import load; serve(load())"


@dataclass
class Process:
    """One sidecar, set by environment variables."""

    directory: Path
    etcd: EtcdServer
    control: str
    advertise: str = ""
    name: str = "media-1"
    drain_s: float = 0.0
    spool: Path | None = None
    captures: str = "127.0.0.1:0"
    voice: Path | None = None
    """Its cache of audio."""
    voice_listen: str = "127.0.0.1:0"
    keys_listen: str = "127.0.0.1:0"
    metrics_port: int = field(default_factory=free_port)
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> Process:
        self.directory.mkdir(exist_ok=True)
        environment = {
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            "SIGNALBOX_ETCD__ENDPOINTS": json.dumps([self.etcd.endpoint]),
            "SIGNALBOX_ETCD__REQUEST_TIMEOUT_S": "1",
            "SIGNALBOX_MEDIA__ID": self.name,
            "SIGNALBOX_MEDIA__CONTROL": self.control,
            "SIGNALBOX_MEDIA__ADVERTISE_CONTROL": self.advertise or self.control,
            "SIGNALBOX_MEDIA__LEASE_TTL_S": str(TTL_S),
            "SIGNALBOX_MEDIA__DRAIN_S": str(self.drain_s),
            "SIGNALBOX_MEDIA__CAPTURES__SPOOL_DIR": str(self.spool or ""),
            "SIGNALBOX_MEDIA__CAPTURES__LISTEN": self.captures,
            "SIGNALBOX_MEDIA__CAPTURES__FREE_PERCENT": "0",
            "SIGNALBOX_MEDIA__CAPTURES__FREE_MB": "1",
            "SIGNALBOX_MEDIA__VOICE__CACHE_DIR": str(self.voice or ""),
            "SIGNALBOX_MEDIA__VOICE__LISTEN": self.voice_listen,
            "SIGNALBOX_MEDIA__VOICE__KEYS_LISTEN": self.keys_listen,
            # A bucket that nobody serves.
            "SIGNALBOX_OBJECTS__LOCATION": "s3://prompts",
            "SIGNALBOX_OBJECTS__S3__ENDPOINT": "http://127.0.0.1:9",
            "SIGNALBOX_MEDIA__METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}",
        }
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", START, env=environment, stderr=log
            )
        return self

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 20)

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=2) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError as error:
                return 0, str(error)

        return await asyncio.to_thread(fetch)

    async def until_ready(self, ready: bool = True) -> None:
        deadline = time.monotonic() + 20
        while (await self.get("/readyz"))[0] != (200 if ready else 503):
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.02)


@pytest.fixture
async def store(own_etcd: EtcdServer) -> AsyncIterator[EtcdStore]:
    opened = EtcdStore.open(EtcdSettings(endpoints=[own_etcd.endpoint]))
    yield opened
    await opened.close()


@pytest.fixture
async def sidecar(tmp_path: Path, own_etcd: EtcdServer, rtpengine: Rtpengine) -> AsyncIterator[Process]:
    process = await Process(tmp_path / "media", own_etcd, rtpengine.control).start()
    try:
        await process.until_ready()
        yield process
    finally:
        await process.kill()


async def node(store: EtcdStore, name: str = "media-1") -> routing_pb2.MediaNode | None:
    entry = await store.get(keys.live_media(name))
    return routing_pb2.MediaNode.FromString(entry.value) if entry else None


async def until(
    store: EtcdStore, condition: Callable[[routing_pb2.MediaNode | None], bool], timeout_s: float = 20
) -> float:
    """Wait until the node's entry is so; returns how long it took, seconds."""
    started = time.monotonic()
    while not condition(await node(store)):
        assert time.monotonic() < started + timeout_s, await node(store)
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def test_registration_and_metrics(sidecar: Process, store: EtcdStore) -> None:
    assert await node(store) == routing_pb2.MediaNode(
        id="media-1", number=1, control_address=f"udp:{sidecar.control}", capacity=1000, healthy=True
    )
    status, text = await sidecar.get("/metrics")
    assert status == 200
    for line in (
        "signalbox_media_rtpengine_healthy 1.0",
        "signalbox_media_registered 1.0",
        "signalbox_media_calls 0.0",
    ):
        assert line in text.splitlines()
    assert (await sidecar.get("/healthz"))[0] == 200


async def test_a_killed_rtpengine_is_excluded_within_a_second_and_returns(
    sidecar: Process, store: EtcdStore, rtpengine: Rtpengine
) -> None:
    rtpengine.kill()
    assert await until(store, lambda entry: entry is not None and not entry.healthy) < 1
    await sidecar.until_ready(False)
    rtpengine.restart()
    await until(store, lambda entry: entry is not None and entry.healthy)
    await sidecar.until_ready()


async def test_a_frozen_rtpengine_is_excluded_within_a_second(
    sidecar: Process, store: EtcdStore, rtpengine: Rtpengine
) -> None:
    rtpengine.pause()
    assert await until(store, lambda entry: entry is not None and not entry.healthy) < 1
    rtpengine.resume()
    await until(store, lambda entry: entry is not None and entry.healthy)


async def test_sigterm_drains_and_withdraws(tmp_path: Path, own_etcd: EtcdServer, rtpengine: Rtpengine, store) -> None:
    client = await NgClient.connect(rtpengine.control)
    process = await Process(tmp_path / "media", own_etcd, rtpengine.control, drain_s=60).start()
    try:
        await process.until_ready()
        call = {"call-id": "c", "from-tag": "f", "ICE": "remove"}
        await client.request("offer", {**call, "sdp": sdp("127.0.0.1", 9000)})
        process.signal(signal.SIGTERM)
        await until(store, lambda entry: entry is not None and entry.draining)
        await client.request("delete", call)
        assert await process.ended() == 0
        assert await node(store) is None
        assert (await store.get(keys.media_id("media-1"))) is not None
    finally:
        client.close()
        await process.kill()


async def test_a_killed_sidecar_is_forgotten_when_its_lease_ends(sidecar: Process, store: EtcdStore) -> None:
    await sidecar.kill()
    assert await node(store) is not None
    await until(store, lambda entry: entry is None)


async def test_etcd_away_and_back(sidecar: Process, store: EtcdStore, rtpengine: Rtpengine) -> None:
    """Away for longer than the lease lives: the sidecar goes on and registers again, with its number."""
    await asyncio.to_thread(sidecar.etcd.stop)
    rtpengine.kill()
    await sidecar.until_ready(False)
    rtpengine.restart()
    await asyncio.sleep(TTL_S)
    assert (await sidecar.get("/healthz"))[0] == 200
    await asyncio.to_thread(sidecar.etcd.start)
    await sidecar.until_ready()
    registered = await node(store)
    assert registered is not None
    assert registered.number == 1
    assert registered.healthy


async def test_etcd_away_at_the_start(tmp_path: Path, own_etcd: EtcdServer, rtpengine: Rtpengine) -> None:
    own_etcd.stop()
    process = await Process(tmp_path / "media", own_etcd, rtpengine.control).start()
    try:
        await process.until_ready(False)
        await asyncio.to_thread(own_etcd.start)
        await process.until_ready()
    finally:
        await process.kill()


async def test_a_node_that_captures_says_so_and_where(tmp_path: Path, own_etcd: EtcdServer, store: EtcdStore) -> None:
    """A capture that waits when the sidecar is stopped is there for the next one."""
    node_ = Rtpengine(tmp_path / "rtpengine", recording_dir=tmp_path / "spool").start()
    client = await NgClient.connect(node_.control)
    process = Process(tmp_path / "media", own_etcd, node_.control, spool=tmp_path / "spool")
    try:
        await process.start()
        await until(store, lambda entry: entry is not None and entry.records and bool(entry.captures_address))
        async with RecordedCall.open(client, "call-1") as call:
            await call.end()
        for _ in range(2):
            entry = await node(store)
            assert entry is not None
            async with rpc.channel(entry.captures_address, ClientTlsSettings()) as channel:
                stub: Any = recording_pb2_grpc.CaptureServiceStub(channel)
                claim = recording_pb2.ClaimCaptureRequest(recorder="r", lease_ms=1000, wait_ms=20_000)
                assert (await stub.ClaimCapture(claim)).capture.call_id == "call-1"
                waiting = asyncio.create_task(reason_of(stub.ClaimCapture(claim)))
                await asyncio.sleep(0.1)
                process.signal(signal.SIGTERM)
                assert await waiting in ("DRAINING", "OK")
            assert await process.ended() == 0
            await process.start()
            await until(store, lambda entry: entry is not None and entry.records)
        (tmp_path / "spool" / "pcaps").rename(tmp_path / "elsewhere")
        await until(store, lambda entry: entry is not None and not entry.records)
    finally:
        await process.kill()
        client.close()
        node_.stop()


async def test_a_node_that_speaks_says_where_whether_or_not_it_reaches_the_objects(
    tmp_path: Path, own_etcd: EtcdServer, store: EtcdStore, rtpengine: Rtpengine
) -> None:
    process = Process(tmp_path / "media", own_etcd, rtpengine.control, voice=tmp_path / "audio")
    try:
        await process.start()
        await process.until_ready()
        await until(store, lambda entry: entry is not None and bool(entry.voice_address))
        entry = await node(store)
        assert entry is not None
        async with rpc.channel(entry.voice_address, ClientTlsSettings()) as channel:
            watching = media_pb2_grpc.VoiceServiceStub(channel).WatchKeys(media_pb2.WatchKeysRequest(worker="ivr-1"))
            assert (await watching.read()).instance
            process.signal(signal.SIGTERM)
            assert await reason_of(watching.read()) == "DRAINING"
        assert await process.ended() == 0
    finally:
        await process.kill()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"voice_listen": "0.0.0.0:0"}, "media.voice.advertise: workers cannot connect"),
        ({"voice_listen": "192.0.2.1:1"}, "cannot listen on 192.0.2.1:1"),
        ({"keys_listen": "192.0.2.1:1"}, "media.voice.keys_listen: '192.0.2.1:1' must be a loopback address"),
        ({"voice": Path("/proc/audio")}, "media.voice.cache_dir: "),
    ],
)
async def test_a_voice_that_nobody_could_use_ends_the_process_with_2(
    tmp_path: Path, own_etcd: EtcdServer, settings: dict[str, Any], named: str
) -> None:
    given = {"voice": tmp_path / "audio", **settings}
    process = await Process(tmp_path / "media", own_etcd, "127.0.0.1:2223", **given).start()
    assert await process.ended() == 2
    assert named in process.log.read_text()


@pytest.mark.parametrize(("listen", "named"), [("0.0.0.0:0", "captures.advertise"), ("192.0.2.1:1", "cannot listen")])
async def test_captures_that_nobody_could_fetch_end_the_process_with_2(
    tmp_path: Path, own_etcd: EtcdServer, listen: str, named: str
) -> None:
    process = Process(tmp_path / "media", own_etcd, "127.0.0.1:2223", spool=tmp_path, captures=listen)
    await process.start()
    assert await process.ended() == 2
    assert named in process.log.read_text()


async def test_sidecars_that_start_together_get_different_numbers(
    tmp_path: Path, own_etcd: EtcdServer, rtpengine: Rtpengine, store: EtcdStore
) -> None:
    processes = [Process(tmp_path / "media", own_etcd, rtpengine.control, name=f"media-{n}") for n in range(1, 4)]
    try:
        for process in processes:
            await process.start()
        for process in processes:
            await process.until_ready()
        nodes = [await node(store, process.name) for process in processes]
        assert sorted(entry.number for entry in nodes if entry) == [1, 2, 3]
    finally:
        for process in processes:
            await process.kill()


@pytest.mark.parametrize(
    ("control", "advertise", "named"),
    [
        ("rtpengine.invalid:2223", "127.0.0.1:2223", "media.control"),
        ("127.0.0.1:2223", "rtpengine.example:2223", "media.advertise_control"),
    ],
)
async def test_a_wrong_setting_ends_the_process_with_2(
    tmp_path: Path, own_etcd: EtcdServer, control: str, advertise: str, named: str
) -> None:
    process = await Process(tmp_path / "media", own_etcd, control, advertise).start()
    assert await process.ended() == 2
    assert named in process.log.read_text()
