"""Libraries of parts: made, put into a folder, stored."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox import wav
from signalbox.errors import InvalidFieldError, ObjectsUnavailableError
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.settings import ObjectsSettings
from signalbox.speech import manifest, parts
from signalbox.speech.languages import Language
from signalbox.speech.manifest import Source
from signalbox.speech.sound import Speech
from signalbox.speech.spoken import PAUSES
from signalbox.store.objectstore import ObjectStore
from support.speech import say, tone

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.speech.parts import Library

ZH = Language.CHINESE


@pytest.fixture(scope="module")
def library() -> Library:
    return asyncio.run(parts.build(ZH, say, {"zh.1": tone(1_000, 0.5, 30_000).wav()}))


@pytest.fixture(scope="module")
def changed() -> Library:
    """The same without the recording."""
    return asyncio.run(parts.build(ZH, say, {}))


def heard(library: Library, part: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Samples of a part's A-law file, full scale 1."""
    sound = wav.parse(library.files[f"{library.manifest.parts[part].alaw_sha256}.alaw.wav"])
    return A_LAW.decode(sound.samples) / 32_768


async def test_every_file_is_named_by_its_hash_and_has_its_law(library: Library) -> None:
    assert set(library.files) == set(library.manifest.files())
    for name, content in library.files.items():
        law = A_LAW if name.endswith(A_LAW.ending) else MU_LAW
        assert name == f"{hashlib.sha256(content).hexdigest()}.{law.ending}"
        assert wav.parse(content).encoding == law.format_tag


async def test_silence_around_parts_is_left_out_and_told_times_are_right(library: Library) -> None:
    for name, part in library.manifest.parts.items():
        assert part.duration_ms == pytest.approx(len(heard(library, name)) / 8, abs=1)
        if part.source is Source.SYNTHESIZED:
            assert 400 <= part.duration_ms <= 460, name


async def test_parts_are_as_loud_as_each_other(library: Library) -> None:
    levels = [
        20 * np.log10(np.sqrt(np.mean(heard(library, name) ** 2))) for name in library.manifest.parts.keys() - PAUSES
    ]
    assert max(levels) - min(levels) < 5
    assert all(np.abs(heard(library, name)).max() < 0.9 for name in library.manifest.parts)


async def test_a_recording_takes_the_place_of_a_part(library: Library) -> None:
    sources = {name for name, part in library.manifest.parts.items() if part.source is Source.RECORDED}
    assert sources == {"zh.1"}
    spectrum = np.abs(np.fft.rfft(heard(library, "zh.1")))
    assert np.argmax(spectrum) * 8_000 / len(heard(library, "zh.1")) == pytest.approx(1_000, abs=5)


async def test_a_pause_is_silence(library: Library) -> None:
    assert library.manifest.parts["zh.pause"].source is Source.SILENCE
    assert library.manifest.parts["zh.pause"].duration_ms == parts.PAUSE_MS
    assert np.abs(heard(library, "zh.pause")).max() < 0.001


async def test_the_same_input_gives_the_same_bytes(library: Library) -> None:
    again = await parts.build(ZH, say, {"zh.1": tone(1_000, 0.5, 30_000).wav()})
    assert again.files == library.files
    assert again.manifest.encoded() == library.manifest.encoded()


@pytest.mark.parametrize(
    ("part", "content", "error"),
    [
        ("zh.nothing", b"", "recordings.zh.nothing: is no part of zh-CN that can be recorded"),
        ("en.one", b"", "recordings.en.one: is no part of zh-CN that can be recorded"),
        ("zh.pause", b"", "recordings.zh.pause: is no part of zh-CN that can be recorded"),
        ("zh.0", b"text", "recordings.zh.0: is neither WAV, FLAC, MP3, Ogg nor M4A"),
        ("zh.0", Speech(np.zeros(8_000, dtype=np.int16), 8_000).wav(), "recordings.zh.0: is silent"),
        ("zh.0", tone(500, 10.1).wav(), "recordings.zh.0: is longer than 10 s"),
    ],
)
async def test_recordings_that_cannot_be_used_are_refused(part: str, content: bytes, error: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        await parts.build(ZH, say, {part: content})
    assert str(refused.value) == error


async def test_a_library_comes_back_from_its_folder(library: Library, tmp_path: Path) -> None:
    parts.write(library, tmp_path / "zh")
    assert parts.read(tmp_path / "zh") == library


async def test_a_folder_that_was_changed_is_refused(library: Library, tmp_path: Path) -> None:
    parts.write(library, tmp_path)
    name = next(iter(library.files))
    (tmp_path / name).write_bytes(b"another")
    with pytest.raises(InvalidFieldError, match=f"^{name}: is not what the manifest says"):
        parts.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError):
        parts.read(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(ObjectsSettings(location=str(tmp_path / "objects")))


async def fetched(objects: ObjectStore, name: str) -> bytes:
    return b"".join([piece async for piece in objects.get(f"prompts/_parts/zh-CN/{name}")])


async def test_a_stored_library_is_found_by_its_manifest(library: Library, objects: ObjectStore) -> None:
    assert await parts.store(library, objects) == len(library.files)
    found = manifest.parse(await fetched(objects, "manifest.json"))
    assert found == library.manifest
    for name, sha256 in found.files().items():
        assert hashlib.sha256(await fetched(objects, name)).hexdigest() == sha256


async def test_storing_a_changed_library_adds_what_is_new_and_keeps_the_old(
    library: Library, changed: Library, objects: ObjectStore
) -> None:
    await parts.store(library, objects)
    assert await parts.store(library, objects) == 0
    assert await parts.store(changed, objects) == 2
    assert manifest.parse(await fetched(objects, "manifest.json")) == changed.manifest
    for name in library.files:
        assert await fetched(objects, name) == library.files[name]


async def test_a_store_that_fails_in_between_keeps_the_old_manifest(
    library: Library, changed: Library, objects: ObjectStore, tmp_path: Path
) -> None:
    await parts.store(library, objects)
    new = sorted(set(changed.files) - set(library.files))
    (tmp_path / "objects" / "prompts" / "_parts" / "zh-CN" / new[-1]).mkdir()
    with pytest.raises(ObjectsUnavailableError):
        await parts.store(changed, objects)
    assert manifest.parse(await fetched(objects, "manifest.json")) == library.manifest
