"""Captures taken from a media node as a recorder takes them, rendered, and compared with what was said."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.recorder.render import Rendered, SegmentFile, render

from signalbox_local.recorded_sound import channels, compare
from signalbox_local.rtp_load import CALLER, LINE, pool, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import grpc
    from numpy.typing import NDArray
    from signalbox.api.types.v1.types_pb2 import RecordingFormat

LEASE_MS = 600_000
WAIT_MS = 2_000
GIVE_UP_S = 60.0
TIMEOUT_S = 10.0
WAV, OGG = types_pb2.RECORDING_FORMAT_WAV, types_pb2.RECORDING_FORMAT_OGG_OPUS


@dataclass(frozen=True, slots=True)
class Fetched:
    """A capture, copied."""

    claim: str
    call_id: str
    files: tuple[tuple[Path, bool], ...]
    """Its segments in order, and whether each is whole."""
    facts: bytes
    """CallFacts."""
    sides: tuple[bytes, ...]
    """Side."""


class CapturesMissingError(Exception):
    """Captures did not turn up."""


class Node:
    """The captures of one media node."""

    def __init__(self, channel: grpc.Channel, directory: Path) -> None:
        """``directory``: where copies go."""
        self._stub = recording_pb2_grpc.CaptureServiceStub(channel)
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def waiting(self) -> int:
        """Captures that it has."""
        return len(self._stub.ListCaptures(recording_pb2.ListCapturesRequest(), timeout=TIMEOUT_S).captures)

    def fetch(self, count: int) -> Iterator[Fetched]:
        """So many, as they become ready. Raises CapturesMissingError if they don't, and grpc.RpcError."""
        deadline = time.monotonic() + GIVE_UP_S
        request = recording_pb2.ClaimCaptureRequest(recorder="bench", lease_ms=LEASE_MS, wait_ms=WAIT_MS)
        while count:
            answer = self._stub.ClaimCapture(request, timeout=TIMEOUT_S)
            if answer.HasField("capture"):
                count -= 1
                yield self._copy(answer)
            elif time.monotonic() > deadline:
                raise CapturesMissingError(f"{count} captures did not become ready within {GIVE_UP_S:.0f} s")

    def confirm(self, fetched: Fetched) -> None:
        """It is not needed any more. Raises grpc.RpcError."""
        request = recording_pb2.ConfirmCaptureRequest(claim=fetched.claim, call_id=fetched.call_id)
        self._stub.ConfirmCapture(request, timeout=TIMEOUT_S)

    def release(self, fetched: Fetched) -> None:
        """A recorder may have it. Raises grpc.RpcError."""
        request = recording_pb2.ReleaseClaimRequest(claim=fetched.claim, reason="measured")
        self._stub.ReleaseClaim(request, timeout=TIMEOUT_S)

    def _copy(self, answer: recording_pb2.ClaimCaptureResponse) -> Fetched:
        capture, files = answer.capture, []
        for segment in capture.segments:
            path = self._directory / f"{capture.call_id}.{segment.name}"
            request = recording_pb2.ReadSegmentRequest(claim=answer.claim, segment=segment.name)
            with path.open("wb") as file:
                for part in self._stub.ReadSegment(request, timeout=TIMEOUT_S):
                    file.write(part.content)
            files.append((path, segment.whole))
        sides = tuple(side.SerializeToString() for side in capture.sides)
        return Fetched(answer.claim, capture.call_id, tuple(files), capture.facts.SerializeToString(), sides)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one call."""

    lost: int
    """Packets that came to the far end but are not in the recording."""
    unheard: int
    """Packets that are in neither."""
    shifted: int
    """Packets that are not at their place beside the others."""
    gaps: int
    """Gaps that the recording tells and that were none on the wire."""
    partial: bool


def verify(fetched: Fetched, number: int, came: Sequence[NDArray[np.bool_]]) -> Verdict:
    """Render a capture and compare it with what the call of this number said, of which these packets came."""
    output = fetched.files[0][0].with_suffix(".wav")
    done = _render(fetched, WAV, output)
    found = [
        compare(channel, said(_POOL, number, side, len(came[side])), came[side])
        for side, channel in zip((CALLER, LINE), channels(output), strict=True)
    ]
    output.unlink()
    told = sum(side.gaps for side in (done.left, done.right))
    return Verdict(
        lost=sum(one.lost for one in found),
        unheard=sum(one.unheard for one in found),
        shifted=sum(one.shifted for one in found),
        gaps=max(0, told - sum(map(_holes, came))),
        partial=bool(done.reasons),
    )


def processes() -> ProcessPoolExecutor:
    """Those that verify, one for each core."""
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


def verify_all(
    fetched: Sequence[Fetched], came: Sequence[NDArray[np.bool_]], pool: ProcessPoolExecutor
) -> list[Verdict]:
    """All of them; the number of a call is the end of its id."""
    numbers = [int(one.call_id.rpartition("-")[2]) for one in fetched]
    each = [[side[number] for side in came] for number in numbers]
    return list(pool.map(verify, fetched, numbers, each, chunksize=8))


def conversion(fetched: Sequence[Fetched], format: RecordingFormat.ValueType) -> float:
    """Seconds of audio that are rendered in a second of processor time, one after the other."""
    audio_s, begun = 0.0, time.process_time()
    for one in fetched:
        output = one.files[0][0].with_suffix(".out")
        audio_s += _render(one, format, output).duration_ms / 1000
        output.unlink()
    return audio_s / (time.process_time() - begun)


def _render(fetched: Fetched, format: RecordingFormat.ValueType, output: Path) -> Rendered:
    segments = [SegmentFile(path, whole) for path, whole in fetched.files]
    facts = recording_pb2.CallFacts.FromString(fetched.facts)
    sides = [recording_pb2.Side.FromString(side) for side in fetched.sides]
    return render(segments, facts, sides, format, output)


def _holes(came: NDArray[np.bool_]) -> int:
    """Runs of packets that never came, between others that did."""
    inside = np.flatnonzero(came)
    if not len(inside):
        return 0
    return int(np.count_nonzero(np.diff(inside) > 1))


_POOL = pool()
