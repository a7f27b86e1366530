"""What is told with a recording that a worker begins, for who reads what proxies write: ``signalbox.media.facts``."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import recordings_pb2
from signalbox.ivr.media.engine import CALLER, LINE

if TYPE_CHECKING:
    from signalbox.api.recording.v1.recording_pb2 import CallFacts

BYTES_MAX = 2048
"""A longer text is not read."""

_KINDS = {
    recordings_pb2.RECORDING_KIND_UNSPECIFIED: "conversation",
    recordings_pb2.RECORDING_KIND_MESSAGE: "message",
}

_TOKEN = re.compile(r"[^\s,]+")


def text(facts: CallFacts) -> str:
    """The text for ``MediaSession.start_recording``. The tags are those of the session, whatever ``facts`` has.

    ``facts.line`` may not be empty: what a caller says to a mailbox has the mailbox's name. Raises ValueError that
    names what cannot be written.
    """
    for name in ("line", "tenant", "number"):
        if not _TOKEN.fullmatch(getattr(facts, name)):
            raise ValueError(f"{name}: must be there, without spaces and commas: {getattr(facts, name)!r}")
    if not 0 < facts.media_node < 1_000_000_000:
        raise ValueError(f"media_node: must be the number of a node: {facts.media_node}")
    milliseconds = facts.answer_time.ToMilliseconds()
    told = ",".join(
        (
            "sb2",
            f"{milliseconds // 1000}.{milliseconds % 1000:03d}",
            facts.line,
            str(facts.media_node),
            facts.tenant,
            facts.number,
            CALLER,
            LINE,
            facts.caller_media or "-",
            facts.line_media or "-",
            base64.urlsafe_b64encode(facts.caller.encode()).decode().rstrip("="),
            facts.recording or "-",
            _KINDS[facts.kind],
        )
    )
    if len(told) > BYTES_MAX:
        raise ValueError(f"the facts take {len(told)} bytes, {BYTES_MAX} at most")
    return told
