"""Spoken numbers of a cluster on this machine: made once."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from signalbox.speech import manifest
from signalbox.speech.languages import Language
from signalbox_local import speaking

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_stored_where_workers_look_and_not_made_again(tmp_path: Path) -> None:
    assert speaking.missing(tmp_path) == list(Language)
    speaking.store(tmp_path, [Language.CHINESE])
    assert speaking.missing(tmp_path) == [Language.ENGLISH]
    folder = tmp_path / "objects" / manifest.folder_of(Language.CHINESE)
    made = manifest.parse((folder / manifest.NAME).read_bytes())
    assert {file.name for file in folder.iterdir()} == {manifest.NAME, *made.files()}


def test_without_the_program_that_speaks_it_is_told_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "espeak-ng"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no voice >&2; exit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(speaking.NotSpokenError, match="espeak"):
        speaking.store(tmp_path, [Language.CHINESE])
    assert speaking.missing(tmp_path) == list(Language)
