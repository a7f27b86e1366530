"""Messages that callers leave, and conversations that are recorded, from the node to the recording."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2
from signalbox.g711 import A_LAW, RATE
from signalbox.ivr.steps import voicemail as voicemail_step
from signalbox.rpc import channel
from signalbox.settings import ClientTlsSettings
from signalbox_local.rtp_party import FRAME, pitch
from support.capturing import CaptureNode
from support.ivr_media import sent_to
from support.line_calls import CALL, dial, stage
from support.mailboxes import QUIET, SILENT, WAIT_S, said, site, speaking, voicemail
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox_local.rtp_party import RtpParty
    from support.ivr_media import Desk
    from support.line_calls import World
    from support.mailboxes import Site
    from support.rtpengine import Rtpengine

KNOWN = RATE // 1000 * voicemail_step.HEARD_MS
"""Bytes within which a tone is known after its end."""
KEY_5 = A_LAW.encode(
    sum(
        (6_000 * np.sin(2 * np.pi * hertz * np.arange(1_600) / RATE) for hertz in (770, 1_336)), start=np.zeros(1_600)
    ).astype(np.int16)
)
"""The key 5 as a tone (ITU-T Q.23), 0.2 s."""


@pytest.fixture
async def sidecar(server: Rtpengine, tmp_path: Path) -> AsyncIterator[media_pb2_grpc.VoiceServiceStub]:
    """Of a node that captures."""
    async with (
        CaptureNode(server) as node,
        speaking(tmp_path, node.server.recordings) as voice,
        channel(voice.address, ClientTlsSettings()) as connection,
    ):
        yield media_pb2_grpc.VoiceServiceStub(connection)


async def called(here: World, sound: bytes = QUIET) -> None:
    """The caller is answered, and says that."""
    await here.call.answered()
    say(here, sound)


def say(here: World, sound: bytes) -> None:
    """The caller, again and again."""
    here.party.talk_to(sent_to(str(here.call.remote)), sound)


async def says(here: World, sound: bytes) -> None:
    """The caller, and then nothing any more."""
    say(here, QUIET)
    before = here.party.frames
    # It says what comes from where it was in what came before.
    await until(lambda: here.party.frames > before, WAIT_S)
    say(here, sound + QUIET * 2_000)
    await until(lambda: here.party.frames > before + 1 + len(sound) // FRAME, WAIT_S)


def is_what_was_said(heard: bytes, message: bytes) -> bool:
    """Code by code. The first frame may not have been said."""
    return heard in (message, message[FRAME:])


async def recorded(here: World) -> None:
    """Wait until the message is being recorded."""
    node = here.desk.nodes.candidates()[0]
    await until(lambda: any(getattr(one, "recording", False) for one in node.sessions.values()), WAIT_S)


async def test_a_message_ends_with_silence_and_is_stored_as_it_was_said_while_the_call_goes_on(
    desk: Desk, tmp_path: Path
) -> None:
    async with site(desk, tmp_path) as there:
        here = there.here
        await here.begin(voicemail(silence_s=1.0, beep=True), voicemail("second", finish_keys="#"))
        await called(here)
        await recorded(here)
        message = said(1.5)
        await says(here, message)
        await until(lambda: here.script.kinds == ["done"], WAIT_S)
        stored = await there.recording(CALL)
        assert (stored.kind, stored.line) == (recordings_pb2.RECORDING_KIND_MESSAGE, "night")
        assert (stored.tenant, stored.number, stored.caller) == ("acme", "4001234567", "13800001234")
        assert (list(stored.reasons), list(stored.pauses)) == ([], [])
        assert here.call.ended is None
        heard = await there.caller_side(CALL)
        assert is_what_was_said(heard, message)
        # The silence at its end is cut off; the line, which is nobody, said nothing.
        sides = await there.sides(CALL)
        assert len(sides) <= np.flatnonzero(np.abs(sides[:, 0]) > SILENT)[-1] + 0.5 * RATE
        assert not sides[:, 1].any()
        # Another message in the same call is another recording. It ends with its key, and no other.
        await recorded(here)
        await says(here, said(1.0, seed=2))
        await here.party.press("1")
        await here.party.press("#")
        await here.ended()
        second = await there.recording(f"{CALL}.2")
        assert (second.kind, second.line) == (recordings_pb2.RECORDING_KIND_MESSAGE, "second")
        assert here.script.kinds == ["done", "done"]
        assert [(one.facts.call_id, one.facts.recording) for one in here.ports.promises] == [
            (CALL, ""),
            (CALL, f"{CALL}.2"),
        ]
        await there.nothing_captured()


async def test_a_caller_who_hangs_up_has_left_what_was_said_until_then(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path) as there:
        here = there.here
        await here.begin(voicemail())
        await called(here)
        await recorded(here)
        message = said(1.0)
        await says(here, message)
        here.call.hang_up()
        await here.ended()
        assert here.script.kinds == []
        await there.recording(CALL)
        assert is_what_was_said(await there.caller_side(CALL), message)
        assert len(here.ports.promises) == 1


async def test_of_what_is_no_message_nothing_is_left(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path) as there:
        here = there.here
        await here.begin(
            voicemail("nothing", silence_s=1.0), voicemail("short", silence_s=1.0, least_s=2.0), voicemail("last")
        )
        await called(here)
        await until(lambda: here.script.kinds == ["no_input"], WAIT_S)
        await recorded(here)
        await says(here, said(0.8))
        await until(lambda: here.script.kinds == ["no_input"] * 2, WAIT_S)
        # Nor of a caller who hangs up at once.
        await recorded(here)
        here.call.hang_up()
        await here.ended()
        await there.nothing_captured()
        assert here.ports.promises == []
        assert there.bench.names() == []
        assert desk.server.recording_dir is not None
        assert [path for path in desk.server.recording_dir.rglob("*") if path.is_file()] == []


async def test_of_a_conversation_the_pauses_of_the_line_are_not_recorded_and_a_message_after_it_is_another(
    desk: Desk, tmp_path: Path
) -> None:
    async with site(desk, tmp_path, "anna") as there:
        here, anna = there.here, there.here.lines["anna"]
        ringing = stage("anna")
        ringing.record = True
        await here.begin(dial(ringing, pause_keys="*1", resume_keys="*2"), voicemail())
        await here.answered()
        await here.hear_each_other(anna)
        before, secret, after = (said(1.0, seed=seed) for seed in (3, 4, 5))
        await says(here, before)
        await keyed(there, anna.party, "*1", paused=True)
        await says(here, secret)
        await keyed(there, anna.party, "*2", paused=False)
        await says(here, after)
        await anna.leave()
        await until(lambda: here.script.kinds == ["line_left"], WAIT_S)
        stored = await there.recording(CALL)
        assert (stored.kind, stored.line) == (recordings_pb2.RECORDING_KIND_UNSPECIFIED, "anna")
        (pause,) = stored.pauses
        assert pause.end_time.ToMilliseconds() - pause.start_time.ToMilliseconds() >= 900
        left, right = (A_LAW.encode(np.ascontiguousarray(side)) for side in (await there.sides(CALL)).T)
        assert before[FRAME:] in left
        assert after[FRAME:] in left
        assert not any(secret[at : at + FRAME] in left for at in range(0, len(secret), FRAME))
        assert anna.hertz - 20 < pitch(right[:RATE]) < anna.hertz + 20
        # What is said to the mailbox later is none of the line's.
        await recorded(here)
        await says(here, said(1.0))
        here.call.hang_up()
        message = await there.recording(f"{CALL}.2")
        assert (message.kind, message.line) == (recordings_pb2.RECORDING_KIND_MESSAGE, "night")
        assert is_what_was_said(await there.caller_side(f"{CALL}.2"), said(1.0))
        await there.nothing_captured()


async def test_a_conversation_that_ends_paused_says_so(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path, "anna") as there:
        here, anna = there.here, there.here.lines["anna"]
        ringing = stage("anna")
        ringing.record = True
        await here.begin(dial(ringing, pause_keys="*1", resume_keys="*1"))
        await here.answered()
        await here.hear_each_other(anna)
        for paused in (True, False, True):
            await keyed(there, anna.party, "*1", paused=paused)
        here.call.hang_up()
        stored = await there.recording(CALL)
        assert [pause.HasField("end_time") for pause in stored.pauses] == [True, False]


async def keyed(there: Site, party: RtpParty, keys: str, *, paused: bool) -> None:
    """Press keys, until the recording is paused, or is not."""
    for key in keys:
        await party.press(key)
    async with asyncio.timeout(WAIT_S):
        while True:
            capture = await there.captures.capture(f"w1.{CALL}")
            if capture is not None and capture.paused is paused:
                return
            await asyncio.sleep(0.02)


async def test_where_nothing_is_captured_there_is_no_message(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path, captures=False) as there:
        await there.here.begin(voicemail(), voicemail("again"))
        await there.here.ended()
        assert there.here.script.kinds == ["failed", "failed"]
        assert there.here.ports.promises == []


async def test_a_message_that_no_sidecar_can_judge_is_kept(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path) as there:
        here = there.here
        await here.begin(voicemail(finish_keys="#"))
        await called(here)
        await recorded(here)
        await there.voice.stop()
        message = said(1.0)
        await says(here, message)
        await here.party.press("#")
        await here.ended()
        assert here.script.kinds == ["done"]
        assert len(here.ports.promises) == 1
        await there.recording(CALL)
        assert is_what_was_said(await there.caller_side(CALL), message)


async def test_the_tone_of_the_key_that_ends_a_message_is_cut_off(desk: Desk, tmp_path: Path) -> None:
    async with site(desk, tmp_path) as there:
        here = there.here
        here.events = False
        await here.begin(voicemail(finish_keys="5"))
        await called(here)
        await recorded(here)
        await says(here, said(1.0))
        await says(here, KEY_5)
        await here.ended()
        assert here.script.kinds == ["done"]
        await there.recording(CALL)
        heard = await there.caller_side(CALL)
        # How long the tone takes to be known is not told: some of it may be left, or a moment before it be gone.
        assert heard.startswith((said(1.0)[FRAME:-KNOWN], said(1.0)[:-KNOWN]))
        assert len(heard) - len(said(1.0)) < len(KEY_5)


@pytest.mark.parametrize(
    ("method", "fields", "field"),
    [
        ("AwaitSilence", {"call_id": "", "silence_ms": 1_000}, "call_id"),
        ("AwaitSilence", {"call_id": "w1.c", "silence_ms": 499}, "silence_ms"),
        ("AwaitSilence", {"call_id": "w1.c", "silence_ms": 60_001}, "silence_ms"),
        ("PauseRecording", {"paused": True}, "call_id"),
        ("EndRecording", {}, "call_id"),
        ("EndRecording", {"call_id": "w1.c", "message": {"least_ms": 60_001}}, "message.least_ms"),
        ("EndRecording", {"call_id": "w1.c", "message": {"trim_ms": 60_001}}, "message.trim_ms"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    sidecar: media_pb2_grpc.VoiceServiceStub, method: str, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(sidecar, method)(getattr(media_pb2, f"{method}Request")(**fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"{field}: must " in str(caught.value.details())


async def test_a_call_that_is_not_recorded_is_told_from_one_that_is_not_there(
    sidecar: media_pb2_grpc.VoiceServiceStub,
) -> None:
    stub: Any = sidecar
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.EndRecording(media_pb2.EndRecordingRequest(call_id="w1.c"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.PauseRecording(media_pb2.PauseRecordingRequest(call_id="w1.c", paused=True))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
