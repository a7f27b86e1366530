"""Files of audio on a disk with little room. The clock is the test's."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox import wav
from signalbox.errors import CacheUnusableError, ConfigurationError
from signalbox.media.voice import shelf as module
from signalbox.media.voice.metrics import VoiceMetrics
from signalbox.media.voice.shelf import KEEP_S, Shelf, hold
from signalbox.wav import Encoding

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1000
"""Bytes of every file here."""


def content(number: int, encoding: Encoding = Encoding.A_LAW) -> bytes:
    """A file of that size."""
    return wav.build(encoding, [bytes([number]) * (SIZE - 58)])


def name(number: int) -> str:
    """Of a file that was fetched."""
    return f"object-{hashlib.sha256(content(number)).hexdigest()}.wav"


class Node:
    """A directory with room for three files, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1_000_000.0
        self.start()

    def start(self) -> None:
        """Again, after whatever ended it."""
        self.registry = CollectorRegistry()
        self.shelf = Shelf(self.directory, 3 * SIZE + 10, VoiceMetrics(self.registry), lambda: self.now)

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            await self.shelf.put(name(number), content(number))
            self.now += 1

    async def has(self, *numbers: int) -> list[bool]:
        """What is there, without asking for it."""
        return [(self.directory / name(number)).exists() for number in numbers]

    def sample(self, metric: str) -> float | None:
        return self.registry.get_sample_value(metric)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "var" / "audio")


async def test_what_was_put_is_found_and_rtpengine_may_read_it(node: Node) -> None:
    assert await node.shelf.find(name(1)) is None
    await node.put(1)
    found = await node.shelf.find(name(1))
    assert found is not None
    assert (found.encoding, found.duration_ms) == (Encoding.A_LAW, 118)
    assert found.path.is_absolute()
    assert found.path.read_bytes() == content(1)
    assert found.path.stat().st_mode & 0o444 == 0o444
    assert (await node.shelf.read(name(1))).samples == b"\x01" * (SIZE - 58)
    assert [node.sample(f"signalbox_media_audio_{what}") for what in ("files", "bytes")] == [1, SIZE]


async def test_what_was_not_asked_for_the_longest_time_goes_first(node: Node) -> None:
    await node.put(1, 2, 3)
    assert await node.shelf.find(name(1))
    node.now += KEEP_S
    await node.put(4)
    assert await node.has(1, 2, 3, 4) == [True, False, True, True]
    assert await node.shelf.find(name(2)) is None
    assert node.sample("signalbox_media_audio_evicted_total") == 1
    assert node.sample("signalbox_media_audio_bytes") == 3 * SIZE


async def test_what_cannot_be_deleted_takes_room_still_and_holds_up_nothing(node: Node) -> None:
    await node.put(1, 2, 3)
    node.now += KEEP_S
    (node.directory / name(1)).unlink()
    (node.directory / name(1)).mkdir()
    larger = wav.build(Encoding.A_LAW, [b"\x04" * (2 * SIZE - 58)])
    with pytest.raises(CacheUnusableError, match="cannot be written"):
        await node.shelf.put(name(4), larger)
    assert node.sample("signalbox_media_audio_bytes") == 3 * SIZE
    await node.put(5)
    assert await node.has(2, 3, 5) == [False, True, True]
    assert node.sample("signalbox_media_audio_bytes") == 3 * SIZE


async def test_what_was_asked_for_lately_never_goes(node: Node) -> None:
    await node.put(1, 2, 3)
    with pytest.raises(CacheUnusableError, match=r"no room for 1000 bytes of audio: all of media\.voice\.cache_mb"):
        await node.put(4)
    assert await node.has(1, 2, 3, 4) == [True, True, True, False]
    assert node.sample("signalbox_media_audio_bytes") == 3 * SIZE
    node.now += KEEP_S
    await node.put(4)
    assert await node.has(1, 2, 3, 4) == [False, True, True, True]


