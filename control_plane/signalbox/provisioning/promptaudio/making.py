"""What is known of audio that was prepared, and its way to a prompt."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import prompts_pb2
from signalbox.errors import WriteContentionError
from signalbox.provisioning.promptaudio.objects import GoneError
from signalbox.provisioning.writer import ATTEMPTS
from signalbox.store import promptnames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.api.types.v1 import types_pb2
    from signalbox.audio.preparation import Prepared
    from signalbox.provisioning.promptaudio.objects import PromptObjects

DECIMALS = 1
"""Of loudness and peak: more than a tenth nobody hears."""


def described(prepared: Prepared) -> prompts_pb2.PromptAudio:
    """What is known of prepared audio, but where it is from and when it was made."""
    return prompts_pb2.PromptAudio(
        alaw_sha256=hashlib.sha256(prepared.alaw).digest(),
        ulaw_sha256=hashlib.sha256(prepared.ulaw).digest(),
        size_bytes=len(prepared.alaw),
        duration_ms=prepared.duration_ms,
        given_loudness=round(prepared.given_loudness, DECIMALS),
        loudness=round(prepared.loudness, DECIMALS),
        true_peak=round(prepared.true_peak, DECIMALS),
    )


async def given(
    objects: PromptObjects,
    tenant: str,
    prepared: Prepared,
    audio: prompts_pb2.PromptAudio,
    commit: Callable[[], Awaitable[types_pb2.Prompt]],
) -> types_pb2.Prompt:
    """Store prepared audio and then ``commit`` that a prompt has it.

    Whatever fails leaves the prompt as it is, and objects that are swept. Raises what both raise.
    """
    files = promptnames.files(audio)
    for _ in range(ATTEMPTS):
        await objects.put(tenant, prepared, files)
        try:
            return await commit()
        except GoneError:
            # Another prompt was given the same, and so took the note of it.
            continue
    raise WriteContentionError(f"others had the same audio {ATTEMPTS} times while this was tried; nothing was written")
