"""Whether more recordings are promised, by what the disk has left."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.media import disk
from signalbox.media.capture_metrics import CaptureMetrics
from signalbox.media.disk import MIB, Disk, Promise, Room
from signalbox.settings import CapturesSettings
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from pathlib import Path


def room(percent: float = 50.0, mb: float = 5000) -> Room:
    return Room(int(mb * MIB), percent)


@pytest.fixture
def promise() -> Promise:
    return Promise(10, 1024)


@pytest.mark.parametrize("seen", [None, room(9.9), room(mb=1023)])
def test_nothing_is_promised_without_room(promise: Promise, seen: Room | None) -> None:
    assert not promise.holds
    assert not promise.saw(seen)
    assert not promise.holds


def test_the_first_look_needs_the_limit_alone(promise: Promise) -> None:
    assert promise.saw(room(10, 1024))
    assert promise.holds
    assert not promise.saw(room(10, 1024))


@pytest.mark.parametrize(("low", "not_yet", "enough"), [(9.9, 10.9, 11.01), (1.0, 10.5, 50.0)])
def test_it_takes_more_to_promise_again(promise: Promise, low: float, not_yet: float, enough: float) -> None:
    promise.saw(room())
    assert promise.saw(room(low))
    assert not promise.saw(room(not_yet))
    assert promise.saw(room(enough))
    assert promise.holds


def test_megabytes_too(promise: Promise) -> None:
    promise.saw(room())
    assert promise.saw(room(mb=1000))
    assert not promise.saw(room(mb=1100))
    assert promise.saw(room(mb=1127))


def test_a_disk_has_what_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "pcaps").mkdir()
    seen = disk.look(tmp_path)
    told = os.statvfs(tmp_path)
    assert abs(seen.free - told.f_bavail * told.f_frsize) < 10 * 1024 * MIB
    assert 0 <= seen.percent <= 100


class Watched:
    """A disk that is looked at by hand."""

    def __init__(self, spool: Path, **limits: float) -> None:
        self.registry = CollectorRegistry()
        self.changes: list[bool] = []
        self.rooms: list[Room] = []
        self.why_not = ""
        settings = CapturesSettings(spool_dir=spool, **{"free_percent": 0, "free_mb": 1, **limits})
        self.disk = Disk(settings, CaptureMetrics(self.registry), self.changes.append, self.saw, lambda: self.why_not)

    async def saw(self, room: Room) -> None:
        self.rooms.append(room)

    def sample(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


async def test_a_spool_that_comes_and_goes(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    watched = Watched(spool)
    await watched.disk.look()
    assert watched.changes == []
    assert watched.sample("signalbox_media_records") == 0
    spool.mkdir()
    await watched.disk.look()
    assert watched.changes == [], "rtpengine does not capture there"
    (spool / "pcaps").mkdir()
    await watched.disk.look()
    assert watched.changes == [True]
    assert len(watched.rooms) == 1
    assert watched.sample("signalbox_media_records") == 1
    assert (watched.sample("signalbox_media_spool_free_bytes") or 0) > 0
    shutil.rmtree(spool)
    await watched.disk.look()
    assert watched.changes == [True, False]
    assert watched.sample("signalbox_media_spool_free_bytes") == 0


async def test_a_spool_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pcaps").mkdir()
    monkeypatch.setattr("signalbox.media.disk.os.access", lambda path, _: path != tmp_path)
    watched = Watched(tmp_path)
    await watched.disk.look()
    assert watched.changes == []


async def test_nothing_is_promised_while_what_is_captured_cannot_be_taken_in(tmp_path: Path) -> None:
    (tmp_path / "pcaps").mkdir()
    watched = Watched(tmp_path)
    watched.why_not = "not read yet"
    await watched.disk.look()
    assert watched.changes == []
    watched.why_not = ""
    await watched.disk.look()
    assert watched.changes == [True]


async def test_captures_that_everybody_could_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "pcaps").mkdir()
    (tmp_path / "pcaps").chmod(0o755)
    os.chmod(tmp_path, 0o700)
    watched = Watched(tmp_path)
    with capture_logs() as logs:
        await watched.disk.look()
        assert not [log for log in logs if log["event"] == "captures_open_to_others"]
        os.chmod(tmp_path, 0o755)
        for _ in range(2):
            await watched.disk.look()
    assert len([log for log in logs if log["event"] == "captures_open_to_others"]) == 1


async def test_a_disk_that_is_too_full(tmp_path: Path) -> None:
    (tmp_path / "pcaps").mkdir()
    watched = Watched(tmp_path, free_mb=1 << 40)
    await watched.disk.look()
    assert watched.changes == []
    assert (watched.sample("signalbox_media_spool_free_bytes") or 0) > 0
