"""Prompts of a real process over etcd and a folder: heard whole or not at all, whatever is killed; espeak-ng speaks."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.provisioning.v1 import prompts_pb2_grpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as rules
from signalbox.api.types.v1 import types_pb2
from signalbox.g711 import A_LAW
from support.prompts import SOUND, parts
from support.sounds import codes, file, speechlike
from support.stores import until

from .conftest import DEADLINE_S, ProvisioningProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.etcd import EtcdServer

SPOKEN_S = 60.0
"""What a loaded machine may take to speak a text."""


@pytest.fixture
def own(tmp_path: Path, own_etcd: EtcdServer) -> Iterator[ProvisioningProcess]:
    """A service of one's own, with tenant acme and prompt welcome."""
    process = ProvisioningProcess(tmp_path, own_etcd.endpoint)
    process.start()
    process.wait_until(ready=True)
    with process.channel() as channel:
        stub = process.stub(channel)
        stub.CreateTenant(rules.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=10)
        stub.CreatePrompt(rules.CreatePromptRequest(prompt=types_pb2.Prompt(tenant="acme", id="welcome")), timeout=10)
    yield process
    process.end()


def get(process: ProvisioningProcess, channel: grpc.Channel) -> types_pb2.Prompt:
    return process.stub(channel).GetPrompt(rules.GetPromptRequest(tenant="acme", id="welcome"), timeout=10)


def download(channel: grpc.Channel) -> bytes:
    asked = pb.DownloadPromptAudioRequest(tenant="acme", id="welcome")
    stub = prompts_pb2_grpc.PromptServiceStub(channel)
    return b"".join(one.content for one in stub.DownloadPromptAudio(asked, timeout=30))


async def test_a_process_killed_amid_an_upload_has_changed_nothing(own: ProvisioningProcess) -> None:
    large = file("wav24", speechlike(20, 1, 0.3))
    hold, sent = threading.Event(), threading.Event()

    def slowly() -> Iterator[pb.UploadPromptAudioRequest]:
        for position, one in enumerate(parts(large, size=500_000)):
            if position == 3:
                sent.set()
                hold.wait(DEADLINE_S)
            yield one

    with own.channel() as channel:
        stub = prompts_pb2_grpc.PromptServiceStub(channel)
        before = stub.UploadPromptAudio(parts(SOUND), timeout=60)
        call = stub.UploadPromptAudio.future(slowly(), timeout=60)
        await until(sent.is_set, "a part to be sent", DEADLINE_S)
        own.kill()
        hold.set()
        assert call.code() is grpc.StatusCode.UNAVAILABLE
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        assert get(own, channel) == before
        assert hashlib.sha256(download(channel)).digest() == before.audio.alaw_sha256
        made = prompts_pb2_grpc.PromptServiceStub(channel).UploadPromptAudio(parts(large), timeout=60)
        assert made.audio.duration_ms == 20_000
        assert len(codes(download(channel), A_LAW)) == 160_000


async def test_espeak_ng_speaks_what_is_written_soon_after_also_what_a_killed_process_left(
    own: ProvisioningProcess,
) -> None:
    with own.channel() as channel:
        given = types_pb2.Prompt(tenant="acme", id="welcome", language="zh-CN", text="您好,欢迎致电 Signalbox。")
        own.stub(channel).UpdatePrompt(rules.UpdatePromptRequest(prompt=given), timeout=10)
        own.kill()
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        await until(lambda: get(own, channel).HasField("audio"), "the text to be spoken", SPOKEN_S)
        spoken = get(own, channel)
        assert (spoken.audio.speech.text, spoken.audio.speech.language) == (given.text, "zh-CN")
        assert 1_000 < spoken.audio.duration_ms < 10_000
        assert abs(spoken.audio.loudness + 25) < 0.5
        samples = codes(download(channel), A_LAW)
        loud = np.abs(samples.astype(np.int32))[: len(samples) // 160 * 160].reshape(-1, 160).max(axis=1)
        assert (loud > 1_000).mean() > 0.3, "most of the time somebody speaks"
        given.text = "Please hold the line."
        given.language = "en"
        own.stub(channel).UpdatePrompt(rules.UpdatePromptRequest(prompt=given), timeout=10)
        asked = pb.SpeakPromptRequest(tenant="acme", id="welcome")
        made = prompts_pb2_grpc.PromptServiceStub(channel).SpeakPrompt(asked, timeout=60)
        assert made.audio.speech.text == "Please hold the line."
        assert made.audio.alaw_sha256 != spoken.audio.alaw_sha256
        given.language, given.text = "ja", "もしもし"
        own.stub(channel).UpdatePrompt(rules.UpdatePromptRequest(prompt=given), timeout=10)
        await until(lambda: not get(own, channel).HasField("audio"), "what it said to be taken away", SPOKEN_S)
