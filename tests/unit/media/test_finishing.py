"""Recordings that end while their calls go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.errors import MediaNodeUnavailableError, NotRecordedError
from signalbox.media import finishing as module
from signalbox.media.capture_service import describe
from signalbox.media.finishing import Finished, Finishing, Limits
from signalbox.media.spool import SpoolError
from signalbox.ng import NgTimeoutError
from support.capturing_fake import DIGITS, Fake, again, capturing, fake, offers, step
from support.loud import FRAME_US, LOUD, SILENCE, START_US, sound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.media.capturing import Capturing
    from signalbox.media.offers import Offers

__all__ = ["capturing", "fake", "offers"]

CALL = "w1.call-1"
APART = f"{CALL}~{DIGITS}"
LATER = "00000000000000bb"
FACTS = "sb2,1795365481.042,night,7,acme,4001234567,caller,line,-,-,,-,message"
KEPT_FRAMES = 1_000 * module.LEFT_MS // FRAME_US


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.2)


@pytest.fixture
def finishing(capturing: Capturing) -> Finishing:
    return Finishing(capturing, lambda: 7)


async def say(fake: Fake, capturing: Capturing, content: bytes, digits: str = DIGITS) -> None:
    """A call is captured, and the caller says that; its order to stop is carried out at once."""
    fake.begin(CALL, digits)
    (fake.directory / "pcaps" / f"{CALL}-{digits}.pcap").write_bytes(content)
    await capturing.take_in()
    asked = type(fake).request.__get__(fake)

    async def request(command: str, arguments: Mapping[str, str]) -> Any:
        reply = await asked(command, arguments)
        if command == "stop recording":
            path = fake.directory / "metadata" / f"rtpengine-meta-{CALL}-{digits}.txt"
            path.write_text(f"x\n{FACTS}\n")
        return reply

    fake.request = request  # type: ignore[method-assign]


def names(capturing: Capturing) -> list[str]:
    return sorted(one.call_id for one in capturing.captures)


def left(fake: Fake) -> list[str]:
    """Files on the disk."""
    return sorted(str(path.relative_to(fake.directory)) for path in fake.directory.rglob("*") if path.is_file())


async def test_what_has_ended_is_a_recording_of_its_own_while_the_call_goes_on(
    fake: Fake, capturing: Capturing, finishing: Finishing, offers: Offers
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 9, *[SILENCE] * 50))
    assert await finishing.finish(CALL, None) == Finished(True)
    assert names(capturing) == [APART]
    await step(capturing)
    claimed = await offers.claim("recorder", 60, 0)
    assert claimed is not None
    told = describe(claimed[0], claimed=True)
    assert (told.call_id, told.call, told.facts.call_id, told.facts.line) == (APART, "call-1", "call-1", "night")
    assert [segment.whole for segment in told.segments] == [True]
    content = b"".join([piece async for piece in offers.read(claimed[1].token, told.segments[0].name, 0)])
    assert content == sound(*[LOUD] * 9, *[SILENCE] * 50)
    # What follows in the call is another one.
    await say(fake, capturing, sound(LOUD), LATER)
    assert names(capturing) == [CALL, APART]
    await offers.confirm(claimed[1].token, APART)
    assert names(capturing) == [CALL]


async def test_a_sidecar_that_is_started_anew_knows_it(fake: Fake, capturing: Capturing, finishing: Finishing) -> None:
    await say(fake, capturing, sound(*[LOUD] * 9))
    await capturing.look()
    await finishing.finish(CALL, None)
    found = again(fake, capturing)
    await step(found)
    await step(found)
    (one,) = found.captures
    assert (one.call_id, one.ready_since is not None) == (APART, True)
    assert list(one.note.sides) == [(30_000, "caller")]
    found.spool.close()


async def test_the_silence_at_the_end_of_a_message_is_cut_off(
    fake: Fake, capturing: Capturing, finishing: Finishing
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60, *[SILENCE] * 250))
    assert await finishing.finish(CALL, Limits(1_000)) == Finished(True, 59 * 20)
    (one,) = capturing.captures
    path = capturing.spool.path(one.folder, one.segments[0])
    assert path.read_bytes() == sound(*[LOUD] * 60, *[SILENCE] * KEPT_FRAMES)


async def test_the_tone_of_a_key_is_cut_off_first(fake: Fake, capturing: Capturing, finishing: Finishing) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60, *[SILENCE] * 20, *[LOUD] * 10))
    assert await finishing.finish(CALL, Limits(1_000, START_US + 79 * FRAME_US)) == Finished(True, 59 * 20)


@pytest.mark.parametrize(
    ("frames", "limits"),
    [
        ([SILENCE] * 100, Limits(0)),
        ([LOUD] * 20 + [SILENCE] * 100, Limits(400)),
        ([LOUD] * 20, Limits(0, START_US - 1)),
        ([], Limits(0)),
    ],
)
async def test_of_what_is_no_message_nothing_is_left(
    fake: Fake, capturing: Capturing, finishing: Finishing, frames: list[bytes], limits: Limits
) -> None:
    await say(fake, capturing, sound(*frames))
    assert await finishing.finish(CALL, limits) == Finished(False)
    assert names(capturing) == []
    assert left(fake) == []


async def test_what_could_not_be_ended_before_stays_when_a_message_is_none(
    fake: Fake, capturing: Capturing, finishing: Finishing
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60))
    fake.end(CALL, gone=False)
    await say(fake, capturing, sound(SILENCE), LATER)
    assert await finishing.finish(CALL, Limits(1_000)) == Finished(False)
    (one,) = capturing.captures
    assert [segment.name for segment in one.segments] == [f"000001-{DIGITS}.pcap"]
    assert [name for name in left(fake) if LATER in name] == []


async def test_a_call_that_is_over_has_ended_its_recording(
    fake: Fake, capturing: Capturing, finishing: Finishing
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60))
    fake.end(CALL)
    assert await finishing.finish(CALL, Limits(1_000)) == Finished(True, 59 * 20)
    assert names(capturing) == [APART]


async def test_one_that_rtpengine_does_not_end_in_order_is_kept_as_it_is(
    fake: Fake, capturing: Capturing, finishing: Finishing
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60))
    fake.calls_now.clear()
    assert await finishing.finish(CALL, None) == Finished(True)
    assert [segment.whole for one in capturing.captures for segment in one.segments] == [False]


async def test_of_what_is_not_recorded_nothing_can_end(fake: Fake, finishing: Finishing) -> None:
    fake.calls_now.add(CALL)
    with pytest.raises(NotRecordedError):
        await finishing.finish(CALL, Limits(0))


async def test_whatever_fails_it_is_kept(
    fake: Fake, capturing: Capturing, finishing: Finishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(fake, capturing, sound(*[LOUD] * 60))
    fake.fails = NgTimeoutError("no reply")
    with pytest.raises(MediaNodeUnavailableError):
        await finishing.finish(CALL, Limits(0))
    fake.fails = None

    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(capturing.spool, "rename", refuse)
    with pytest.raises(SpoolError):
        await finishing.finish(CALL, None)
    assert names(capturing) == [CALL]
    monkeypatch.setattr(capturing.spool, "delete", refuse)
    with pytest.raises(SpoolError):
        await finishing.finish(CALL, Limits(60_000))
    assert names(capturing) == [CALL]
    # It becomes a recording when the call ends.
    fake.calls_now.clear()
    await step(capturing)
    assert [one.ready_since is not None for one in capturing.captures] == [True]
