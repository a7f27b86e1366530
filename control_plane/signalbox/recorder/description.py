"""What is known of a recording once it has been rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson

from signalbox.api.types.v1 import recordings_pb2
from signalbox.api.types.v1.recordings_pb2 import Recording

if TYPE_CHECKING:
    from signalbox.api.recording.v1.recording_pb2 import CallFacts
    from signalbox.recorder.policy import Policy
    from signalbox.recorder.render import Rendered


def describe(
    facts: CallFacts, rendered: Rendered, policy: Policy, now_ms: int, *, paused_at_end: bool = False
) -> Recording:
    """The recording of a call, stored at ``now_ms`` (Unix), with the time at which it is to be deleted.

    ``paused_at_end``: the last pause lasted until the call ended; the audio ends where it began.
    Three clocks have a say in that: the proxy's, the media node's and ours.
    """
    recording = Recording(
        tenant=facts.tenant,
        call_id=facts.call_id,
        state=recordings_pb2.RECORDING_STATE_STORED,
        number=facts.number,
        caller=facts.caller,
        line=facts.line,
        media_node=facts.media_node,
        kind=facts.kind,
        answer_time=facts.answer_time,
        format=policy.format,
        sample_rate=rendered.sample_rate,
        size_bytes=rendered.size_bytes,
        sha256=rendered.sha256,
        left=rendered.left,
        right=rendered.right,
        partial=bool(rendered.reasons),
        reasons=rendered.reasons,
    )
    # Of a call in which nobody sent anything there is no beginning.
    answer_ms = facts.answer_time.ToMilliseconds()
    start_ms = rendered.start_ms or answer_ms
    recording.start_time.FromMilliseconds(start_ms)
    recording.duration.FromMilliseconds(rendered.duration_ms)
    for begin, end in rendered.pauses:
        pause = recording.pauses.add()
        pause.start_time.FromMilliseconds(begin)
        pause.end_time.FromMilliseconds(end)
    if paused_at_end:
        recording.pauses.add().start_time.FromMilliseconds(start_ms + rendered.duration_ms)
    recording.expire_time.FromMilliseconds(policy.expire_ms(answer_ms, start_ms + rendered.duration_ms, now_ms))
    return recording


def document(recording: Recording) -> bytes:
    """The metadata that are stored beside the audio: canonical JSON of protobuf."""
    return MessageToJson(recording, ensure_ascii=False).encode() + b"\n"
