"""Libraries of parts: each part of a language spoken once, as G.711 of the loudness that prompts have.

A library is made into a folder, where it can be heard before it is stored. What is stored is found by
``prompts/_parts/<language>/manifest.json``, which is written last: whoever reads it finds all that it names.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalbox.audio.decoding import UnusableAudioError, decode
from signalbox.audio.preparation import prepare
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.files import write_atomically
from signalbox.g711 import A_LAW, MU_LAW, RATE
from signalbox.speech import manifest as manifests
from signalbox.speech.manifest import Manifest, PartAudio, Source
from signalbox.speech.sound import Speech
from signalbox.speech.spoken import PAUSES, parts_of
from signalbox.store.objectstore import ObjectMissingError, once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from signalbox.speech.languages import Language
    from signalbox.store.objectstore import ObjectStore

    Speaker = Callable[[str, str], Awaitable[Speech]]

PAUSE_MS = 250
"""Between groups of digits."""
PART_MAX_S = 10
"""Longest recording of a part, seconds."""
SHARED_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Library:
    """The parts of a language, and their files by name."""

    manifest: Manifest
    files: Mapping[str, bytes]


async def build(language: Language, speak: Speaker, recordings: Mapping[str, bytes]) -> Library:
    """Make a library: recordings (any file that prompts may be, by part), and all else spoken.

    The same input gives the same bytes. Raises InvalidFieldError for a recording that is none of a part or cannot be
    used, and what ``speak`` raises.
    """
    texts = parts_of(language)
    for part in recordings:
        if part not in texts or part in PAUSES:
            raise _unusable(part, f"is no part of {language.value} that can be recorded")
    parts: dict[str, PartAudio] = {}
    files: dict[str, bytes] = {}
    for part, text in texts.items():
        if part in PAUSES:
            made, source = _laid(np.zeros(PAUSE_MS * RATE // 1000, dtype=np.int16)), Source.SILENCE
        elif part in recordings:
            made, source = await asyncio.to_thread(_prepared, part, recordings[part]), Source.RECORDED
        else:
            said = (await speak(text, language.value)).wav()
            made, source = await asyncio.to_thread(_prepared, part, said), Source.SYNTHESIZED
        alaw, ulaw, duration_ms = made
        parts[part] = audio = PartAudio(_sha256(alaw), _sha256(ulaw), duration_ms, source)
        files |= zip((name for name, _ in audio.files()), (alaw, ulaw), strict=True)
    return Library(Manifest(language, parts), files)


def _prepared(part: str, content: bytes) -> tuple[bytes, bytes, int]:
    """Both files of a part and how long they are, milliseconds."""
    try:
        samples = decode(content).samples
        if len(samples) > PART_MAX_S * RATE:
            raise UnusableAudioError(f"is longer than {PART_MAX_S} s")
        said = Speech(np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.int16), RATE).trimmed()
        if not len(said.samples):
            raise UnusableAudioError("is silent")
        prepared = prepare(said.wav())
    except UnusableAudioError as error:
        raise _unusable(part, str(error)) from error
    return prepared.alaw, prepared.ulaw, prepared.duration_ms


def _laid(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> tuple[bytes, bytes, int]:
    return A_LAW.wav(samples), MU_LAW.wav(samples), 1000 * len(samples) // RATE


def write(library: Library, folder: Path) -> None:
    """Put a library into a folder, whole before the manifest tells of it. Raises OSError."""
    for name, content in library.files.items():
        write_atomically(folder / name, content, mode=SHARED_MODE)
    write_atomically(folder / manifests.NAME, library.manifest.encoded(), mode=SHARED_MODE)


def read(folder: Path) -> Library:
    """A library from a folder. Raises OSError, and InvalidFieldError for what is not as it must be."""
    manifest = manifests.parse((folder / manifests.NAME).read_bytes())
    files: dict[str, bytes] = {}
    for name, sha256 in manifest.files().items():
        files[name] = (folder / name).read_bytes()
        if _sha256(files[name]) != sha256:
            raise InvalidFieldError(FieldViolation(name, "is not what the manifest says: its SHA-256 differs"))
    return Library(manifest, files)


async def store(library: Library, objects: ObjectStore) -> int:
    """Store a library in place of what there is of its language; gives how many files were not there yet.

    What was there before stays, so that calls which play it go on. Raises ObjectsUnavailableError.
    """
    folder = manifests.folder_of(library.manifest.language)
    stored = 0
    for name, content in library.files.items():
        if not await _has(objects, f"{folder}/{name}", len(content)):
            await objects.put(f"{folder}/{name}", once(content))
            stored += 1
    await objects.put(f"{folder}/{manifests.NAME}", once(library.manifest.encoded()))
    return stored


async def _has(objects: ObjectStore, name: str, size: int) -> bool:
    try:
        return await objects.head(name) == size
    except ObjectMissingError:
        return False


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unusable(part: str, reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation(f"recordings.{part}", reason))
