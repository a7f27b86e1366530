"""The table of regions that a process works with: the delivered one, and the operator's own on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox import data
from signalbox.domain.regions import RegionTable
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def load(file: Path | None) -> RegionTable:
    """The table, under the operator's CSV file if there is one.

    Raises ConfigurationError that names the file and the line that is wrong.
    """
    table = RegionTable.load(data.read("regions.bin"))
    if file is None:
        return table
    try:
        return table.overlay(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"routing.regions_file: {file}: {error}") from error