async def test_a_file_may_be_put_again_and_counts_once(node: Node) -> None:
    await node.put(1, 1, 1)
    assert node.sample("signalbox_media_audio_bytes") == SIZE
    assert await node.shelf.find(name(1))


async def test_a_restart_knows_what_there_is_and_how_old(node: Node) -> None:
    await node.put(1, 2, 3)
    for number, age_s in ((1, 60), (2, KEEP_S + 60), (3, KEEP_S + 30)):
        moment = time.time() - age_s
        os.utime(node.directory / name(number), (moment, moment))
    node.start()
    found = await node.shelf.find(name(1))
    assert found is not None
    assert found.duration_ms == 118
    await node.put(4, 5)
    assert await node.has(1, 2, 3, 4, 5) == [True, False, False, True, True]
    with pytest.raises(CacheUnusableError):
        await node.put(6)


async def test_files_of_a_future_clock_are_as_new(node: Node) -> None:
    await node.put(1, 2, 3)
    for number in (1, 2, 3):
        os.utime(node.directory / name(number), (time.time() + 1e6,) * 2)
    node.start()
    node.now += KEEP_S
    await node.put(4)
    assert (await node.has(1, 2, 3)).count(True) == 2


async def test_asking_is_remembered_over_a_restart(node: Node) -> None:
    await node.put(1)
    os.utime(node.directory / name(1), (1.0, 1.0))
    assert await node.shelf.find(name(1))
    assert (node.directory / name(1)).stat().st_mtime > time.time() - 60


async def test_what_a_killed_sidecar_had_begun_is_cleared_and_what_is_not_ours_is_left(node: Node) -> None:
    begun, other = node.directory / f".{name(1)}.x7f3", node.directory / "notes.txt"
    begun.write_bytes(b"RIFF")
    other.write_bytes(b"not ours")
    node.start()
    assert not begun.exists()
    assert other.exists()
    assert node.sample("signalbox_media_audio_files") == 0


@pytest.mark.parametrize("damage", [b"", b"\x00", content(1)[:-10], content(2)])
async def test_a_damaged_file_is_as_none(node: Node, damage: bytes) -> None:
    await node.put(1)
    (node.directory / name(1)).write_bytes(damage)
    node.start()
    assert await node.shelf.find(name(1)) is None
    assert node.sample("signalbox_media_audio_files") == 0
    await node.put(1)
    assert await node.shelf.find(name(1)) is not None


async def test_a_file_that_somebody_deleted_is_as_none(node: Node) -> None:
    await node.put(1)
    (node.directory / name(1)).unlink()
    with pytest.raises(CacheUnusableError, match="No such file"):
        await node.shelf.read(name(1))
    assert await node.shelf.find(name(1)) is None
    assert node.sample("signalbox_media_audio_bytes") == 0


async def test_a_full_disk_is_told_and_costs_no_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", full)
        with pytest.raises(CacheUnusableError, match=r"cannot be written to the node's disk.*No space left"):
            await node.put(1)
    assert node.sample("signalbox_media_audio_bytes") == 0
    assert await node.shelf.find(name(1)) is None
    await node.put(1, 2, 3)
    assert await node.has(1, 2, 3) == [True, True, True]


async def test_what_is_there_plays_from_a_disk_that_cannot_be_written(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    await node.put(1)
    monkeypatch.setattr("signalbox.media.voice.shelf.os.utime", read_only)
    assert await node.shelf.find(name(1))


def test_a_directory_that_cannot_be_had_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"media\.voice\.cache_dir: .*Not a directory"):
        Node(tmp_path / "file" / "audio")


def test_a_directory_is_of_one_sidecar_until_that_ends(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "audio"
    held = hold(directory)
    with pytest.raises(ConfigurationError, match=rf"^media\.voice\.cache_dir: {directory} is another sidecar's$"):
        hold(directory)
    os.close(held)
    os.close(hold(directory))


def test_what_is_no_directory_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^media\.voice\.cache_dir: .*File exists"):
        hold(tmp_path / "file")
