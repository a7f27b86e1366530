"""Stored prompts into those that call flows name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from signalbox.domain.prompts import Audio, Prompt
from signalbox.store import codec

if TYPE_CHECKING:
    from signalbox.api.types.v1 import types_pb2

_SHA256_BYTES = 32


def prompt(message: types_pb2.Prompt) -> Prompt:
    """A prompt as it is stored. Raises DamagedValueError."""
    audio = None
    if message.HasField("audio"):
        stored = message.audio
        for name in ("alaw_sha256", "ulaw_sha256"):
            if len(getattr(stored, name)) != _SHA256_BYTES:
                raise codec.DamagedValueError(codec.key_of(message), f"audio.{name} is no SHA-256")
        audio = Audio(stored.alaw_sha256, stored.ulaw_sha256, stored.duration_ms)
    return Prompt(sys.intern(message.tenant), message.id, audio)
