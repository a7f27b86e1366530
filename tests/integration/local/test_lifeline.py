"""Processes end with their parents."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from signalbox_local import lifeline

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 15.0


def test_the_command_runs_with_its_words_as_they_are() -> None:
    words = ["a b", "$HOME", "'", '"', "%"]
    program = "import sys; print(sys.argv[1:])"
    done = subprocess.run(
        lifeline.tied([sys.executable, "-c", program, *words]), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.stdout == f"{words!r}\n"


@pytest.mark.parametrize("text", ["1\n", ""], ids=["another", "unknown"])
def test_a_process_whose_parent_died_before_it_asked_does_not_run(tmp_path: Path, text: str) -> None:
    parent = tmp_path / "its pid"
    parent.write_text(text)
    done = subprocess.run(lifeline.tied(["echo", "ran"], parent=parent), capture_output=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (1, b"")


def test_the_parent_may_be_named_by_a_file(tmp_path: Path) -> None:
    parent = tmp_path / "its pid"
    parent.write_text(f"{os.getpid()}\n")
    done = subprocess.run(lifeline.tied(["echo", "ran"], parent=parent), capture_output=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
