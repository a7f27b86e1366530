"""Recordings of calls at a worker, whatever fails."""

from __future__ import annotations

import contextlib
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from signalbox.ivr.media.errors import MediaLostError, MediaRefusedError
from signalbox.ivr.ports import NotCapturedError, RecordingAwayError
from signalbox.ivr.recorded import converses
from structlog.testing import capture_logs
from support.voice_calls import CALL, Elsewhere


class Media:
    """Of a call: what it was asked. ``error`` is raised instead."""

    def __init__(self, host: str = "192.0.2.7") -> None:
        self.node = SimpleNamespace(id="media-7", number=7)
        self.call_id = f"w1.{CALL.call_id}"
        self.caller = SimpleNamespace(address=(host, 4_000))
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def start_recording(self, facts: str) -> None:
        self._ask("start")

    async def stop_recording(self) -> None:
        self._ask("stop")

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error


@pytest.fixture
def media() -> Media:
    return Media()


@pytest.fixture
def here() -> Elsewhere:
    return Elsewhere()


def call_of(media: Media, here: Elsewhere, caller: str = '"Alice" <sip:13800001234@192.0.2.1>;tag=a') -> Any:
    return SimpleNamespace(
        media=media,
        facts=CALL,
        ports=SimpleNamespace(promises=here, recordings=here),
        sip=SimpleNamespace(request=SimpleNamespace(headers={"From": caller})),
        recordings=itertools.count(1),
    )


@pytest.mark.parametrize(
    ("caller", "user"), [("<sip:+8613800001234@h>;tag=a", "+8613800001234"), ("<sip:anonymous.invalid>;tag=a", "")]
)
async def test_a_conversation_is_promised_with_what_is_known_of_it(here: Elsewhere, caller: str, user: str) -> None:
    await converses(call_of(Media("2001:db8::7"), here, caller), "anna")
    (promise,) = here.promises
    told = promise.facts
    assert (told.call_id, told.tenant, told.number, told.line) == (CALL.call_id, CALL.tenant, CALL.number, "anna")
    assert (told.caller, told.caller_media, told.media_node) == (user, "[2001:db8::7]:4000", 7)
    assert told.answer_time.seconds > 0


async def test_one_that_the_node_refuses_is_promised_all_the_same(media: Media, here: Elsewhere) -> None:
    media.error = MediaRefusedError("no")
    with capture_logs() as logs:
        await converses(call_of(media, here), "anna")
    assert len(here.promises) == 1
    assert [log["event"] for log in logs] == ["call_not_recorded"]


async def test_lost_media_are_told(media: Media, here: Elsewhere) -> None:
    media.error = MediaLostError("gone")
    with pytest.raises(MediaLostError):
        await converses(call_of(media, here), "anna")


async def test_the_sidecar_pauses_it_and_goes_on_once_each(media: Media, here: Elsewhere) -> None:
    recording = await converses(call_of(media, here), "anna")
    await recording.go_on()
    for _ in range(2):
        await recording.pause()
        assert recording.paused
    for _ in range(2):
        await recording.go_on()
        assert not recording.paused
    assert here.recorded == ["pause", "go on"]
    assert media.asked == ["start"]


@pytest.mark.parametrize("error", [RecordingAwayError("no"), NotCapturedError("no")])
async def test_without_the_sidecar_the_node_captures_no_more(media: Media, here: Elsewhere, error: Exception) -> None:
    recording = await converses(call_of(media, here), "anna")
    here.unpausable = error
    await recording.pause()
    assert recording.paused
    assert media.asked == ["start", "stop"]
    # By whom it was paused it goes on, whoever is back.
    here.unpausable = None
    await recording.go_on()
    assert not recording.paused
    assert (media.asked, here.recorded) == (["start", "stop", "start"], ["pause"])


async def test_what_cannot_go_on_now_can_later(media: Media, here: Elsewhere) -> None:
    recording = await converses(call_of(media, here), "anna")
    await recording.pause()
    here.unpausable = RecordingAwayError("no")
    await recording.go_on()
    assert recording.paused
    here.unpausable = None
    await recording.go_on()
    assert not recording.paused
    assert media.asked == ["start"]


async def test_a_pause_that_nobody_can_bring_about_is_none(media: Media, here: Elsewhere) -> None:
    recording = await converses(call_of(media, here), "anna")
    here.unpausable = RecordingAwayError("no")
    for error in (MediaRefusedError("no"), MediaLostError("gone")):
        media.error = error
        with contextlib.suppress(MediaLostError):
            await recording.pause()
        assert not recording.paused
    media.error = here.unpausable = None
    await recording.pause()
    assert recording.paused


@pytest.mark.parametrize("error", [None, RecordingAwayError("no"), NotCapturedError("no")])
async def test_it_ends_whatever_fails(media: Media, here: Elsewhere, error: Exception | None) -> None:
    recording = await converses(call_of(media, here), "anna")
    here.judged = True if error is None else error
    media.error = MediaLostError("gone")
    await recording.end()
    assert (media.asked, here.recorded) == (["start", "stop"], ["end"])
