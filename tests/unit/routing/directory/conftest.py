"""What is in force, in memory and in a memory map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.routing.directory import LiveDirectory
from signalbox.routing.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.map"


@pytest.fixture
def live(path: Path) -> Iterator[LiveDirectory]:
    """One that writes the map, with nothing in it."""
    live = LiveDirectory(path, write=True)
    live.open()
    live.replace(Overlay(), 1)
    yield live
    live.close()
