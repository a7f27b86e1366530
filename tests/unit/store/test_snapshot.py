"""The copy of the rules on local disk."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
from signalbox.store import snapshot
from signalbox.store.base import Entry, Listing
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = [Entry(f"rules/{n}", bytes([n]) * n, 100 + n, 50 + n) for n in range(200)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole snapshot."""
    file = tmp_path / "routing" / "rules.snapshot"
    snapshot.save(file, ENTRIES, 4711)
    return file


def test_what_is_saved_is_loaded(file: Path) -> None:
    assert snapshot.load(file) == Listing(ENTRIES, 4711)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_empty_snapshot_and_odd_keys(file: Path) -> None:
    snapshot.save(file, [], 1)
    assert snapshot.load(file) == Listing([], 1)
    odd = Entry(b"rules/\xff\xe9".decode(errors="surrogateescape") + "號", b"", 2**62, 1)
    snapshot.save(file, iter([odd]), 2**62)
    assert snapshot.load(file) == Listing([odd], 2**62)


def test_a_snapshot_larger_than_the_buffer(file: Path) -> None:
    entries = [Entry(f"k{n}", bytes(300_000), n + 1, n + 1) for n in range(12)]
    snapshot.save(file, entries, 12)
    assert snapshot.load(file) == Listing(entries, 12)


def test_no_file_is_no_snapshot_and_no_error(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert snapshot.load(tmp_path / "none") is None
    assert logs == []


def assert_set_aside(file: Path, why: str) -> None:
    with capture_logs() as logs:
        assert snapshot.load(file) is None
    assert [(log["event"], log["log_level"]) for log in logs] == [("snapshot_damaged", "error")]
    assert why in logs[0]["error"]
    (aside,) = file.parent.iterdir()
    assert aside.name.startswith(f"{file.name}.damaged-2")
    assert logs[0]["moved_to"] == str(aside)
    aside.unlink()


def test_a_flipped_bit_anywhere_sets_the_file_aside(file: Path) -> None:
    whole = file.read_bytes()
    for position in [*range(60), len(whole) // 2, *range(len(whole) - 60, len(whole))]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        file.write_bytes(damaged)
        assert_set_aside(file, "")


def test_a_file_cut_short_or_too_long_is_set_aside(file: Path) -> None:
    whole = file.read_bytes()
    for size in (0, 5, 20, 21, 100, len(whole) - 17, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert_set_aside(file, "")
    file.write_bytes(whole + b"x")
    assert_set_aside(file, "checksum")


def test_another_format_version_is_set_aside(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    struct.pack_into("<I", whole, 8, 99)
    file.write_bytes(whole)
    assert_set_aside(file, "format version 99 is not 1")


def test_another_kind_of_file_is_set_aside(file: Path) -> None:
    file.write_bytes(b"{}" * 100)
    assert_set_aside(file, "it is no snapshot")


def test_a_file_that_cannot_be_read_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "rules.snapshot").mkdir()
    with capture_logs() as logs:
        assert snapshot.load(tmp_path / "rules.snapshot") is None
    assert [log["event"] for log in logs] == ["snapshot_unreadable"]


def test_a_save_that_fails_leaves_the_old_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            snapshot.save(file, ENTRIES[:1], 5000)
    assert snapshot.load(file) == Listing(ENTRIES, 4711)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
