"""Files written whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "file"
    for content in (b"one", b"two"):
        write_atomically(file, content, modified=1_000)
    assert (file.read_bytes(), file.stat().st_mtime, file.stat().st_mode & 0o777) == (b"two", 1_000, 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_others_may_read_it_if_told_so(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"", mode=0o644)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A directory in its place cannot be replaced."""
    (tmp_path / "file" / "old").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.rglob("*")] == ["file", "old"]
