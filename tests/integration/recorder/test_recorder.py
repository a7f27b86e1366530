"""The recorder as a process, with real etcd and databases: whatever dies or is away, each recording is stored once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import recordings_pb2
from signalbox.store import codec, keys
from signalbox.store.base import Put
from support.captures_fake import FakeNode, facts, pcap
from support.capturing import NODE_NUMBER, CaptureNode, RecordedCall, until_seen
from support.etcd import EtcdServer, etcd_server, own_etcd
from support.postgres import postgres_server
from support.recorder_process import RecorderProcess
from support.rtpengine import Rtpengine
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.postgres import PostgresServer

__all__ = ["etcd_server", "own_etcd", "postgres_server"]

STORED = recordings_pb2.RECORDING_STATE_STORED
FOLDER = "recordings/acme/2025/06/15/"
DEADLINE_S = 30.0


@pytest.fixture
def recorder(tmp_path: Path, etcd_server: EtcdServer) -> Iterator[RecorderProcess]:
    process = RecorderProcess(tmp_path, etcd_server.endpoint)
    yield process
    process.kill()


@asynccontextmanager
async def node_of(recorder: RecorderProcess) -> AsyncIterator[FakeNode]:
    """A media node that is registered where this recorder looks."""
    store = recorder.store()
    try:
        async with FakeNode().serving(store) as node:
            yield node
    finally:
        await store.close()


async def gone(node: FakeNode, *call_ids: str) -> None:
    await until(lambda: not node.captures.keys() & set(call_ids), DEADLINE_S)


async def ready(recorder: RecorderProcess, ready: bool = True) -> None:
    await asyncio.to_thread(recorder.wait_ready, ready)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_capture_becomes_a_recording_and_a_promise_a_row(recorder: RecorderProcess) -> None:
    recorder.start()
    async with node_of(recorder) as node:
        await ready(recorder)
        async with grpc.aio.insecure_channel(recorder.address) as channel:
            promise = recording_pb2.Promise(proxy="edge-1", sequence=1, facts=facts("c1"))
            request = recording_pb2.ReportPromisesRequest(promises=[promise])
            await recording_pb2_grpc.PromiseServiceStub(channel).ReportPromises(request)
        promised = await recorder.recording("c1")
        assert promised is not None
        assert promised.state == recordings_pb2.RECORDING_STATE_PROMISED
        node.add("c1", pcap(50), anonymous=True)
        await gone(node, "c1")
        stored = await recorder.recording("c1")
        assert stored is not None
        assert (stored.state, stored.partial) == (STORED, False)
        assert (stored.left.packets, stored.right.packets) == (50, 50)
        assert recorder.names() == [f"{FOLDER}c1.1.json", f"{FOLDER}c1.1.ogg"]
        audio = await recorder.content("acme", f"{FOLDER}c1.1.ogg")
        assert (len(audio), hashlib.sha256(audio).hexdigest()) == (stored.size_bytes, stored.sha256)
        # A capture of which not one packet can be read stays, and holds up no other.
        node.add("bad", b"this is no capture")
        node.add("c2")
        await gone(node, "c2")
        await until(lambda: ("bad", "unreadable") in node.released, DEADLINE_S)
        assert "bad" in node.captures
        renderers = recorder.renderers()
        assert len(renderers) == 1
        assert recorder.terminate() == 0
        assert not alive(renderers[0])
    assert list(recorder.work_dir.glob("job-*")) == []


async def test_killed_at_any_point_nothing_is_lost_doubled_or_left(recorder: RecorderProcess) -> None:
    async with node_of(recorder) as node:
        node.add("c1", pcap(20))
        node.stop("ReadSegment")
        recorder.start()
        # While it pulls.
        await until(lambda: node.count("ReadSegment") == 1, DEADLINE_S)
        recorder.kill()
        node.stop("RenewClaim")
        del node.stops["ReadSegment"]
        recorder.start()
        # When it has rendered.
        await until(lambda: bool(list(recorder.work_dir.glob("job-*/audio"))), DEADLINE_S)
        (renderer,) = recorder.renderers()
        recorder.kill()
        node.forget_claims()
        await until(lambda: not alive(renderer))
        assert recorder.names() == []
        # When both objects are stored, and the row is not.
        del node.stops["RenewClaim"]
        reading = node.stop("ReadSegment")
        before = node.count("ReadSegment")
        recorder.start()
        await until(lambda: node.count("ReadSegment") > before, DEADLINE_S)
        lock = sqlite3.connect(recorder.directory / "signalbox.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        reading.set()
        await until(lambda: len(recorder.names()) == 2, DEADLINE_S)
        recorder.kill()
        lock.execute("ROLLBACK")
        lock.close()
        node.forget_claims()
        left = recorder.names()
        # When all is stored, and the capture is not deleted.
        node.stop("ConfirmCapture")
        recorder.start()
        await until(lambda: node.count("ConfirmCapture") == 1, DEADLINE_S)
        recorder.kill()
        stored = recorder.names()
        assert len(stored) == 2
        assert not set(left) & set(stored)
        # What was asked before stays unanswered.
        del node.stops["ConfirmCapture"]
        recorder.start()
        await gone(node, "c1")
        assert recorder.names() == stored
        recording = await recorder.recording("c1")
        assert recording is not None
        assert recording.state == STORED
        assert recording.left.packets == 20
        assert recorder.terminate() == 0


async def test_captures_wait_while_the_object_store_or_etcd_is_away(tmp_path: Path, own_etcd: EtcdServer) -> None:
    recorder = RecorderProcess(tmp_path, own_etcd.endpoint, {"ETCD__REQUEST_TIMEOUT_S": 0.5}).start()
    try:
        async with node_of(recorder) as node:
            node.add("c1")
            await gone(node, "c1")
            away = recorder.objects.rename(tmp_path / "away")
            await ready(recorder, False)
            node.add("c2")
            # As a mount point looks that has nothing mounted.
            recorder.objects.mkdir()
            assert recorder.facts()["waits_for"] == ["objects"]
            assert recorder.names() == []
            shutil.rmtree(recorder.objects)
            away.rename(recorder.objects)
            await gone(node, "c2")
            await ready(recorder)
            await asyncio.to_thread(own_etcd.kill)
            await until(lambda: recorder.facts()["etcd_there"] is False, DEADLINE_S)
            await ready(recorder, False)
            node.add("c3")
            await asyncio.to_thread(own_etcd.restart)
            await gone(node, "c3")
        assert len(recorder.names()) == 6
        assert len(recorder.events("recordings_wait")) <= 3
        assert recorder.terminate() == 0
    finally:
        recorder.kill()


async def test_captures_and_promises_wait_while_the_database_is_away(
    tmp_path: Path,
    etcd_server: EtcdServer,
    postgres_server: PostgresServer,
) -> None:
    recorder = RecorderProcess(tmp_path, etcd_server.endpoint, database=postgres_server.database())
    await asyncio.to_thread(postgres_server.stop)
    recorder.start()
    try:
        async with node_of(recorder) as node:
            node.add("c1")
            await ready(recorder, False)
            await until(lambda: bool(recorder.events("database_awaited")), DEADLINE_S)
            await asyncio.to_thread(postgres_server.start)
            await gone(node, "c1")
            await ready(recorder)
            await asyncio.to_thread(postgres_server.stop)
            await ready(recorder, False)
            node.add("c2")
            async with grpc.aio.insecure_channel(recorder.address) as channel:
                request = recording_pb2.ReportPromisesRequest(
                    promises=[recording_pb2.Promise(proxy="edge-1", sequence=1, facts=facts("c2"))]
                )
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await recording_pb2_grpc.PromiseServiceStub(channel).ReportPromises(request)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.to_thread(postgres_server.start)
            await gone(node, "c2")
        assert len(recorder.names()) == 4
        assert recorder.terminate() == 0
    finally:
        recorder.kill()


async def test_a_call_through_a_real_rtpengine_is_recorded(
    recorder: RecorderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.captures.SETTLE_S", 0.1)
    rtpengine = Rtpengine(recorder.directory / "rtpengine", recording_dir=recorder.directory / "spool").start()
    store = recorder.store()
    try:
        recorder.start()
        async with CaptureNode(rtpengine) as captures:
            address = captures.server.address
            registered = routing_pb2.MediaNode(id="media-7", number=NODE_NUMBER, captures_address=address)
            await store.commit([], [Put(keys.live_media("media-7"), codec.encode(registered))])
            async with RecordedCall.open(captures.client, "a/call@192.0.2.1") as call:
                await call.speak(100)
                await until_seen(captures, call.id, lambda found: found and len(found.sides) == 2)
                await call.end()

            async def recorded() -> recordings_pb2.Recording | None:
                found = await recorder.recording("a/call@192.0.2.1")
                return found if found is not None and found.state == STORED else None

            async with asyncio.timeout(DEADLINE_S):
                while not (recording := await recorded()):  # noqa: ASYNC110, only asking tells
                    await asyncio.sleep(0.1)
                while (await captures.list()).captures:  # noqa: ASYNC110, only asking tells
                    await asyncio.sleep(0.02)
        assert (recording.left.packets, recording.right.packets, list(recording.reasons)) == (100, 100, [])
        assert (recording.tenant, recording.caller, recording.line) == ("acme", "13912345678", "line-1")
        assert recorder.terminate() == 0
    finally:
        rtpengine.stop()
        await store.close()
