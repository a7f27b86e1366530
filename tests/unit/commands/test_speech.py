"""``signalbox speech``: what it prints and how it fails. With espeak-ng itself: tests/integration/speech."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.speech import espeak
from signalbox.speech.languages import Language
from signalbox.speech.parts import build, read, write
from support.speech import say, tone

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.speech.parts import Library
    from support.commands import Shell


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones in place of speech."""
    monkeypatch.setattr(espeak, "synthesize", say)


@pytest.fixture(scope="module")
def library() -> Library:
    return asyncio.run(build(Language.CHINESE, say, {}))


@pytest.fixture
def folder(library: Library, elsewhere: Path) -> Path:
    """A library of tones."""
    write(library, elsewhere / "zh")
    return elsewhere / "zh"


def test_a_list_tells_what_to_record(bare: Shell) -> None:
    told = bare("speech list --language zh-CN").stdout
    assert told.startswith("PART")
    assert ["zh.position", "您排在第"] in [line.split() for line in told.splitlines()]


@pytest.mark.usefixtures("spoken")
def test_parts_are_made_of_recordings_where_there_are_any(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "recordings").mkdir()
    (elsewhere / "recordings" / "zh.1.wav").write_bytes(tone(500).wav())
    (elsewhere / "recordings" / ".hidden").write_bytes(b"x")
    told = bare("speech parts --language zh --to made --recordings recordings").stdout
    library = read(elsewhere / "made")
    assert told == f"made: {len(library.manifest.parts)} parts, 1 of recordings\n"
    assert library.manifest.parts["zh.1"].source.value == "recording"


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize(
    ("files", "error"),
    [
        (["en.one.wav", "en.one.mp3"], "recordings/en.one.wav: there is another recording of en.one"),
        (["en.one.wav"], "recordings.en.one: is neither WAV, FLAC, MP3, Ogg nor M4A"),
        (["hello.wav"], "recordings.hello: is no part of en that can be recorded"),
    ],
)
def test_recordings_that_cannot_be_used_are_told(bare: Shell, elsewhere: Path, files: list[str], error: str) -> None:
    (elsewhere / "recordings").mkdir()
    for name in files:
        (elsewhere / "recordings" / name).touch()
    refused = bare("speech parts --language en --to made --recordings recordings", code=1)
    assert refused.stderr == f"Error: {error}\n"
    assert not (elsewhere / "made").exists()


@pytest.mark.parametrize("command", ["list", "parts --to made"])
def test_a_language_that_is_not_spoken_is_refused(bare: Shell, command: str) -> None:
    refused = bare(f"speech {command} --language fr", code=1)
    assert refused.stderr == "Error: language: 'fr' cannot be spoken; there are zh, cmn, en, en-gb, en-us\n"


def test_without_a_synthesizer_parts_say_so(bare: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(elsewhere))
    refused = bare("speech parts --language en --to made", code=3)
    assert refused.stderr == "Error: espeak-ng cannot be run: No such file or directory\n"


@pytest.mark.usefixtures("folder")
def test_storing_tells_what_was_new(bare: Shell, library: Library) -> None:
    count, files = len(library.manifest.parts), len(library.files)
    assert bare("speech store zh").stdout == f"zh-CN: {count} parts stored, {files} of {files} files were new\n"
    assert bare("speech store zh").stdout == f"zh-CN: {count} parts stored, 0 of {files} files were new\n"


def test_a_folder_without_a_library_is_not_stored(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "none").mkdir()
    assert bare("speech store none", code=1).stderr == "Error: none/manifest.json: No such file or directory\n"
    (elsewhere / "none" / "manifest.json").write_text("{}")
    assert "manifest: language: Field required" in bare("speech store none", code=1).stderr


@pytest.mark.usefixtures("folder")
def test_a_store_that_cannot_be_used_is_told(bare: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "file").touch()
    monkeypatch.setenv("SIGNALBOX_OBJECTS__LOCATION", str(elsewhere / "file"))
    assert "objects.location" in bare("speech store zh", code=2).stderr
    monkeypatch.setenv("SIGNALBOX_OBJECTS__LOCATION", str(elsewhere / "objects"))
    (elsewhere / "objects").mkdir()
    (elsewhere / "objects" / "prompts").touch()
    assert "object store: " in bare("speech store zh", code=3).stderr
