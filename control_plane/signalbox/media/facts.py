"""What is known of a recorded call, as it is given to rtpengine with ``start recording``, and where that lies.

The text is one token. That of a proxy is described in ``kamailio/README.md``::

    sb1,<answer: seconds.milliseconds>,<line>,<node>,<tenant>,<number>,
        <caller tag>,<line tag>,<caller media>,<line media>,<caller, base64>

That of a worker with voice says what is recorded, besides: ``conversation`` or ``message``::

    sb2,<as sb1>,<id of the recording, if it is not the call's>,<kind>

rtpengine writes it as the last line of a segment's metadata file. Nothing here fails: what cannot be read is not known.
"""

from __future__ import annotations

import base64
import binascii
import re

from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.api.types.v1 import recordings_pb2
from signalbox.media.workercalls import call_of

MAX_TEXT = 2048
"""Characters; a longer text is nobody's that we know."""
NONE = "-"
"""Media of which nothing is known."""

_TIME = re.compile(r"([0-9]{1,11})\.([0-9]{3})")
_NODE = re.compile(r"[1-9][0-9]{0,8}")
_FIELDS = {"sb1": 11, "sb2": 13}
"""By version."""
_KINDS = {
    "conversation": recordings_pb2.RECORDING_KIND_UNSPECIFIED,
    "message": recordings_pb2.RECORDING_KIND_MESSAGE,
}
_OF_RTPENGINE = "call end time:"
"""How the last line of a file begins that has no metadata."""


def of_file(content: str) -> str:
    """The text that was given with ``start recording``, from the content of a metadata file; empty: there is none."""
    lines = content.strip().splitlines()
    last = lines[-1].strip() if len(lines) > 1 else ""
    return "" if last.startswith(_OF_RTPENGINE) else last


def parse(name: str, text: str) -> CallFacts | None:
    """The facts of the call that rtpengine knows by this name, or None if the text is not what we write."""
    fields = text.split(",")
    if len(text) > MAX_TEXT or len(fields) != _FIELDS.get(fields[0]) or not text.isprintable():
        return None
    time, line, node, tenant, number, caller_tag, line_tag, caller_media, line_media, caller = fields[1:11]
    recording, kind = fields[11:] or (NONE, "conversation")
    answered = _TIME.fullmatch(time)
    decoded = _decoded(caller)
    if answered is None or decoded is None or not _NODE.fullmatch(node):
        return None
    if not (line and tenant and number and recording) or kind not in _KINDS:
        return None
    facts = CallFacts(
        call_id=call_of(name),
        tenant=tenant,
        number=number,
        caller=decoded,
        line=line,
        media_node=int(node),
        caller_tag=caller_tag,
        line_tag=line_tag,
        caller_media="" if caller_media == NONE else caller_media,
        line_media="" if line_media == NONE else line_media,
        recording="" if recording == NONE else recording,
        kind=_KINDS[kind],
    )
    facts.answer_time.FromMilliseconds(int(answered[1]) * 1000 + int(answered[2]))
    return facts


def _decoded(text: str) -> str | None:
    """Base64 of RFC 4648, section 4 or 5, with or without its padding. Bytes that are no UTF-8 become U+FFFD."""
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        content = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return content.decode(errors="replace")
