"""What there is of a library of parts: a JSON document beside the audio, in the object store and in folders.

::

    {"language": "zh-CN", "parts": {"zh.1": {
        "alaw_sha256": "…", "ulaw_sha256": "…", "duration_ms": 310, "source": "espeak-ng"}, …}}

A file is named by its SHA-256: ``<alaw_sha256>.alaw.wav``, ``<ulaw_sha256>.ulaw.wav``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.speech.languages import Language
from signalbox.speech.spoken import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "manifest.json"
FOLDER = "prompts/_parts"
"""In the object store. No tenant has such an id."""
_SHA256 = r"^[0-9a-f]{64}$"


class Source(Enum):
    """Where a part is from."""

    SYNTHESIZED = "espeak-ng"
    RECORDED = "recording"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class PartAudio:
    """A part as media nodes play it."""

    alaw_sha256: str
    """Of the A-law file, hexadecimal."""
    ulaw_sha256: str
    duration_ms: int
    source: Source

    def files(self) -> Iterator[tuple[str, str]]:
        """The names of its files, each with its SHA-256: A-law, µ-law."""
        yield f"{self.alaw_sha256}.{A_LAW.ending}", self.alaw_sha256
        yield f"{self.ulaw_sha256}.{MU_LAW.ending}", self.ulaw_sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """All parts of a language."""

    language: Language
    parts: Mapping[str, PartAudio]

    def files(self) -> dict[str, str]:
        """The names of all files, each with its SHA-256. Parts that sound alike have the same."""
        return {name: sha256 for part in self.parts.values() for name, sha256 in part.files()}

    def encoded(self) -> bytes:
        """The document; the same for the same parts."""
        parts = {name: {**asdict(part), "source": part.source.value} for name, part in sorted(self.parts.items())}
        document = {"language": self.language.value, "parts": parts}
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def folder_of(language: Language) -> str:
    """Where the parts of a language are in the object store."""
    return f"{FOLDER}/{language.value}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    alaw_sha256: str = Field(pattern=_SHA256)
    ulaw_sha256: str = Field(pattern=_SHA256)
    duration_ms: int = Field(ge=1)
    source: Source = Field(strict=False)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    language: Language = Field(strict=False)
    parts: dict[str, _Part]


def parse(content: bytes) -> Manifest:
    """Read a document. Raises InvalidFieldError for ``manifest`` unless it has exactly the parts of its language."""
    try:
        document = _Document.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")) from error
    known = parts_of(document.language)
    for part in sorted(document.parts.keys() ^ known.keys()):
        raise _invalid(f"{part} is missing" if part in known else f"{part} is no part of {document.language.value}")
    return Manifest(document.language, {name: PartAudio(**dict(part)) for name, part in document.parts.items()})


def _invalid(reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation("manifest", reason))
