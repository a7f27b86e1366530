"""The event journal: rows numbered without gaps, position and rows always in agreement, bounded on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from signalbox import journal as module
from signalbox.journal import Chunk, Hole, Journal, hole, read
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


def opened(directory: Path, max_bytes: int = 64 * MIB) -> Journal:
    journal = Journal(directory, max_bytes)
    journal.open()
    return journal


def rows(first: int, count: int) -> list[bytes]:
    return [b"row-%d" % number for number in range(first, first + count)]


def only_segment(directory: Path) -> Path:
    (path,) = directory.glob("*.log")
    return path


def test_rows_are_numbered_from_one(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 100, rows(1, 2)), Chunk(12, 50, rows(3, 1))])
    assert list(read(tmp_path)) == [(1, b"row-1"), (2, b"row-2"), (3, b"row-3")]
    assert only_segment(tmp_path).name == "00000000000000000001.log"
    assert only_segment(tmp_path).read_bytes() == b"@@ \n1 row-1\n2 row-2\n3 row-3\n@ 11:100 12:50\n"


def test_a_new_writer_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 100, rows(1, 2)), Chunk(12, 50, [])])
    journal.append([], forget=[12])
    journal.close()
    journal = opened(tmp_path)
    assert (journal.sequence, journal.positions) == (2, {11: 100})
    journal.append([Chunk(11, 120, rows(3, 1))])
    assert [number for number, _ in read(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_torn_append_never_happened(tmp_path: Path, cut: int) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 100, rows(1, 2))])
    whole = only_segment(tmp_path).read_bytes()
    journal.append([Chunk(11, 200, rows(3, 4))])
    journal.close()
    torn = only_segment(tmp_path).read_bytes()
    only_segment(tmp_path).write_bytes(torn[: min(len(whole) + cut, len(torn) - 1)])
    assert [row for _, row in read(tmp_path)] == rows(1, 2), "readers see committed rows only"
    journal = opened(tmp_path)
    assert (journal.sequence, journal.positions) == (2, {11: 100})
    assert only_segment(tmp_path).read_bytes() == whole
    journal.append([Chunk(11, 200, rows(3, 4))])
    assert [row for _, row in read(tmp_path)] == rows(1, 6)


def test_a_segment_without_its_first_line_never_began(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 100, rows(1, 2))])
    journal.close()
    (tmp_path / "00000000000000000003.log").write_bytes(b"@@ 11:1")
    journal = opened(tmp_path)
    assert (journal.sequence, journal.positions) == (2, {11: 100})
    only_segment(tmp_path)


def test_segments_follow_each_other_and_reading_may_begin_anywhere(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=8 * MIB)
    for number in range(40):
        journal.append([Chunk(11, number, [b"%d " % number + b"x" * 1000] * 100)])
    assert len(list(tmp_path.glob("*.log"))) > 3
    assert [number for number, _ in read(tmp_path)] == list(range(1, 4001))
    for begin in (1, 2, 99, 1048, 1049, 1050, 2500, 3999, 4000):
        assert [number for number, _ in read(tmp_path, begin)] == list(range(begin, 4001))
    assert list(read(tmp_path, 4001)) == []
    journal.close()
    assert opened(tmp_path, max_bytes=8 * MIB).disk_bytes == sum(p.stat().st_size for p in tmp_path.glob("*.log"))


def test_when_full_the_oldest_rows_are_given_up_loudly(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=8 * MIB)
    with capture_logs() as logs:
        for number in range(100):
            journal.append([Chunk(11, number, [b"x" * 1000] * 100)])
    assert journal.disk_bytes <= 8 * MIB
    lost = [entry for entry in logs if entry["event"] == "events_lost"]
    assert lost
    first = next(read(tmp_path))[0]
    assert journal.lost == sum(entry["count"] for entry in lost) == first - 1
    assert hole(tmp_path) == Hole(1, first - 1)
    assert [number for number, _ in read(tmp_path)] == list(range(first, 10_001))


def test_what_was_shipped_goes_quietly(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=8 * MIB)
    with capture_logs() as logs:
        for number in range(100):
            journal.append([Chunk(11, number, [b"x" * 1000] * 100)])
            journal.acknowledge(journal.sequence)
    assert journal.lost == 0
    assert hole(tmp_path) is None
    assert logs == []
    journal.close()
    assert opened(tmp_path, max_bytes=8 * MIB).acknowledged == 10_000


def test_acknowledging_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 1, rows(1, 2))])
    with pytest.raises(ValueError, match="3 is not between 0 and 2"):
        journal.acknowledge(3)


def test_a_full_disk_leaves_no_half_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.append([Chunk(11, 100, rows(1, 2))])
    real_write = os.write

    def fails_half_way(file: int, data: bytes) -> int:
        if len(data) > 10:
            return real_write(file, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", fails_half_way)
    with pytest.raises(OSError, match="No space"):
        journal.append([Chunk(11, 200, rows(3, 2))])
    monkeypatch.undo()
    assert (journal.sequence, journal.positions) == (2, {11: 100})
    journal.append([Chunk(11, 200, rows(3, 2))])
    assert [row for _, row in read(tmp_path)] == rows(1, 4)


def test_a_journal_that_was_never_begun_is_empty(tmp_path: Path) -> None:
    assert list(read(tmp_path / "absent")) == []
    assert hole(tmp_path / "absent") is None


def test_any_byte_but_the_newline_may_stand_in_a_row(tmp_path: Path) -> None:
    row = bytes(byte for byte in range(256) if byte != 10)
    opened(tmp_path).append([Chunk(11, 1, [row, b"@", b"", b"@@ 1:2"])])
    assert [found for _, found in read(tmp_path)] == [row, b"@", b"", b"@@ 1:2"]
    assert opened(tmp_path).positions == {11: 1}
