"""The media nodes of a worker: those that speak, and the way of a key to its call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.media.v1 import media_pb2
from signalbox.ivr import medialinks as module
from signalbox.ivr.media.nodes import MediaNodes
from signalbox.ivr.medialinks import MediaLinks
from signalbox.ivr.metrics import IvrMetrics
from signalbox.ivr.ports import AudioUnavailableError, RecordingAwayError
from signalbox.settings import ClientTlsSettings
from support.ivr_media import media_node
from support.ports import free_address
from support.stores import until
from support.voice_fake import VoiceFake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.api.routing.v1.routing_pb2 import MediaNode
    from signalbox.ivr.media.keys import Key

SILENCE = [media_pb2.AudioPart(silence_ms=100)]


class Stub:
    """A call that only is there."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.pressed: list[tuple[str, str, int]] = []

    def lose(self, error: Exception) -> None:
        """Nobody is told."""

    def key(self, tag: str, key: Key) -> None:
        self.pressed.append((tag, key.digit, key.duration_ms))


class Desk:
    """Links that run, and what they feed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.nodes = MediaNodes()
        self.links = MediaLinks("ivr-1", self.nodes, ClientTlsSettings(), IvrMetrics(self.registry))

    def join(self, call_id: str, node: str) -> Stub:
        """A call at a node."""
        stub = Stub(call_id)
        next(one for one in self.nodes.candidates() if one.id == node).joined(stub)
        return stub


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    desk = Desk()
    task = asyncio.create_task(desk.links.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.wait([task])
        await desk.nodes.close()


@asynccontextmanager
async def sidecars(count: int) -> AsyncIterator[list[VoiceFake]]:
    fakes = [VoiceFake() for _ in range(count)]
    for fake in fakes:
        await fake.start()
    try:
        yield fakes
    finally:
        for fake in fakes:
            await fake.stop()


def info(number: int, voice: str) -> MediaNode:
    return media_node(free_address(), number, voice_address=voice)


async def test_a_node_that_does_not_speak_is_none_for_us(desk: Desk) -> None:
    async with sidecars(1) as [fake]:
        await desk.links.update([media_node(free_address(), 1), info(2, fake.address)])
        await until(lambda: desk.links.up == 1)
        assert [node.id for node in desk.nodes.candidates()] == ["media-2"]
        with pytest.raises(AudioUnavailableError, match="media-1: is not known"):
            await desk.links.prepare("media-1", SILENCE)


async def test_a_key_finds_its_call_at_any_node_and_others_are_counted(desk: Desk) -> None:
    async with sidecars(2) as fakes:
        await desk.links.update([info(number, fake.address) for number, fake in enumerate(fakes, 1)])
        first, second = desk.join("ivr-1.call-1", "media-1"), desk.join("ivr-1.call-2", "media-2")
        fakes[0].press("1", "ivr-1.call-1")
        fakes[1].press("2", "ivr-1.call-2", "line")
        fakes[1].press("3", "ivr-1.over")
        fakes[1].press("4", "ivr-1.call-2")
        await until(lambda: len(first.pressed) + len(second.pressed) == 3)
        assert first.pressed == [("caller", "1", 80)]
        assert second.pressed == [("line", "2", 80), ("caller", "4", 80)]
        assert desk.registry.get_sample_value("signalbox_ivr_keys_of_nobody_total") == 1


async def test_a_sidecar_tells_keys_of_calls_at_its_own_node_alone(desk: Desk) -> None:
    """Whoever breaks into one presses no keys in calls at another."""
    async with sidecars(2) as fakes:
        await desk.links.update([info(number, fake.address) for number, fake in enumerate(fakes, 1)])
        call = desk.join("ivr-1.call-1", "media-1")
        fakes[1].press("6", "ivr-1.call-1")
        await until(lambda: desk.registry.get_sample_value("signalbox_ivr_keys_of_nobody_total") == 1)
        fakes[0].press("1", "ivr-1.call-1")
        await until(lambda: call.pressed == [("caller", "1", 80)])


async def test_a_file_is_made_where_it_is_played(desk: Desk) -> None:
    async with sidecars(2) as fakes:
        await desk.links.update([info(number, fake.address) for number, fake in enumerate(fakes, 1)])
        await desk.links.prepare("media-2", SILENCE)
        assert [len(fake.prepared) for fake in fakes] == [0, 1]
        fakes[1].objects_away = True
        with pytest.raises(AudioUnavailableError, match="media-2: "):
            await desk.links.prepare("media-2", [media_pb2.AudioPart(silence_ms=7)])
        assert desk.registry.get_sample_value("signalbox_ivr_audio_failed_total") == 1


async def test_a_node_that_vanished_keeps_its_keys_as_long_as_a_call_is_there(desk: Desk) -> None:
    async with sidecars(1) as [fake]:
        await desk.links.update([info(1, fake.address)])
        await until(lambda: desk.links.up == 1)
        (node,) = desk.nodes.candidates()
        stub = desk.join("ivr-1.call-1", "media-1")
        await desk.links.update([])
        await asyncio.sleep(0.2)
        fake.press("1")
        await until(lambda: stub.pressed == [("caller", "1", 80)])
        assert await desk.links.prepare("media-1", SILENCE)
        node.left(stub)
        await until(lambda: desk.links.up == 0)
        with pytest.raises(AudioUnavailableError, match="media-1: is not known"):
            await desk.links.prepare("media-1", SILENCE)


async def test_a_sidecar_that_moved_is_followed(desk: Desk) -> None:
    async with sidecars(2) as fakes:
        before = info(1, fakes[0].address)
        await desk.links.update([before])
        await until(lambda: desk.links.up == 1)
        stub = desk.join("ivr-1.call-1", "media-1")
        after = info(1, fakes[1].address)
        after.control_address = before.control_address
        await desk.links.update([after])
        await until(lambda: len(fakes[1].watched) == 1)
        fakes[1].press("1")
        await until(lambda: stub.pressed == [("caller", "1", 80)])
        await until(lambda: desk.links.up == 1)
        await desk.links.prepare("media-1", SILENCE)
        assert [len(fake.prepared) for fake in fakes] == [0, 1]


async def test_a_node_that_comes_back_is_the_same(desk: Desk) -> None:
    async with sidecars(1) as [fake]:
        node = info(1, fake.address)
        stub = None
        for _ in range(2):
            await desk.links.update([node])
            await until(lambda: desk.links.up == 1)
            stub = stub or desk.join("ivr-1.call-1", "media-1")
            await desk.links.update([])
        await desk.links.update([node])
        fake.press("1")
        await until(lambda: stub.pressed == [("caller", "1", 80)])
        assert len(fake.watched) == 1


async def test_recordings_are_asked_for_where_they_are_made(desk: Desk) -> None:
    async with sidecars(2) as fakes:
        await desk.links.update([info(number, fake.address) for number, fake in enumerate(fakes, 1)])
        await until(lambda: desk.links.up == 2)
        await desk.links.silent("media-2", "ivr-1.call-1", 1)
        await desk.links.pause("media-2", "ivr-1.call-1", paused=True)
        assert await desk.links.end("media-2", "ivr-1.call-1")
        assert [len(fake.asked) for fake in fakes] == [0, 3]
        with pytest.raises(RecordingAwayError, match="media-9: is not known"):
            await desk.links.end("media-9", "ivr-1.call-1")
