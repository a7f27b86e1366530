"""Who waits for a change may be gone at any moment: what the disk has is known all the same."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.certificates import Access
from signalbox.errors import ClaimLostError
from signalbox.media.capture_service import TABLE, CaptureService, describe
from signalbox.media.disk import Room
from signalbox.media.pausing import Pausing
from signalbox.media.shortage import ENOUGH_BYTES, EXHAUSTED_BYTES, Shortage
from signalbox.media.spool import SpoolError
from support.capturing_fake import Fake, again, capturing, fake, offers, sidecar, step

if TYPE_CHECKING:
    from signalbox.media.capturing import Capturing
    from signalbox.media.offers import Offers
    from signalbox.media.spool import Arrivals

__all__ = ["capturing", "fake", "offers"]


async def test_what_is_taken_in_for_one_who_has_gone_is_known(
    fake: Fake, capturing: Capturing, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access(TABLE, certified=False)
    service = CaptureService("m", lambda: 1, capturing, offers, Pausing(capturing, lambda: 1), access)
    server = grpc.aio.server()
    recording_pb2_grpc.add_CaptureServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await step(capturing)
    fake.begin()
    taken, arrivals = asyncio.Event(), capturing.spool.arrivals
    loop = asyncio.get_running_loop()

    def slow() -> Arrivals:
        found = arrivals()
        loop.call_soon_threadsafe(taken.set)
        time.sleep(0.1)
        return found

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = recording_pb2_grpc.CaptureServiceStub(channel)
        with monkeypatch.context() as patched:
            patched.setattr(capturing.spool, "arrivals", slow)
            asked = stub.ListCaptures(recording_pb2.ListCapturesRequest())
            await taken.wait()
            asked.cancel()
            await asyncio.wait([asyncio.ensure_future(asked.code())])
            # Whoever comes next waits for the thread.
            listed = await stub.ListCaptures(recording_pb2.ListCapturesRequest())
    assert [capture.call_id for capture in listed.captures] == ["call"]
    await server.stop(None)
    await capturing.close(5)


async def test_a_confirmation_is_carried_out_for_one_who_has_gone(
    fake: Fake, capturing: Capturing, offers: Offers
) -> None:
    fake.begin()
    fake.end()
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None
    confirming = asyncio.create_task(offers.confirm(claimed[1].token, "call"))
    await asyncio.sleep(0)
    confirming.cancel()
    await capturing.everything()
    assert len(capturing.captures) == 0
    assert not list((fake.directory / "signalbox").iterdir())


async def test_lists_that_nobody_waits_for_do_not_queue_up(fake: Fake, capturing: Capturing) -> None:
    asked = 0

    async def calls() -> frozenset[str]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return frozenset()

    fake.calls = calls  # type: ignore[method-assign]
    first = asyncio.create_task(capturing.calls())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(capturing.calls()) for _ in range(20)]
    await asyncio.gather(first, *rest)
    assert asked == 2


async def test_a_descriptor_is_never_left_open(fake: Fake, capturing: Capturing, offers: Offers) -> None:
    fake.begin()
    fake.end()
    await step(capturing)
    claimed = await offers.claim("recorder-1", 30, 0)
    assert claimed is not None
    name = claimed[0].segments[0].name

    async def read() -> bytes:
        return b"".join([piece async for piece in offers.read(claimed[1].token, name, 0)])

    assert await read() == b"12345"
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert await read() == b"12345"
    async with asyncio.timeout(5):
        while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.01)
    capturing.spool.path(claimed[0].folder, claimed[0].segments[0]).unlink()
    with pytest.raises(SpoolError):
        await read()
    offers.release(claimed[1].token, 0, "test")
    with pytest.raises(ClaimLostError):
        await read()


async def test_one_folder_that_cannot_be_read_holds_up_nothing_else(
    fake: Fake, capturing: Capturing, offers: Offers
) -> None:
    """Neither are its captures missing, nor is anything taken into it: its call may be paused."""
    fake.begin("bad")
    await step(capturing)
    await Pausing(capturing, lambda: 7).set("bad", paused=True)
    note = fake.directory / "signalbox" / "bad.call" / "note.json"
    content = note.read_bytes()
    note.unlink()
    note.mkdir()
    fake.begin("good")
    fake.begin("bad", "00000000000000bb")
    fake.end("good")
    after = again(fake, capturing)
    await step(after)
    await step(after)
    assert after.why_not == ""
    assert list(after.spool.unread) == ["bad.call"]
    assert {capture.call_id for capture in after.captures if capture.ready_since is not None} == {"good"}
    with pytest.raises(SpoolError, match="directory"):
        await Pausing(after, lambda: 7).set("bad", paused=True)
    note.rmdir()
    note.write_bytes(content)
    await step(after)
    bad = after.captures.get("bad")
    assert bad is not None
    assert bad.note.paused
    assert len(bad.segments) == 1
    after.spool.close()


async def test_a_spool_is_one_sidecars(fake: Fake, capturing: Capturing) -> None:
    fake.begin()
    await step(capturing)
    other = sidecar(fake)
    assert not await other.everything()
    assert "another sidecar's" in other.why_not
    capturing.spool.close()
    assert await other.everything()
    other.spool.close()


async def test_what_was_cut_is_known_to_a_sidecar_that_was_started_before_it_could_be_noted(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()
    await step(capturing)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("signalbox.media.spool.write_atomically", full)
        await Shortage(capturing).saw(Room(EXHAUSTED_BYTES - 1, 0.0))
        await step(capturing)
    after = again(fake, capturing)
    await step(after)
    fake.commands.clear()
    await Shortage(after).saw(Room(ENOUGH_BYTES, 90.0))
    assert [command for command, _ in fake.commands] == ["stop recording", "start recording"]
    fake.end()
    await step(after)
    (capture,) = after.captures
    assert [segment.whole for segment in describe(capture, claimed=False).segments] == [False]
    after.spool.close()


async def test_a_cut_that_cannot_be_marked_is_noted_all_the_same(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()
    await step(capturing)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", lambda *_: Path("/nonexistent").stat())
        await Shortage(capturing).saw(Room(EXHAUSTED_BYTES - 1, 0.0))
    await step(capturing)
    (stored,) = capturing.spool.load()
    assert stored.note.cut


async def test_a_note_that_cannot_be_written_holds_up_no_other(
    fake: Fake, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.media.capturing.AT_ONCE", 1)
    fake.begin("bad")
    fake.begin("good")
    await step(capturing)
    for capture in capturing.captures:
        capture.unsaved = True
    (fake.directory / "signalbox" / "bad.call" / "note.json").unlink(missing_ok=True)
    (fake.directory / "signalbox" / "bad.call" / "note.json").mkdir()
    for _ in range(2):
        await capturing.look()
    assert {capture.call_id for capture in capturing.captures if capture.unsaved} == {"bad"}
