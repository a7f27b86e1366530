"""Keys of real RTP through a real rtpengine to a worker's stream, and files that rtpengine plays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox import pki, rpc, wav
from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.errors import ConfigurationError
from signalbox.media.voice import audio
from signalbox.media.voice.server import VoiceServer
from signalbox.media.voice.service import TABLE
from signalbox.settings import ClientTlsSettings, ObjectsSettings, ServerTlsSettings
from signalbox.store.objectstore import ObjectStore, once
from signalbox.wav import Encoding
from support.provisioning import reason_of, refused
from support.s3 import s3_server
from support.speaking import Caller, SpeakingNode, Watch
from support.tcp import Relay
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

DEADLINE_S = 20.0
EVENTS = "signalbox_media_key_events_total"


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(ObjectsSettings(location=str(tmp_path / "objects")))


@pytest.fixture
def stopped(tmp_path: Path, objects: ObjectStore) -> Iterator[SpeakingNode]:
    """A node whose sidecar is not started yet."""
    node = SpeakingNode(tmp_path, objects)
    yield node
    node.rtpengine.stop()


@pytest.fixture
async def node(stopped: SpeakingNode) -> AsyncIterator[SpeakingNode]:
    async with stopped as running:
        yield running


async def store(objects: ObjectStore, name: str, samples: bytes) -> media_pb2.AudioPart:
    """An object of these samples, as a part to be played."""
    content = wav.build(Encoding.A_LAW, [samples])
    await objects.put(f"prompts/acme/{name}", once(content))
    stored = media_pb2.StoredAudio(object=f"prompts/acme/{name}", sha256=hashlib.sha256(content).hexdigest())
    return media_pb2.AudioPart(stored=stored)


def sound(value: int, ms: int) -> bytes:
    """Samples that are known again."""
    return bytes([value]) * (ms * wav.BYTES_PER_MS)


async def test_every_key_comes_once_and_in_order(node: SpeakingNode) -> None:
    before_ms = time.time_ns() // 1_000_000
    async with Watch(node.address, "ivr-1") as watch, Caller.open(node.client, "ivr-1.7f/3 a") as caller:
        await caller.speak()
        await caller.press("1234567890*#ABCD")
        assert await watch.digits(16) == "1234567890*#ABCD"
        first = watch.keys[0]
        assert (first.call_id, first.tag) == ("ivr-1.7f/3 a", "caller")
        assert (first.duration_ms, first.volume_dbm0) == (100, -10)
        assert before_ms <= first.time.ToMilliseconds() <= time.time_ns() // 1_000_000
    # Each was ended three times on the wire.
    assert node.sample(EVENTS, kind="key") == 16
    assert node.sample(EVENTS, kind="malformed") == 0


async def test_keys_go_to_the_worker_whose_call_it_is(node: SpeakingNode) -> None:
    async with (
        Watch(node.address, "ivr-1") as one,
        Watch(node.address, "ivr-2") as other,
        Caller.open(node.client, "ivr-1.1") as first,
        Caller.open(node.client, "ivr-2.1") as second,
        Caller.open(node.client, "edge-1-1795367000-1-2") as passing,
    ):
        await passing.press("9")
        await first.event(16)
        await second.press("2")
        await first.press("1")
        assert await one.digits(1) == "1"
        assert await other.digits(1) == "2"
        await until(lambda: node.sample(EVENTS, kind="key") == 2, DEADLINE_S)
    assert node.sample(EVENTS, kind="nobodys") == 1
    assert node.sample(EVENTS, kind="no_key") == 1


async def test_keys_of_a_call_that_begins_before_its_worker_watches_wait(node: SpeakingNode) -> None:
    async with Caller.open(node.client, "ivr-1.1") as caller:
        await caller.press("12")
        await until(lambda: node.sample(EVENTS, kind="key") == 2, DEADLINE_S)
    async with Watch(node.address, "ivr-1") as watch:
        assert await watch.digits(2) == "12"


async def test_a_broken_stream_costs_no_key_and_doubles_none(node: SpeakingNode) -> None:
    """Frozen, so that keys are sent that never arrive, then cut; time and again."""
    told = ""
    async with Relay(node.address) as relay, Caller.open(node.client, "ivr-1.1") as caller:
        watch = Watch(relay.endpoint, "ivr-1")
        for turn in range(3):
            async with watch:
                await caller.press("12")
                assert await watch.digits(2 if turn == 0 else 5) == ("12" if turn == 0 else "34512")
                told += "".join(key.digit for key in watch.keys)
                relay.freeze()
                await caller.press("345")
                await until(lambda heard=2 + 5 * turn + 3: node.sample(EVENTS, kind="key") == heard, DEADLINE_S)
                relay.cut()
            relay.thaw()
            watch = Watch(relay.endpoint, "ivr-1", watch)
        async with watch:
            told += await watch.digits(3)
    assert told == "12345" * 3
    assert node.sample("signalbox_media_keys_lost_total") == 0


async def test_two_streams_of_a_worker_do_not_take_keys_from_each_other(node: SpeakingNode) -> None:
    async with (
        Watch(node.address, "ivr-1") as old,
        Watch(node.address, "ivr-1") as new,
        Caller.open(node.client, "ivr-1.1") as caller,
    ):
        assert node.sample("signalbox_media_key_watchers") == 2
        await caller.press("12")
        assert (await old.digits(2), await new.digits(2)) == ("12", "12")
    await until(lambda: node.sample("signalbox_media_key_watchers") == 0, DEADLINE_S)


async def test_a_sidecar_that_was_restarted_says_so_and_goes_on(stopped: SpeakingNode) -> None:
    async with stopped as node, Caller.open(node.client, "ivr-1.1") as caller, Watch(node.address, "ivr-1") as watch:
        await caller.press("123")
        assert await watch.digits(3) == "123"
        ending = asyncio.create_task(node.server.stop())
        with refused(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
            await watch.take()
        await ending
    async with (
        stopped as node,
        Caller.open(node.client, "ivr-1.2") as caller,
        Watch(node.address, "ivr-1", watch) as again,
    ):
        assert again.instance != watch.instance
        again.sequence = 0
        await caller.press("45")
        assert await again.digits(2) == "45"


async def test_who_is_no_rtpengine_disturbs_nobody(node: SpeakingNode) -> None:
    host, _, port = node.settings.keys_listen.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in (b"", b"\0\xff", b'{"callid":"ivr-1.1"}', b"[" * 9000):
            stranger.sendto(datagram, (host, int(port)))
    async with Watch(node.address, "ivr-1") as watch, Caller.open(node.client, "ivr-1.1") as caller:
        await caller.press("7")
        assert await watch.digits(1) == "7"
    assert node.sample(EVENTS, kind="malformed") == 4


@pytest.mark.parametrize("worker", ["", "Ivr", "ivr.1", "a" * 64])
async def test_an_id_that_no_worker_can_have(node: SpeakingNode, worker: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as refusal:
        async with Watch(node.address, worker):
            pass
    assert refusal.metadata["field"] == "worker"


async def test_rtpengine_plays_what_was_joined(node: SpeakingNode, objects: ObjectStore) -> None:
    first = await store(objects, "number.alaw.wav", sound(0x11, 60))
    second = await store(objects, "three.alaw.wav", sound(0x22, 40))
    answer = await node.prepare(first, media_pb2.AudioPart(silence_ms=20), second)
    assert answer.duration_ms == 120
    async with Caller.open(node.client, "ivr-1.1") as caller:
        assert await caller.play(answer.path) == 120
        assert await caller.hear(960) == sound(0x11, 60) + sound(0xD5, 20) + sound(0x22, 40)


async def test_a_key_comes_while_a_file_is_played_which_may_be_deleted(
    node: SpeakingNode, objects: ObjectStore
) -> None:
    """rtpengine has it open: what needs room may take it."""
    answer = await node.prepare(await store(objects, "long.alaw.wav", sound(0x33, 1500)))
    async with Caller.open(node.client, "ivr-1.1") as caller, Watch(node.address, "ivr-1") as watch:
        await caller.play(answer.path)
        assert await caller.hear(160) == sound(0x33, 20)
        await asyncio.to_thread(os.unlink, answer.path)
        await caller.press("5")
        assert await watch.digits(1) == "5"
        assert await caller.hear(1400 * wav.BYTES_PER_MS) == sound(0x33, 1400)
    # Somebody else did it; it is fetched again.
    again = await node.prepare(await store(objects, "long.alaw.wav", sound(0x33, 1500)))
    assert again == answer


async def test_what_was_fetched_is_there_after_a_restart(stopped: SpeakingNode, objects: ObjectStore) -> None:
    part = await store(objects, "a.alaw.wav", sound(0x11, 20))
    async with stopped as node:
        before = await node.prepare(part)
    await objects.delete(part.stored.object)
    async with stopped as node:
        assert await node.prepare(part) == before
        assert node.sample("signalbox_media_audio_requests_total", cached="true") == 1


async def test_a_second_sidecar_is_refused_the_cache(node: SpeakingNode, objects: ObjectStore) -> None:
    with pytest.raises(ConfigurationError, match="is another sidecar's"):
        VoiceServer(node.settings, objects, CollectorRegistry())


async def test_errors_have_their_reasons(node: SpeakingNode, objects: ObjectStore) -> None:
    part = await store(objects, "a.alaw.wav", sound(0x11, 20))
    other = media_pb2.AudioPart(stored=media_pb2.StoredAudio(object=part.stored.object, sha256="0" * 64))
    missing = media_pb2.AudioPart(stored=media_pb2.StoredAudio(object="prompts/acme/none", sha256="1" * 64))
    for parts, reason in (([], "INVALID_FIELD"), ([other], "CONTENT_LOST"), ([part, missing], "CONTENT_LOST")):
        request = media_pb2.PrepareAudioRequest(parts=parts)
        assert await reason_of(node.stub.PrepareAudio(request)) == reason


async def test_objects_come_from_a_bucket_and_play_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "FETCH_S", DEADLINE_S)
    with s3_server(tmp_path) as bucket:
        objects = ObjectStore.open(bucket.settings())
        node = SpeakingNode(tmp_path, objects)
        try:
            async with node:
                part = await store(objects, "a.alaw.wav", sound(0x11, 20))
                other = await store(objects, "b.alaw.wav", sound(0x22, 20))
                before = await node.prepare(part)
                bucket.end()
                assert await node.prepare(part) == before
                monkeypatch.setattr(audio, "FETCH_S", 0.5)
                with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
                    await node.prepare(other)
        finally:
            node.rtpengine.stop()


IDENTITIES = {
    "ivr": "signalbox://ivr/ivr-1",
    "recorder": "signalbox://recorder/recorder-1",
    "operator": "signalbox://operator",
    "unnamed": "",
    "edge": "signalbox://edge/edge-1",
    "media": "signalbox://media/media-1",
    "tenant": "signalbox://tenants/acme/administrator",
}


async def _reason(channel: grpc.aio.Channel, method: str, worker: str) -> str:
    """How one call ends: "OK", or the reason of its refusal."""
    stub = media_pb2_grpc.VoiceServiceStub(channel)
    if method == "PrepareAudio":
        return await reason_of(stub.PrepareAudio(media_pb2.PrepareAudioRequest(), timeout=DEADLINE_S))

    async def first() -> None:
        call = stub.WatchKeys(media_pb2.WatchKeysRequest(worker=worker), timeout=DEADLINE_S)
        await call.read()
        call.cancel()

    return await reason_of(first())


async def test_workers_alone_may_call_it_and_watch_their_own_keys(tmp_path: Path, objects: ObjectStore) -> None:
    methods = media_pb2.DESCRIPTOR.services_by_name["VoiceService"].methods
    assert TABLE.keys() == {method.name for method in methods}
    own = pki.issue(tmp_path / "pki", "node", server=True)
    node = SpeakingNode(tmp_path, objects, ServerTlsSettings(cert_file=own.cert, key_file=own.key, ca_file=own.ca))
    try:
        async with node:
            target = f"localhost:{node.address.rpartition(':')[2]}"
            for who, identity in IDENTITIES.items():
                shown = pki.issue(tmp_path / "pki", who, server=False, identity=identity)
                tls = ClientTlsSettings(ca_file=shown.ca, cert_file=shown.cert, key_file=shown.key)
                async with rpc.channel(target, tls) as channel:
                    ended = [await _reason(channel, method, "ivr-1") for method in ("WatchKeys", "PrepareAudio")]
                    expected = "CREDENTIALS_REFUSED" if who == "tenant" else "PERMISSION_REFUSED"
                    assert ended == (["OK", "INVALID_FIELD"] if who == "ivr" else [expected] * 2), who
                    if who == "ivr":
                        assert await _reason(channel, "WatchKeys", "ivr-2") == "PERMISSION_REFUSED"
    finally:
        node.rtpengine.stop()
