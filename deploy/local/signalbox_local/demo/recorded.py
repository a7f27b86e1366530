"""A recorded conversation: fetched as anybody fetches it, and heard by its content, each side in its channel."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import grpc
import numpy as np
from signalbox.api.provisioning.v1 import recordings_pb2, recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2 as types
from signalbox.catalog.names import suffix
from signalbox.commands.journals import JournalReader

from signalbox_local import tones
from signalbox_local.audio import AudioCall, audio_call
from signalbox_local.cluster import ClusterError
from signalbox_local.demo.steps import TENANT

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox_local.audio import AudioReport
    from signalbox_local.cluster import Cluster
    from signalbox_local.demo.report import Step
    from signalbox_local.demo.steps import Scene
    from signalbox_local.g711 import Samples

NUMBER = "4001234568"
"""Calls to it are recorded."""
STORED_TIMEOUT_S = 20.0
POLL_S = 0.05
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording, and when it was there."""

    recording: types.Recording
    audio: bytes
    after_s: float
    """How long after the BYE it was in the store."""


async def record(step: Step, scene: Scene) -> None:
    """A call that is recorded, its recording, and what is in it."""
    number = scene.rules.number(TENANT, NUMBER, [["line-b"]], recorded=True)
    await asyncio.to_thread(scene.cluster.wait_for_rules, number.etag)
    step.did += [f"called {NUMBER}, whose calls are recorded; each side spoke digits as tones; fetched the recording"]
    call = AudioCall(
        proxy=scene.proxies[0],
        number=NUMBER,
        line=scene.addresses["line-b"],
        workdir=scene.workdir / "recorded",
        caller_host=scene.caller_host,
    )
    report = await audio_call(call)
    step.problems += report.problems
    fetched = await asyncio.to_thread(_fetch, scene.cluster)
    file = scene.cluster.directory / f"recording{suffix(fetched.recording.format)}"
    file.write_bytes(fetched.audio)
    _note_recording(step, fetched, file)
    _note_channels(step, report, file)
    if not step.problems:
        step.headline = f"caller left, line right, every digit in place, {fetched.after_s:.1f} s after it: {file.name}"


def _fetch(cluster: Cluster) -> Fetched:
    """The recording of the one call to the number. Raises ClusterError if it is not there in time, grpc.RpcError."""
    begun = time.monotonic()
    call_id, ended = "", 0.0
    with cluster.provisioning_channel() as channel:
        stub = recordings_pb2_grpc.RecordingServiceStub(channel)
        while True:
            if not ended:
                call_id, ended = _hung_up(cluster)
            recording = find(stub, call_id) if call_id else types.Recording()
            if ended and recording.state == types.RECORDING_STATE_STORED:
                return Fetched(recording, _download(stub, recording), _stored(stub, call_id) - ended)
            if time.monotonic() - begun > STORED_TIMEOUT_S:
                state = types.RecordingState.Name(recording.state)
                raise ClusterError(
                    f"the recording of {call_id or 'the call'} was not there within {STORED_TIMEOUT_S:.0f} s: "
                    f"{state} {', '.join(recording.reasons)}".rstrip()
                )
            time.sleep(POLL_S)


def _hung_up(cluster: Cluster) -> tuple[str, float]:
    """Id of the call to the number, and when its BYE came, seconds since 1970; empty and 0 before that."""
    call_id = ""
    for name in cluster.names("edge"):
        for event in JournalReader(cluster.journal(name)).read():
            if event.asked.called == NUMBER:
                call_id = event.call_id
            elif event.call_id == call_id and event.WhichOneof("event") == "hung_up":
                return call_id, event.time.ToMilliseconds() / 1000
    return call_id, 0.0


def find(stub: recordings_pb2_grpc.RecordingServiceStub, call_id: str) -> types.Recording:
    """The recording of a call; an empty one if there is none. Raises grpc.RpcError."""
    request = recordings_pb2.GetRecordingRequest(tenant=TENANT, call_id=call_id)
    try:
        return stub.GetRecording(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return types.Recording()
        raise


def _stored(stub: recordings_pb2_grpc.RecordingServiceStub, call_id: str) -> float:
    """When it came into the store, seconds since 1970."""
    request = recordings_pb2.ListRecordingEventsRequest(tenant=TENANT, call_id=call_id)
    events = stub.ListRecordingEvents(request, timeout=TIMEOUT_S).events
    times = [event.time for event in events if event.kind == types.RECORDING_EVENT_KIND_STORED]
    if not times:
        raise ClusterError(f"no event tells that the recording of {call_id} was stored")
    return times[0].ToMilliseconds() / 1000


def _download(stub: recordings_pb2_grpc.RecordingServiceStub, recording: types.Recording) -> bytes:
    request = recordings_pb2.DownloadRecordingRequest(tenant=recording.tenant, call_id=recording.call_id)
    return b"".join(part.content for part in stub.DownloadRecording(request, timeout=TIMEOUT_S))


def _note_recording(step: Step, fetched: Fetched, file: Path) -> None:
    recording = fetched.recording
    sides = (recording.left, recording.right)
    duration_s = recording.duration.ToMilliseconds() / 1000
    packets, lost, gaps = (sum(getattr(side, name) for side in sides) for name in ("packets", "lost", "gaps"))
    digest = hashlib.sha256(fetched.audio).hexdigest()
    step.check(digest == recording.sha256, f"the file's SHA-256 is {digest}, not {recording.sha256}")
    step.check(len(fetched.audio) == recording.size_bytes, f"{len(fetched.audio)} bytes, not {recording.size_bytes}")
    step.check(not recording.partial, f"it is partial: {', '.join(recording.reasons)}")
    step.check(not lost and not gaps, f"{lost} packets are lost, {gaps} gaps")
    step.figures |= {
        "call_id": recording.call_id,
        "duration_s": duration_s,
        "packets": packets,
        "lost": lost,
        "gaps": gaps,
        "there_after_s": round(fetched.after_s, 2),
        "size_bytes": recording.size_bytes,
        "sha256": recording.sha256,
        "file": str(file),
    }
    step.saw += [
        f"{fetched.after_s:.1f} s after the BYE it was in the store: {duration_s:.1f} s, {packets} packets, "
        f"{lost} lost, {gaps} gaps; the hash is right; listen to {file}"
    ]


def _note_channels(step: Step, report: AudioReport, file: Path) -> None:
    said = (report.by_line.said, report.by_caller.said)
    for name, who, channel, digits in zip(("left", "right"), ("caller", "line"), channels(file), said, strict=True):
        heard = tones.text(tones.detect(channel))
        step.check(heard == digits, f"{name}: {heard or 'nothing'} instead of the {who}'s {digits}")
        step.figures[name] = {"said": digits, "heard": heard}
        step.saw += [f"{name}: the {who}, {heard or 'nothing'}"]


def channels(file: Path) -> tuple[Samples, Samples]:
    """Left and right of an audio file at the rate of telephony. Raises ClusterError if it is none."""
    try:
        with av.open(str(file)) as opened:
            resampler = av.AudioResampler("s16", "stereo", tones.RATE_HZ)
            frames = [part for frame in opened.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, OSError) as error:
        raise ClusterError(f"{file} cannot be played: {error}") from error
    samples = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in frames or [_nothing()]])
    return np.ascontiguousarray(samples[:, 0]), np.ascontiguousarray(samples[:, 1])


def _nothing() -> av.AudioFrame:
    return av.AudioFrame.from_ndarray(np.zeros((1, 2), np.int16), "s16", "stereo")
