"""What the sidecar believes of calls while rtpengine answers, does not, and is gone; with a disk that is as it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import ClaimLostError, DrainingError, MediaNodeUnavailableError
from signalbox.media.capture_service import describe
from signalbox.media.disk import Room
from signalbox.media.pausing import Pausing
from signalbox.media.shortage import ENOUGH_BYTES, EXHAUSTED_BYTES, Shortage
from signalbox.media.spool import SpoolError
from signalbox.ng import NgTimeoutError, NgUnreachableError
from support.capturing_fake import DIGITS, SIDES, Fake, capturing, fake, offers, step

if TYPE_CHECKING:
    from signalbox.media.capturing import Capturing
    from signalbox.media.offers import Offers

__all__ = ["capturing", "fake", "offers"]


def ready(capturing: Capturing) -> bool:
    """True if the one capture that there is may be had."""
    (capture,) = capturing.captures
    return capture.ready_since is not None


async def test_who_has_sent_nothing_yet_is_asked_for_again_soon(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.capturing.LOOK_AGAIN_S", 0.02)
    fake.codec = None
    fake.begin()
    await step(capturing)
    (capture,) = capturing.captures
    asked = len(fake.commands)
    await asyncio.sleep(0.03)
    await step(capturing)
    assert len(fake.commands) == asked + 1
    fake.codec = "PCMA/8000"
    await asyncio.sleep(0.05)
    await step(capturing)
    assert capture.note.sides == SIDES
    asked = len(fake.commands)
    await asyncio.sleep(0.1)
    await step(capturing)
    assert len(fake.commands) == asked, "all is known"


async def test_a_side_that_never_sends_is_asked_for_ever_less_often(fake: Fake, capturing: Capturing) -> None:
    fake.codec = None
    fake.begin()
    waits = []
    for _ in range(7):
        await step(capturing)
        (capture,) = capturing.captures
        waits.append(capture.look_after_s)
        capture.look_at = time.monotonic()
    assert waits == [1, 2, 4, 8, 16, 20, 20]


async def test_a_frozen_rtpengine_may_still_capture(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    fake.fails = NgTimeoutError("frozen")
    fake.end()
    for _ in range(3):
        await asyncio.sleep(0.04)
        await step(capturing)
    assert not ready(capturing)
    assert await capturing.calls() is None
    fake.fails = None
    await step(capturing)
    assert ready(capturing)


async def test_one_that_refuses_connections_and_answers_has_its_calls(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    fake.fails = NgUnreachableError("closed")
    await asyncio.sleep(0.06)
    await step(capturing)
    assert not ready(capturing)
    fake.gone = True
    await step(capturing)
    assert not ready(capturing), "the next process may have the call again"
    await asyncio.sleep(0.06)
    await step(capturing)
    assert ready(capturing)


async def test_one_that_was_gone_and_comes_back_frozen_may_have_the_call(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    fake.fails, fake.gone = NgUnreachableError("gone"), True
    await step(capturing)
    fake.fails = NgTimeoutError("frozen")
    await asyncio.sleep(0.06)
    await step(capturing)
    assert not ready(capturing)


async def test_a_new_process_captures_on_what_it_has_and_no_more(fake: Fake, capturing: Capturing) -> None:
    for call in ("alive", "paused", "stopped", "over"):
        fake.begin(call)
    await step(capturing)
    fake.end("stopped", gone=False)
    await Pausing(capturing, lambda: 7).set("paused", paused=True)
    fake.calls_now.discard("over")
    fake.commands.clear()
    fake.connections += 1
    fake.fails = NgTimeoutError("busy")
    await capturing.calls()
    fake.fails = None
    await capturing.calls()
    await capturing.calls()
    assert [command for command in fake.commands if command[0] == "start recording"] == [("start recording", "")]


async def test_a_claim_is_lost_when_more_is_captured(fake: Fake, capturing: Capturing, offers: Offers) -> None:
    fake.begin()
    fake.end()
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None
    fake.begin(digits="00000000000000bb")
    with pytest.raises(ClaimLostError):
        await offers.confirm(claimed[1].token, "call")
    assert not ready(capturing)
    assert await offers.claim("recorder-1", 30, 0) is None
    fake.end(digits="00000000000000bb")
    await step(capturing)
    again = await offers.claim("recorder-2", 30, 0)
    assert again is not None
    assert len(again[0].segments) == 2


async def test_a_claim_is_lost_when_the_list_has_its_call(fake: Fake, capturing: Capturing, offers: Offers) -> None:
    fake.begin()
    fake.end()
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None
    fake.calls_now.add("call")
    await capturing.calls()
    with pytest.raises(ClaimLostError):
        offers.renew(claimed[1].token, 30)


async def test_a_claim_is_good_for_its_own_capture_alone(fake: Fake, capturing: Capturing, offers: Offers) -> None:
    for call in ("a", "b"):
        fake.begin(call)
        fake.end(call)
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None
    with pytest.raises(ClaimLostError):
        await offers.confirm(claimed[1].token, "b")
    assert len(capturing.captures) == 2


async def test_who_waits_is_told_when_the_sidecar_stops(offers: Offers) -> None:
    waiting = asyncio.create_task(offers.claim("recorder-1", 30, 30))
    await asyncio.sleep(0)
    offers.close()
    with pytest.raises(DrainingError):
        await waiting


async def test_a_capture_that_cannot_be_deleted_stays(
    fake: Fake, capturing: Capturing, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()
    fake.end()
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", read_only)
        with pytest.raises(SpoolError, match="Read-only"):
            await offers.confirm(claimed[1].token, "call")
    await offers.confirm(claimed[1].token, "call")
    assert len(capturing.captures) == 0


async def test_what_cannot_be_noted_is_noted_later_and_pauses_no_less(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("signalbox.media.spool.write_atomically", full)
        await step(capturing)
        with pytest.raises(SpoolError, match="not be noted"):
            await Pausing(capturing, lambda: 7).set("call", paused=True)
    assert fake.commands[-1] == ("stop recording", "")
    (capture,) = capturing.captures
    assert capture.note.sides == SIDES
    capture.save_at = 0.0
    await step(capturing)
    (stored,) = capturing.spool.load()
    assert stored.note.sides == SIDES
    assert stored.note.paused


async def test_a_pause_that_is_not_known_to_be_done_is_an_error_and_kept(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    fake.fails = NgTimeoutError("frozen")
    with pytest.raises(MediaNodeUnavailableError):
        await Pausing(capturing, lambda: 7).set("call", paused=True)
    (capture,) = capturing.captures
    assert capture.note.paused


async def test_a_call_that_could_not_go_on_is_paused_still(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    pausing = Pausing(capturing, lambda: 7)
    fake.end(gone=False)
    await pausing.set("call", paused=True)
    fake.fails = NgTimeoutError("frozen")
    with pytest.raises(MediaNodeUnavailableError):
        await pausing.set("call", paused=False)
    (stored,) = capturing.spool.load()
    assert stored.note.paused
    fake.fails = None
    # Carried out after all, though nobody heard the answer.
    fake.begin(digits="00000000000000bb")
    fake.commands.clear()
    await capturing.look()
    assert fake.commands[0] == ("stop recording", "")
    (capture,) = capturing.captures
    assert len(capture.segments) == 1
    assert not list((fake.directory / "pcaps").iterdir())


async def test_what_was_captured_while_the_disk_was_full_is_not_whole(fake: Fake, capturing: Capturing) -> None:
    shortage = Shortage(capturing)
    for call in ("cut", "paused", "over"):
        fake.begin(call)
    await step(capturing)
    fake.end("over")
    await step(capturing)
    await shortage.saw(Room(EXHAUSTED_BYTES - 1, 0.0))
    fake.end("paused", gone=False)
    await Pausing(capturing, lambda: 7).set("paused", paused=True)
    fake.commands.clear()
    await shortage.saw(Room(ENOUGH_BYTES - 1, 1.0))
    assert fake.commands == [], "there might be room for a moment only"
    fake.fails = NgTimeoutError("busy")
    await shortage.saw(Room(ENOUGH_BYTES, 1.0))
    fake.fails = None
    await shortage.saw(Room(ENOUGH_BYTES, 1.0))
    assert fake.commands == [("stop recording", ""), ("start recording", "")]
    fake.end("cut", gone=False)
    fake.begin("cut", "00000000000000bb")
    await step(capturing)
    fake.commands.clear()
    await shortage.saw(Room(ENOUGH_BYTES, 1.0))
    assert fake.commands == []
    told = {capture.call_id: describe(capture, claimed=False) for capture in capturing.captures}
    assert [segment.whole for segment in told["cut"].segments] == [False, False]
    assert [segment.whole for segment in told["paused"].segments] == [False]
    assert [segment.whole for segment in told["over"].segments] == [True]
    await step(capturing)
    assert {stored.note.call_id for stored in capturing.spool.load() if stored.note.cut} == {"cut", "paused"}


async def test_a_spool_that_is_not_there_yet_is_read_when_it_is(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.capturing.POLL_S", 0.01)
    hidden = fake.directory.with_name("hidden")
    fake.begin()
    fake.end()
    fake.directory.rename(hidden)
    assert not await capturing.everything()
    polling = asyncio.create_task(capturing.poll())
    await asyncio.sleep(0.03)
    hidden.rename(fake.directory)
    async with asyncio.timeout(5):
        while not capturing.captures:  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.01)
    polling.cancel()
    assert await capturing.everything()


async def test_what_a_killed_rtpengine_had_only_begun_is_tidied_up(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.capturing.LIST_S", 0.01)
    monkeypatch.setattr("signalbox.media.capturing.POLL_S", 0.01)
    fake.begin("captured")
    fake.calls_now = {"alive"}
    for call in ("alive", "captured", "lost"):
        (fake.directory / "tmp" / f"rtpengine-meta-{call}-{DIGITS}.tmp").touch()
    await capturing.look()
    watching = asyncio.create_task(capturing.watch())
    async with asyncio.timeout(5):
        while len(list((fake.directory / "tmp").iterdir())) > 2:  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert {path.name.split("-")[2] for path in (fake.directory / "tmp").iterdir()} == {"alive", "captured"}


async def test_what_could_not_be_taken_in_is_not_said_to_be_missing(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()
    with monkeypatch.context() as patched:
        patched.setattr("signalbox.media.spool.os.rename", lambda *_: Path("/nonexistent").stat())
        assert not await capturing.everything()
    assert await capturing.everything()


async def test_an_answer_that_came_late_wakes_nobody(capturing: Capturing) -> None:
    began = time.monotonic()
    await capturing.woken(0.01)
    await capturing.woken(-1)
    assert time.monotonic() - began < 5
