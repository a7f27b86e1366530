"""Whether a caller is silent, while the file of its packets grows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import NotRecordedError
from signalbox.media import hearing as module
from signalbox.media.hearing import Hearing
from support.capturing_fake import DIGITS, Fake, capturing, fake, offers
from support.loud import FRAME_US, HEAD, LOUD, SILENCE, START_US, record, rtp
from support.packets import ipv4
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.media.capturing import Capturing

__all__ = ["capturing", "fake", "offers"]

CALL = "w1.call-1"
LATER = "00000000000000bb"
WAIT_S = 20.0
SILENCE_S = 1.0


class File:
    """Of one segment; packets are of times from now on, which passes as fast as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frame = round((time.time_ns() // 1000 - START_US) / FRAME_US)
        path.write_bytes(HEAD)

    def grow(self, sound: bytes, frames: int) -> None:
        with self._path.open("ab") as file:
            for _ in range(frames):
                file.write(record(ipv4(rtp(sound)), self._frame))
                self._frame += 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)


@pytest.fixture
async def file(fake: Fake, capturing: Capturing) -> File:
    fake.begin(CALL)
    await capturing.take_in()
    (one,) = capturing.captures
    return File(capturing.spool.path(one.folder, one.segments[0]))


@pytest.fixture
async def silent(
    capturing: Capturing, file: File, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Task[None]]:
    """Somebody waits for silence. That nothing comes is not noticed."""
    monkeypatch.setattr(module, "STALL_S", 60.0)
    task = asyncio.create_task(Hearing(capturing).silent(CALL, SILENCE_S))
    yield task
    task.cancel()
    await asyncio.wait([task])


async def a_while() -> None:
    """Looks have been taken."""
    await asyncio.sleep(0.1)


async def test_who_has_been_silent_for_long_enough_is_silent(silent: asyncio.Task[None], file: File) -> None:
    file.grow(LOUD, 50)
    file.grow(SILENCE, 45)
    await a_while()
    file.grow(LOUD, 5)
    file.grow(SILENCE, 45)
    await a_while()
    assert not silent.done()
    file.grow(SILENCE, 10)
    await until(silent.done, WAIT_S)
    silent.result()


async def test_who_has_said_nothing_yet_is_silent_from_the_question_on(silent: asyncio.Task[None], file: File) -> None:
    file.grow(SILENCE, 40)
    await a_while()
    assert not silent.done()
    file.grow(SILENCE, 20)
    await until(silent.done, WAIT_S)


async def test_who_sends_nothing_is_silent(capturing: Capturing, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.05)
    file.grow(LOUD, 5)
    async with asyncio.timeout(WAIT_S):
        await Hearing(capturing).silent(CALL, 0.5)


async def test_what_is_captured_after_a_pause_is_heard_too(
    fake: Fake, capturing: Capturing, silent: asyncio.Task[None], file: File
) -> None:
    file.grow(LOUD, 5)
    fake.end(CALL, gone=False)
    await capturing.take_in()
    fake.begin(CALL, LATER)
    await capturing.take_in()
    (one,) = capturing.captures
    assert [segment.name for segment in one.segments] == [f"000001-{DIGITS}.pcap", f"000002-{LATER}.pcap"]
    later = File(capturing.spool.path(one.folder, one.segments[1]))
    later.grow(SILENCE, 200)
    await until(silent.done, WAIT_S)
    silent.result()


async def test_nobody_is_heard_of_whom_nothing_is_captured(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEGINS_S", 0.05)
    with pytest.raises(NotRecordedError):
        await Hearing(capturing).silent(CALL, SILENCE_S)
    fake.begin(CALL)
    fake.end(CALL)
    await capturing.take_in()
    with pytest.raises(NotRecordedError):
        await Hearing(capturing).silent(CALL, SILENCE_S)
