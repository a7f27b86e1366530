"""Names of what belongs to a recording in the object store."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import quote

from signalbox.api.types.v1 import types_pb2

if TYPE_CHECKING:
    from signalbox.api.recording.v1.recording_pb2 import CallFacts
    from signalbox.api.types.v1.recordings_pb2 import Recording
    from signalbox.api.types.v1.types_pb2 import RecordingFormat

FOLDER = "recordings"
METADATA = ".json"
_SUFFIXES = {types_pb2.RECORDING_FORMAT_OGG_OPUS: ".ogg", types_pb2.RECORDING_FORMAT_WAV: ".wav"}


def audio(facts: CallFacts | Recording, attempt: int, format: RecordingFormat.ValueType) -> str:
    """``recordings/<tenant>/<YYYY>/<MM>/<DD>/<call id>.<attempt>.ogg`` or ``.wav``, by the UTC day of the answer.

    Whatever is not a letter, a digit or one of ``_.~-@`` in a call id is ``=`` and two hexadecimal digits of each byte.
    """
    return _stem(facts, attempt) + suffix(format)


def suffix(format: RecordingFormat.ValueType) -> str:
    """What the name of an audio file of this format ends with, the dot first."""
    return _SUFFIXES.get(format, ".ogg")


def metadata(audio_name: str) -> str:
    """The metadata of an audio file: the same name with ``.json``."""
    return audio_name.rpartition(".")[0] + METADATA


def left(facts: CallFacts | Recording, attempt: int) -> list[str]:
    """All that an attempt at a call's recording may have left, the audio first."""
    stem = _stem(facts, attempt)
    return [stem + suffix for suffix in (*_SUFFIXES.values(), METADATA)]


def _stem(facts: CallFacts | Recording, attempt: int) -> str:
    day = facts.answer_time.ToDatetime(UTC).strftime("%Y/%m/%d")
    return f"{FOLDER}/{facts.tenant}/{day}/{_escaped(facts.call_id)}.{attempt}"


def _escaped(call_id: str) -> str:
    # Not the percent sign itself: what S3 servers and their clients make of one in a name differs.
    return quote(call_id, safe="@").replace("%", "=")
