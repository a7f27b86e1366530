"""A memory map and its writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.store.directory import DirectoryWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing" / "rules.map"


@pytest.fixture
def writer(path: Path) -> Iterator[DirectoryWriter]:
    writer = DirectoryWriter(path)
    yield writer
    writer.close()
