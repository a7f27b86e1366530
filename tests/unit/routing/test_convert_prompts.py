"""Prompts, from the store into memory."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.prompts import Audio, Prompt
from signalbox.routing import convert_prompts
from signalbox.store.codec import DamagedValueError


def test_a_prompt_is_known_by_the_hashes_of_its_audio() -> None:
    message = types_pb2.Prompt(tenant="acme", id="hello")
    assert convert_prompts.prompt(message) == Prompt("acme", "hello")
    audio = message.audio
    audio.alaw_sha256, audio.ulaw_sha256, audio.duration_ms = b"a" * 32, b"u" * 32, 700
    assert convert_prompts.prompt(message) == Prompt("acme", "hello", Audio(b"a" * 32, b"u" * 32, 700))
    audio.ulaw_sha256 = b"u" * 31
    with pytest.raises(DamagedValueError, match=r"audio\.ulaw_sha256 is no SHA-256"):
        convert_prompts.prompt(message)
