"""Names of the objects that have the audio of prompts: told by their content, for it never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.g711 import A_LAW, MU_LAW

if TYPE_CHECKING:
    from signalbox.api.types.v1 import prompts_pb2
    from signalbox.g711 import Law

FOLDER = "prompts/"


def file(law: Law, sha256: bytes) -> str:
    """Name of an object within its tenant's folder."""
    return f"{sha256.hex()}.{law.ending}"


def files(audio: prompts_pb2.PromptAudio) -> tuple[str, str]:
    """Both objects of a prompt's audio within its tenant's folder: A-law, µ-law."""
    return file(A_LAW, audio.alaw_sha256), file(MU_LAW, audio.ulaw_sha256)


def object(tenant: str, file: str) -> str:
    """Name of an object in the object store."""
    return f"{FOLDER}{tenant}/{file}"
