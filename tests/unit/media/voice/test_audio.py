"""What workers get for what they ask for, with objects in a folder."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from signalbox import wav
from signalbox.api.media.v1 import media_pb2
from signalbox.errors import (
    CacheUnusableError,
    ContentLostError,
    InvalidFieldError,
    ObjectsUnavailableError,
)
from signalbox.g711 import LAWS, RATE, Law
from signalbox.media.voice import audio as module
from signalbox.media.voice.audio import Audio, Part, Silence, Stored, Tone, parts_of
from signalbox.media.voice.metrics import VoiceMetrics
from signalbox.media.voice.shelf import Shelf
from signalbox.settings import ObjectsSettings
from signalbox.store.objectstore import ObjectStore, once
from signalbox.wav import Encoding
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

MIB = 1 << 20


class CountedStore(ObjectStore):
    """Counts what is fetched, and waits if it is told to."""

    fetched: list[str]
    wait: asyncio.Event | None = None
    away: bool = False

    async def get(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        self.fetched.append(name)
        if self.wait is not None:
            await self.wait.wait()
        if self.away:
            raise ObjectsUnavailableError("object store: connection refused")
        async for piece in super().get(name, start, end):
            yield piece


class Node:
    """A node's audio and its object store."""

    def __init__(self, directory: Path, limit: int = 64 * MIB) -> None:
        self.directory = directory
        opened = CountedStore.open(ObjectsSettings(location=str(directory / "objects")))
        assert isinstance(opened, CountedStore)
        self.objects = opened
        self.objects.fetched = []
        self.limit = limit
        self.start()

    def start(self) -> None:
        """Again, after whatever ended it."""
        self.registry = CollectorRegistry()
        metrics = VoiceMetrics(self.registry)
        self.audio = Audio(self.objects, Shelf(self.directory / "audio", self.limit, metrics), metrics)

    async def store(self, samples: bytes, encoding: Encoding = Encoding.A_LAW, name: str = "a") -> Stored:
        """An object of these samples."""
        return await self.store_file(wav.build(encoding, [samples]), name)

    async def store_file(self, content: bytes, name: str = "a") -> Stored:
        stored = Stored(f"prompts/acme/{name}.wav", hashlib.sha256(content).hexdigest())
        await self.objects.put(stored.name, once(content))
        return stored

    async def samples(self, *parts: Part) -> bytes:
        """What is played."""
        played = await self.audio.prepare(parts)
        sound = wav.parse(played.path.read_bytes())
        assert (sound.encoding, sound.duration_ms) == (played.encoding, played.duration_ms)
        return sound.samples

    def sample(self, metric: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(metric, labels)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_one_part_is_the_object_itself(node: Node) -> None:
    stored = await node.store(b"abcd")
    for _ in range(2):
        played = await node.audio.prepare([stored])
        assert hashlib.sha256(played.path.read_bytes()).hexdigest() == stored.sha256
    assert node.objects.fetched == [stored.name]
    assert node.sample("signalbox_media_audio_requests_total", cached="false") == 1
    assert node.sample("signalbox_media_audio_requests_total", cached="true") == 1
    assert node.sample("signalbox_media_audio_fetched_bytes_total") == 62


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_parts_are_joined_to_the_sample(node: Node, encoding: Encoding) -> None:
    first, second = await node.store(b"abc", encoding, "1"), await node.store(b"d" * 80, encoding, "2")
    parts = [Silence(1), first, second, Silence(2), first]
    assert await node.samples(*parts) == encoding.silence * 8 + b"abc" + b"d" * 80 + encoding.silence * 16 + b"abc"
    assert sorted(node.objects.fetched) == [first.name, second.name]
    assert await node.audio.prepare(parts) == await node.audio.prepare(parts)
    assert await node.samples(first, second) == b"abc" + b"d" * 80


async def test_another_order_is_another_file(node: Node) -> None:
    first, second = await node.store(b"1" * 9, name="1"), await node.store(b"2" * 9, name="2")
    assert await node.samples(first, second) == b"1" * 9 + b"2" * 9
    assert await node.samples(second, first) == b"2" * 9 + b"1" * 9
    assert await node.samples(first) == b"1" * 9
    assert await node.samples(first, Silence(1)) == b"1" * 9 + b"\xd5" * 8


async def test_what_is_on_the_disk_plays_though_the_store_is_away(node: Node) -> None:
    first, second = await node.store(b"1", name="1"), await node.store(b"2", name="2")
    await node.samples(first, second)
    node.objects.away = True
    node.start()
    assert await node.samples(first, second) == b"12"
    assert await node.samples(second) == b"2"
    assert await node.samples(second, first, second) == b"212"
    third = await node.store(b"3", name="3")
    with pytest.raises(ObjectsUnavailableError, match="refused"):
        await node.samples(first, third)
    assert node.sample("signalbox_media_audio_failed_total", reason="objects_unavailable") == 1
    node.objects.away = False
    assert await node.samples(first, third) == b"13"


async def test_a_joined_file_needs_none_of_its_parts(node: Node) -> None:
    first, second = await node.store(b"1", name="1"), await node.store(b"2", name="2")
    await node.samples(first, second)
    for stored in (first, second):
        (node.directory / "audio" / stored.file).unlink()
        await node.objects.delete(stored.name)
    node.start()
    assert await node.samples(first, second) == b"12"


async def test_what_many_ask_for_at_once_is_fetched_once(node: Node) -> None:
    first, second = await node.store(b"1", name="1"), await node.store(b"2", name="2")
    node.objects.wait = asyncio.Event()
    asked = [asyncio.create_task(node.samples(*parts)) for parts in ([first], [first, second]) * 20]
    await asyncio.sleep(0.05)
    node.objects.wait.set()
    assert await asyncio.gather(*asked) == [b"1", b"12"] * 20
    assert sorted(node.objects.fetched) == [first.name, second.name]


async def test_who_gives_up_spoils_it_for_nobody(node: Node) -> None:
    stored = await node.store(b"1")
    node.objects.wait = asyncio.Event()
    impatient, patient = (asyncio.create_task(node.samples(stored)) for _ in range(2))
    await until(lambda: bool(node.objects.fetched), 15)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    node.objects.wait.set()
    assert await patient == b"1"
    assert len(node.objects.fetched) == 1


async def test_an_error_that_nobody_waits_for_disturbs_nobody(node: Node) -> None:
    stored = await node.store(b"1")
    node.objects.wait, node.objects.away = asyncio.Event(), True
    asked = asyncio.create_task(node.samples(stored))
    await until(lambda: bool(node.objects.fetched), 15)
    asked.cancel()
    await asyncio.wait([asked])
    node.objects.wait.set()
    await node.audio.close(15)
    node.objects.away = False
    assert await node.samples(stored) == b"1"


async def test_a_store_that_does_not_answer_is_not_waited_for_long(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.05)
    stored = await node.store(b"1")
    node.objects.wait = asyncio.Event()
    with pytest.raises(ObjectsUnavailableError, match=r"prompts/acme/a\.wav did not come within"):
        await node.samples(stored)


async def test_an_object_that_is_not_there(node: Node) -> None:
    missing = Stored("prompts/acme/none.wav", "0" * 64)
    with pytest.raises(ContentLostError, match=r"prompts/acme/none\.wav: it is not in the object store"):
        await node.samples(missing)
    assert node.sample("signalbox_media_audio_failed_total", reason="content_lost") == 1


async def test_an_object_that_is_another(node: Node) -> None:
    stored = await node.store(b"1")
    with pytest.raises(ContentLostError, match=f"its SHA-256 is {stored.sha256}, not {'0' * 64}"):
        await node.samples(Stored(stored.name, "0" * 64))
    assert list((node.directory / "audio").iterdir()) == []


async def test_an_object_that_is_no_g711(node: Node) -> None:
    with pytest.raises(ContentLostError, match="it is no WAV file"):
        await node.samples(await node.store_file(b"ID3 and so on"))


async def test_an_object_that_is_too_large_is_not_taken_in_whole(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OBJECT_MAX_BYTES", 100)
    with pytest.raises(ContentLostError, match="it has more than 100 bytes"):
        await node.samples(await node.store(b"x" * 43))
    assert len(await node.samples(await node.store(b"x" * 42, name="b"))) == 42


async def test_encodings_are_not_mixed(node: Node) -> None:
    first, other = await node.store(b"1", name="1"), await node.store(b"2", Encoding.MU_LAW, "2")
    with pytest.raises(InvalidFieldError, match=r"parts\[3\]: is µ-law, and parts\[1\] is A-law"):
        await node.samples(Silence(5), first, first, other, other)
    with pytest.raises(InvalidFieldError, match=r"parts\[1\]: is µ-law, and parts\[0\] is A-law"):
        await node.samples(first, Tone(450, 10, Encoding.MU_LAW))


@pytest.mark.parametrize("law", LAWS)
async def test_a_ringing_tone_needs_no_object_and_is_as_loud_as_it_must_be(node: Node, law: Law) -> None:
    codes = await node.samples(Tone(450, 1_000, Encoding(law.format_tag)), Silence(4_000))
    sound = law.decode(codes).astype(float)
    assert len(sound) == 5 * RATE
    assert np.abs(sound[RATE:]).max() <= 8
    spectrum = np.abs(np.fft.rfft(sound[:RATE]))
    assert int(spectrum.argmax()) == 450
    full_scale = {"alaw.wav": 3.14, "ulaw.wav": 3.17}[law.ending]
    level = 20 * np.log10(np.sqrt(2 * np.mean(sound[:RATE] ** 2)) / 32_768) + full_scale
    assert level == pytest.approx(-10, abs=0.1)
    assert node.objects.fetched == []


async def test_what_is_too_long_is_not_made(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DURATION_MAX_MS", 30)
    stored = await node.store(b"1" * 80)
    assert len(await node.samples(stored, Silence(10), stored)) == 240
    with pytest.raises(InvalidFieldError, match="parts: must last 30 milliseconds at most, not 31"):
        await node.samples(stored, Silence(11), stored)


async def test_a_cache_without_room_says_so(tmp_path: Path) -> None:
    node = Node(tmp_path, limit=150)
    first, second = await node.store(b"1", name="1"), await node.store(b"2", name="2")
    with pytest.raises(CacheUnusableError, match="no room for 60 bytes"):
        await node.samples(first, second)
    assert node.sample("signalbox_media_audio_failed_total", reason="cache_unusable") == 1
    assert await node.samples(first) == b"1"


STORED = media_pb2.AudioPart(stored=media_pb2.StoredAudio(object="prompts/acme/a.alaw.wav", sha256="0a" * 32))
SILENCE = media_pb2.AudioPart(silence_ms=60_000)


def tone(**differences: int) -> media_pb2.AudioPart:
    told = {"frequency_hz": 450, "duration_ms": 1_000, "law": media_pb2.LAW_A, **differences}
    return media_pb2.AudioPart(tone=media_pb2.ToneAudio(**told))


def test_parts_of_a_request() -> None:
    stored = Stored("prompts/acme/a.alaw.wav", "0a" * 32)
    request = media_pb2.PrepareAudioRequest(parts=[SILENCE, STORED, tone(law=media_pb2.LAW_MU)])
    assert parts_of(request) == [Silence(60_000), stored, Tone(450, 1_000, Encoding.MU_LAW)]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "prompts",
        "prompts/",
        "prompts/../recordings/a",
        "recordings/a.ogg",
        "prompts//a",
        "/prompts/a",
        "prompts/a ",
    ],
)
def test_only_prompts_are_played(name: str) -> None:
    part = media_pb2.AudioPart(stored=media_pb2.StoredAudio(object=name, sha256="0a" * 32))
    with pytest.raises(InvalidFieldError, match=r"parts\[0\]\.stored\.object: must be the name"):
        parts_of(media_pb2.PrepareAudioRequest(parts=[part]))


def test_parts_of_speech_are_played() -> None:
    part = media_pb2.AudioPart(
        stored=media_pb2.StoredAudio(object="prompts/_parts/zh-CN/0a.ulaw.wav", sha256="0a" * 32)
    )
    assert len(parts_of(media_pb2.PrepareAudioRequest(parts=[part]))) == 1


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([], "parts: must be 1 to 100"),
        ([STORED] * 101, "parts: must be 1 to 100"),
        ([SILENCE], "parts: must have stored audio or a tone beside silence"),
        ([STORED, media_pb2.AudioPart()], r"parts\[1\]: must be stored audio, silence or a tone"),
        ([STORED, media_pb2.AudioPart(silence_ms=0)], r"parts\[1\]\.silence_ms: must be 1 to 60000"),
        ([STORED, media_pb2.AudioPart(silence_ms=60_001)], r"parts\[1\]\.silence_ms: must be 1 to 60000"),
        ([tone(frequency_hz=299)], r"parts\[0\]\.tone\.frequency_hz: must be 300 to 3400 Hz"),
        ([tone(frequency_hz=3_401)], r"parts\[0\]\.tone\.frequency_hz: must be 300 to 3400 Hz"),
        ([tone(duration_ms=0)], r"parts\[0\]\.tone\.duration_ms: must be 1 to 60000 milliseconds"),
        ([tone(duration_ms=60_001)], r"parts\[0\]\.tone\.duration_ms: must be 1 to 60000 milliseconds"),
        ([tone(law=media_pb2.LAW_UNSPECIFIED)], r"parts\[0\]\.tone\.law: must be LAW_A or LAW_MU"),
        (
            [media_pb2.AudioPart(stored=media_pb2.StoredAudio(object="prompts/a", sha256="0A" * 32))],
            r"parts\[0\]\.stored\.sha256: must be 64 hexadecimal",
        ),
    ],
)
def test_parts_that_make_no_sense_are_named(parts: list[media_pb2.AudioPart], why: str) -> None:
    with pytest.raises(InvalidFieldError, match=why):
        parts_of(media_pb2.PrepareAudioRequest(parts=parts))


def test_every_part_that_is_wrong_is_named() -> None:
    wrong = media_pb2.AudioPart(stored=media_pb2.StoredAudio(object="x"))
    with pytest.raises(InvalidFieldError) as caught:
        parts_of(media_pb2.PrepareAudioRequest(parts=[wrong, STORED, media_pb2.AudioPart()]))
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["parts[0].stored.object", "parts[0].stored.sha256", "parts[2]"]
