"""Prompts: what callers hear, as far as calls need to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Audio:
    """A prompt's audio in both laws of G.711, told by the SHA-256 of each."""

    alaw_sha256: bytes
    ulaw_sha256: bytes
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of a tenant; ``audio`` None: there is nothing to be heard yet."""

    tenant: str
    id: str
    audio: Audio | None = None
