"""Whatever fails, nothing is said to be paused that may be captured, and what was captured all the same is no part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import MediaNodeUnavailableError, NotFoundError, NotRecordedError
from signalbox.media.capture_service import describe
from signalbox.media.pausing import Pausing
from signalbox.media.spool import SpoolError
from signalbox.ng import NgTimeoutError
from structlog.testing import capture_logs
from support.capturing_fake import Fake, again, capturing, fake, offers, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.media.capturing import Capturing
    from signalbox.media.offers import Offers

__all__ = ["capturing", "fake", "offers"]

LATER = "00000000000000bb"
STOP, START = ("stop recording", ""), ("start recording", "sb1,x")


@pytest.fixture
def pausing(capturing: Capturing) -> Pausing:
    return Pausing(capturing, lambda: 7)


@pytest.fixture
async def paused(fake: Fake, capturing: Capturing, pausing: Pausing) -> Capturing:
    """A call that is paused; somebody else has it captured again."""
    fake.begin()
    await step(capturing)
    fake.end(gone=False)
    await pausing.set("call", paused=True)
    fake.commands.clear()
    fake.begin(digits=LATER)
    return capturing


def segments(capturing: Capturing) -> list[str]:
    """Of the one capture that there is, as recorders see it."""
    (capture,) = capturing.captures
    return [segment.name[:6] for segment in describe(capture, claimed=False).segments]


def left(fake: Fake) -> list[str]:
    """All packets on the disk."""
    return sorted(path.name[:6] for path in fake.directory.rglob("*.pcap"))


async def test_what_was_captured_against_a_pause_is_stopped_then_deleted(fake: Fake, paused: Capturing) -> None:
    (fake.directory / "metadata" / f"rtpengine-meta-call-{LATER}.txt").write_text("x\nsb1,x\n")
    await paused.look()
    assert fake.commands[0] == STOP
    assert (segments(paused), left(fake)) == (["000001"], ["000001"])
    assert not list((fake.directory / "metadata").iterdir())
    fake.commands.clear()
    await paused.look()
    assert STOP not in fake.commands, "once is enough"


async def test_what_cannot_be_deleted_is_stopped_no_less_and_no_part_after_a_restart(
    fake: Fake, paused: Capturing, pausing: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def broken(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("000002"):
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", broken)
        await paused.look()
        assert fake.commands[0] == STOP
        assert segments(paused) == ["000001"]
        with pytest.raises(SpoolError, match="Input/output"):
            await pausing.set("call", paused=False)
        after = again(fake, paused)
        await step(after)
        assert segments(after) == ["000001"]
    await step(after)
    assert left(fake) == ["000001"]
    after.spool.close()


async def test_a_sidecar_that_was_killed_before_it_deleted_it(fake: Fake, paused: Capturing) -> None:
    paused.spool.arrivals()
    after = again(fake, paused)
    fake.fails = NgTimeoutError("frozen")
    with capture_logs() as logs:
        for _ in range(3):
            await step(after)
    assert [log["event"] for log in logs].count("not_paused_again") == 1
    assert (segments(after), left(fake)) == (["000001"], ["000001"])
    fake.fails = None
    await step(after)
    assert STOP in fake.commands
    after.spool.close()


async def test_it_is_stopped_though_it_cannot_be_taken_in(
    fake: Fake, paused: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("signalbox.media.spool.os.rename", lambda *_: Path("/nonexistent").stat())
        await paused.look()
        assert STOP in fake.commands
    await paused.look()
    assert left(fake) == ["000001"]


async def test_a_pause_of_what_cannot_be_taken_in(fake: Fake, capturing: Capturing, pausing: Pausing) -> None:
    """It is stopped, but who ordered it must not believe that all is well, nor that nothing is captured."""
    own = fake.directory / "signalbox"
    own.mkdir()
    await step(capturing)
    (own / "call.call").touch()
    fake.begin()
    with pytest.raises(SpoolError, match="File exists"):
        await pausing.set("call", paused=True)
    assert fake.commands[-1] == STOP
    with pytest.raises(SpoolError, match="File exists"):
        await pausing.set("call", paused=False)
    (own / "call.call").unlink()
    fake.end(gone=False)
    await pausing.set("call", paused=True)
    assert segments(capturing) == ["000001"]


async def test_a_pause_while_the_spool_cannot_be_read(fake: Fake, capturing: Capturing, pausing: Pausing) -> None:
    fake.begin()
    fake.directory.rename(fake.directory.with_name("hidden"))
    with pytest.raises(SpoolError):
        await pausing.set("call", paused=True)
    assert fake.commands == [STOP]
    fake.directory.with_name("hidden").rename(fake.directory)


async def test_a_call_of_which_there_is_no_file_yet(fake: Fake, capturing: Capturing, pausing: Pausing) -> None:
    with pytest.raises(NotFoundError):
        await pausing.set("call", paused=True)
    fake.calls_now.add("call")
    await pausing.set("call", paused=True)
    assert fake.commands == [STOP]
    after = again(fake, capturing)
    fake.begin()
    fake.end(gone=False)
    await step(after)
    assert (segments(after), left(fake)) == ([], [])
    fake.commands.clear()
    with pytest.raises(MediaNodeUnavailableError, match="no file"):
        await Pausing(after, lambda: 7).set("call", paused=False)
    assert START in fake.commands, "what the proxy gave with it is known"
    after.spool.close()


async def test_a_call_that_nobody_recorded_is_not_recorded_when_it_goes_on(
    fake: Fake, capturing: Capturing, pausing: Pausing, offers: Offers
) -> None:
    fake.calls_now.add("call")
    with pytest.raises(NotRecordedError):
        await pausing.set("call", paused=False)
    await pausing.set("call", paused=True)
    with pytest.raises(NotRecordedError):
        await pausing.set("call", paused=False)
    assert ("start recording", "") not in fake.commands
    await pausing.set("call", paused=True)
    fake.calls_now.clear()
    await step(capturing)
    assert await offers.claim("recorder-1", 30, 0) is None
    assert len(capturing.captures) == 0
    assert not list((fake.directory / "signalbox").iterdir())


async def test_it_goes_on_when_there_is_a_new_segment_not_when_rtpengine_says_so(
    fake: Fake, capturing: Capturing, pausing: Pausing
) -> None:
    """A killed rtpengine leaves a segment that never ends."""
    fake.begin()
    await step(capturing)
    await pausing.set("call", paused=True)
    with pytest.raises(MediaNodeUnavailableError, match="no file"):
        await pausing.set("call", paused=False)
    (capture,) = capturing.captures
    assert capture.note.paused


async def test_a_start_that_was_carried_out_though_it_failed_adds_nothing(
    fake: Fake, capturing: Capturing, pausing: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.begin()
    await step(capturing)
    fake.end(gone=False)
    await pausing.set("call", paused=True)
    request = fake.request

    async def begins(command: str, arguments: Mapping[str, str]) -> object:
        if command == "start recording":
            fake.begin(digits=LATER)
            fake.end(digits=LATER, gone=False)
        return await request(command, arguments)

    with monkeypatch.context() as patched:
        # The segment itself can be taken in, its metadata cannot.
        patched.setattr(fake, "request", begins)
        patched.setattr(capturing.spool, "_take_metadata", lambda *_: Path("/nonexistent").stat())
        with pytest.raises(SpoolError):
            await pausing.set("call", paused=False)
    assert segments(capturing) == ["000001"]
    fake.commands.clear()
    await capturing.look()
    assert fake.commands[0] == STOP
    assert (segments(capturing), left(fake)) == (["000001"], ["000001"])


@pytest.mark.parametrize("id", ["call-1", "call-1.2", "w1.call-1"])
async def test_a_workers_call_is_found_by_its_id_and_by_that_of_its_recording(
    fake: Fake, capturing: Capturing, pausing: Pausing, id: str
) -> None:
    fake.begin("w1.call-1")
    await step(capturing)
    fake.end("w1.call-1", gone=False)
    await pausing.set(id, paused=True)
    (one,) = capturing.captures
    assert (one.call_id, one.note.paused) == ("w1.call-1", True)


async def test_a_workers_call_of_which_nothing_is_captured_yet_is_found_by_its_id(
    fake: Fake, capturing: Capturing, pausing: Pausing
) -> None:
    fake.calls_now |= {"edge-1-8", "w1.call-1", "w1.call-12"}
    await pausing.set("call-1", paused=True)
    (one,) = capturing.captures
    assert (one.call_id, one.note.paused) == ("w1.call-1", True)


async def test_media_beside_a_workers_call_are_not_the_call(fake: Fake, capturing: Capturing, pausing: Pausing) -> None:
    beside = {f"w1.call-1.{number}" for number in range(2, 10)}
    fake.calls_now |= beside
    with pytest.raises(NotFoundError):
        await pausing.set("call-1", paused=True)
    fake.calls_now |= {"w1.call-1"}
    await pausing.set("call-1", paused=True)
    assert [one.call_id for one in capturing.captures if one.note.paused] == ["w1.call-1"]


@pytest.mark.parametrize("id", ["call-2", "w1"])
async def test_a_call_that_nobody_has_is_none_of_a_workers(
    fake: Fake, capturing: Capturing, pausing: Pausing, id: str
) -> None:
    fake.begin("w1.call-1")
    await step(capturing)
    with pytest.raises(NotFoundError):
        await pausing.set(id, paused=True)
    assert [one.note.paused for one in capturing.captures if one.call_id == "w1.call-1"] == [False]
