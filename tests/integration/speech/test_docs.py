"""The examples of docs/speech.md, one after the other, with espeak-ng itself."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.speech.languages import Language
from signalbox.speech.spoken import parts_of
from support.commands import Shell, bare
from support.speech import tone

if TYPE_CHECKING:
    import pytest

__all__ = ["bare"]

PAGE = (Path(__file__).parents[3] / "docs" / "speech.md").read_text()


def test_every_example_does_what_the_page_says(bare: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "zh.1.wav").write_bytes(tone(500).wav())
    examples = re.findall(r"```console\n\$ signalbox (.+)\n([^`]*)```", PAGE)
    assert len(examples) == PAGE.count("$ signalbox") == 4
    for command, told in examples:
        printed = bare(shlex.split(command)).stdout
        # As much as is shown before a mark that there is more.
        shown, more, _ = told.partition("…\n")
        assert printed.startswith(shown)
        assert more or printed == shown


def test_how_many_parts_there_are_is_told() -> None:
    design = (Path(__file__).parents[3] / "docs" / "design" / "speech.md").read_text()
    assert f"{len(parts_of(Language.CHINESE))} parts say" in design
    assert f"{len(parts_of(Language.ENGLISH))} in English" in design
