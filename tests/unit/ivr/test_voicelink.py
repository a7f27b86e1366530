"""The keys and files of one media node, whatever becomes of its sidecar meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox import rpc
from signalbox.api.media.v1 import media_pb2
from signalbox.errors import ConfigurationError, MediaNodeUnavailableError, NotRecordedError
from signalbox.ivr import voicelink as module
from signalbox.ivr.metrics import IvrMetrics
from signalbox.ivr.ports import (
    AudioUnavailableError,
    MessageLimits,
    NotCapturedError,
    Prepared,
    RecordingAwayError,
)
from signalbox.ivr.voicelink import VoiceLink
from signalbox.settings import ClientTlsSettings
from structlog.testing import capture_logs
from support.stores import until
from support.voice_fake import VoiceFake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc
    from signalbox.errors import SignalboxError

SILENCE = [media_pb2.AudioPart(silence_ms=100)]
GAPS = "signalbox_ivr_key_gaps_total"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.02)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.05)


@pytest.fixture
async def sidecar() -> AsyncIterator[VoiceFake]:
    async with VoiceFake() as fake:
        yield fake


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def pressed() -> list[str]:
    """Digits that came."""
    return []


@pytest.fixture
async def link(sidecar: VoiceFake, registry: CollectorRegistry, pressed: list[str]) -> AsyncIterator[VoiceLink]:
    async with running(sidecar, registry, pressed) as link:
        yield link


@asynccontextmanager
async def running(sidecar: VoiceFake, registry: CollectorRegistry, pressed: list[str]) -> AsyncIterator[VoiceLink]:
    link = VoiceLink(
        "ivr-1",
        "media-1",
        sidecar.address,
        ClientTlsSettings(),
        lambda key: pressed.append(key.digit),
        IvrMetrics(registry),
    )
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_keys_come_in_order_those_too_that_were_pressed_before(
    sidecar: VoiceFake, link: VoiceLink, pressed: list[str]
) -> None:
    for digit in "123":
        sidecar.press(digit)
    await until(lambda: pressed == ["1", "2", "3"])
    sidecar.press("#")
    await until(lambda: pressed == ["1", "2", "3", "#"])
    assert link.up
    assert sidecar.watched == [media_pb2.WatchKeysRequest(worker="ivr-1")]


async def test_a_broken_stream_goes_on_where_it_broke(
    sidecar: VoiceFake, link: VoiceLink, pressed: list[str], registry: CollectorRegistry
) -> None:
    sidecar.press("1")
    await until(lambda: pressed == ["1"])
    await sidecar.stop()
    await until(lambda: not link.up)
    sidecar.press("2")
    await sidecar.start()
    await until(lambda: pressed == ["1", "2"])
    assert (sidecar.watched[-1].instance, sidecar.watched[-1].after_sequence) == ("one", 1)
    assert registry.get_sample_value(GAPS) == 0


async def test_no_key_comes_twice_whatever_the_sidecar_tells(
    sidecar: VoiceFake, link: VoiceLink, pressed: list[str]
) -> None:
    sidecar.repeats = True
    sidecar.press("1")
    await until(lambda: pressed == ["1"])
    await sidecar.stop()
    await until(lambda: not link.up)
    await sidecar.start()
    sidecar.press("2")
    await until(lambda: pressed == ["1", "2"])


async def test_a_sidecar_that_was_restarted_may_have_lost_keys_which_is_counted(
    sidecar: VoiceFake, link: VoiceLink, pressed: list[str], registry: CollectorRegistry
) -> None:
    sidecar.press("1")
    await until(lambda: pressed == ["1"])
    with capture_logs() as logs:
        await sidecar.restart("two")
        # Its sequences begin anew.
        sidecar.press("2")
        await until(lambda: pressed == ["1", "2"])
    assert registry.get_sample_value(GAPS) == 1
    assert [log["restarted"] for log in logs if log["event"] == "keys_lost"] == [True]


async def test_a_stream_that_was_broken_for_longer_than_keys_are_kept_counts_as_well(
    sidecar: VoiceFake, link: VoiceLink, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_S", 0.05)
    await until(lambda: link.up)
    await sidecar.stop()
    await until(lambda: not link.up)
    await asyncio.sleep(0.1)
    await sidecar.start()
    await until(lambda: link.up)
    assert registry.get_sample_value(GAPS) == 1


async def test_a_file_is_asked_for_once_as_long_as_it_stays(
    sidecar: VoiceFake, link: VoiceLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await link.prepare(SILENCE)
    assert one == Prepared("/audio/1.alaw.wav", 1.5)
    assert await link.prepare(SILENCE) == one
    assert sidecar.prepared == [media_pb2.PrepareAudioRequest(parts=SILENCE)]
    monkeypatch.setattr(module, "PATH_S", 0)
    assert await link.prepare(SILENCE) == Prepared("/audio/2.alaw.wav", 1.5)


async def test_a_file_that_is_not_there_any_more_is_asked_for_anew(sidecar: VoiceFake, link: VoiceLink) -> None:
    await link.prepare(SILENCE)
    assert await link.prepare(SILENCE, anew=True) == Prepared("/audio/2.alaw.wav", 1.5)
    # That is the one that is remembered now.
    assert await link.prepare(SILENCE) == Prepared("/audio/2.alaw.wav", 1.5)
    assert len(sidecar.prepared) == 2


async def test_only_the_last_paths_are_remembered(
    sidecar: VoiceFake, link: VoiceLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATHS_MAX", 2)
    for ms in (1, 2, 3, 2, 3, 1):
        await link.prepare([media_pb2.AudioPart(silence_ms=ms)])
    assert len(sidecar.prepared) == 4


async def test_a_restarted_sidecar_is_asked_anew(sidecar: VoiceFake, link: VoiceLink) -> None:
    await link.prepare(SILENCE)
    await sidecar.restart("two")
    await until(lambda: len(sidecar.watched) == 2)
    await until(lambda: link.up)
    await link.prepare(SILENCE)
    assert len(sidecar.prepared) == 2


async def test_a_sidecar_that_is_just_being_restarted_is_waited_for(sidecar: VoiceFake, link: VoiceLink) -> None:
    await until(lambda: link.up)
    await sidecar.stop()
    await until(lambda: not link.up)
    asked = asyncio.create_task(link.prepare(SILENCE))
    await asyncio.sleep(0.1)
    assert not asked.done()
    await sidecar.start()
    assert (await asked).seconds == 1.5


async def test_a_connection_that_breaks_within_a_request_is_asked_again(sidecar: VoiceFake, link: VoiceLink) -> None:
    await until(lambda: link.up)
    sidecar.breaks = True
    assert (await link.prepare(SILENCE)).seconds == 1.5


async def test_a_sidecar_that_stays_away_is_told_at_once_after_a_while(
    sidecar: VoiceFake, link: VoiceLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_S", 0.1)
    await until(lambda: link.up)
    await sidecar.stop()
    await until(lambda: not link.up)
    for _ in range(2):
        with pytest.raises(AudioUnavailableError, match="media-1: its sidecar does not answer"):
            await link.prepare(SILENCE)


async def test_who_waits_for_a_file_when_its_link_is_let_go_does_without(
    sidecar: VoiceFake, registry: CollectorRegistry
) -> None:
    async with running(sidecar, registry, []) as link:
        await until(lambda: link.up)
        sidecar.stalls = True
        asked = asyncio.create_task(link.prepare(SILENCE))
        await until(lambda: len(sidecar.prepared) == 1)
    with pytest.raises(AudioUnavailableError, match="media-1: the channel is closed"):
        await asked
    with pytest.raises(AudioUnavailableError, match="media-1: the channel is closed"):
        await link.prepare(SILENCE)


async def test_who_waits_for_a_file_and_is_cancelled_is(sidecar: VoiceFake, link: VoiceLink) -> None:
    await until(lambda: link.up)
    sidecar.stalls = True
    asked = asyncio.create_task(link.prepare(SILENCE))
    await until(lambda: len(sidecar.prepared) == 1)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_what_the_sidecar_refuses_is_told_with_its_words_and_not_asked_again(
    sidecar: VoiceFake, link: VoiceLink
) -> None:
    sidecar.objects_away = True
    with pytest.raises(AudioUnavailableError, match=r"media-1: UNAVAILABLE: .*the bucket is away"):
        await link.prepare(SILENCE)
    assert len(sidecar.prepared) == 1
    sidecar.objects_away = False
    assert (await link.prepare(SILENCE)).seconds == 1.5


async def test_a_certificate_that_is_gone_for_a_moment_delays_only(
    sidecar: VoiceFake, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone = rpc.channel, [True, True]

    def channel(replicas: str, tls: ClientTlsSettings, *, lasting: bool = False) -> grpc.aio.Channel:
        if gone:
            gone.pop()
            raise ConfigurationError("tls: no such file")
        return real(replicas, tls, lasting=lasting)

    monkeypatch.setattr(module.rpc, "channel", channel)
    async with running(sidecar, registry, []) as link:
        await until(lambda: link.up)


async def test_what_is_asked_of_recordings_is_told_in_milliseconds(sidecar: VoiceFake, link: VoiceLink) -> None:
    await until(lambda: link.up)
    await link.silent("ivr-1.call-1", 2.5)
    await link.pause("ivr-1.call-1", paused=True)
    assert await link.end("ivr-1.call-1", None)
    sidecar.kept = False
    assert not await link.end("ivr-1.call-1", MessageLimits(least_ms=1000, trim_ms=200))
    limits = media_pb2.MessageLimits(least_ms=1000, trim_ms=200)
    assert sidecar.asked == [
        media_pb2.AwaitSilenceRequest(call_id="ivr-1.call-1", silence_ms=2500),
        media_pb2.PauseRecordingRequest(call_id="ivr-1.call-1", paused=True),
        media_pb2.EndRecordingRequest(call_id="ivr-1.call-1"),
        media_pb2.EndRecordingRequest(call_id="ivr-1.call-1", message=limits),
    ]


@pytest.mark.parametrize(
    ("error", "raised", "why"),
    [
        (NotRecordedError("ivr-1.call-1"), NotCapturedError, "media-1: captures nothing of ivr-1.call-1"),
        (MediaNodeUnavailableError(1, "rtpengine is silent"), RecordingAwayError, "media-1: UNAVAILABLE: "),
    ],
)
async def test_a_recording_that_is_none_is_told_apart_from_a_sidecar_that_cannot_say(
    sidecar: VoiceFake, link: VoiceLink, error: SignalboxError, raised: type[Exception], why: str
) -> None:
    await until(lambda: link.up)
    sidecar.recording_error = error
    with pytest.raises(raised, match=why):
        await link.silent("ivr-1.call-1", 1)
    with pytest.raises(raised, match=why):
        await link.pause("ivr-1.call-1", paused=False)
    with pytest.raises(raised, match=why):
        await link.end("ivr-1.call-1", None)


async def test_a_sidecar_that_is_away_leaves_it_unknown_what_became_of_a_recording(
    sidecar: VoiceFake, link: VoiceLink
) -> None:
    await until(lambda: link.up)
    await sidecar.stop()
    with pytest.raises(RecordingAwayError, match="media-1: UNAVAILABLE: "):
        await link.end("ivr-1.call-1", None)


async def test_a_sidecar_that_never_was_there_is_away(sidecar: VoiceFake, registry: CollectorRegistry) -> None:
    link = VoiceLink("ivr-1", "media-1", sidecar.address, ClientTlsSettings(), lambda key: None, IvrMetrics(registry))
    with pytest.raises(RecordingAwayError, match="media-1: its sidecar does not answer"):
        await link.end("ivr-1.call-1", None)
