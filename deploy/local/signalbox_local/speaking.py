"""What numbers are spoken of: made and stored once for each directory of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from signalbox.speech import manifest
from signalbox.speech.languages import Language

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OBJECTS = "objects"
"""The object store, below the cluster's directory."""
SPEECH = "speech"
"""What is stored, below the same."""


class NotSpokenError(Exception):
    """The parts could not be made: espeak-ng is not there, or fails."""


def missing(directory: Path) -> list[Language]:
    """Languages whose parts are not in the object store of a cluster."""
    objects = directory / OBJECTS
    return [one for one in Language if not (objects / manifest.folder_of(one) / manifest.NAME).exists()]


def store(directory: Path, languages: Iterable[Language]) -> None:
    """Make the parts of languages, all at once, and store them. Raises NotSpokenError."""
    folders = {one.value: directory / SPEECH / one.value for one in languages}
    _run_all(["parts", "--language", tag, "--to", str(folder)] for tag, folder in folders.items())
    location = {"SIGNALBOX_OBJECTS__LOCATION": str((directory / OBJECTS).resolve())}
    _run_all((["store", str(folder)] for folder in folders.values()), location)


def _run_all(commands: Iterable[list[str]], variables: dict[str, str] | None = None) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "signalbox", "speech", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(variables or {})},
        )
        for command in commands
    ]
    try:
        told = [process.communicate()[1].decode(errors="replace").strip() for process in running]
    except BaseException:
        for process in running:
            process.kill()
            process.wait()
        raise
    for process, error in zip(running, told, strict=True):
        if process.returncode:
            raise NotSpokenError(error.removeprefix("Error: "))
