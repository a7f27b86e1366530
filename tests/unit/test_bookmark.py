"""A reader of the journal finds its place again, from memory or from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox import journal as module
from signalbox.bookmark import Bookmark
from structlog.testing import capture_logs
from support.journaled import Journaled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def journaled(tmp_path: Path) -> Journaled:
    return Journaled(tmp_path)


def opened(journaled: Journaled) -> Bookmark:
    bookmark = Bookmark(journaled.journal, journaled.file)
    bookmark.open()
    return bookmark


def test_without_a_file_it_begins_with_what_comes(journaled: Journaled) -> None:
    journaled.append(b"one", b"two")
    bookmark = opened(journaled)
    journaled.append(b"three")
    assert (bookmark.behind, bookmark.rows(10)) == (1, [(3, b"three")])


async def test_the_place_is_found_again(journaled: Journaled) -> None:
    bookmark = opened(journaled)
    journaled.append(b"one", b"two", b"three")
    await bookmark.move(1)
    assert opened(journaled).rows(1) == [(2, b"two")]


@pytest.mark.parametrize(("text", "events"), [("x", ["journal_position_damaged"]), ("99\n", []), ("-3\n", [])])
def test_a_place_that_cannot_be_is_set_anew(journaled: Journaled, text: str, events: list[str]) -> None:
    journaled.append(b"one")
    journaled.file.write_text(text)
    with capture_logs() as logs:
        bookmark = opened(journaled)
    assert (bookmark.sequence, journaled.file.read_text()) == (1, "1\n")
    assert [entry["event"] for entry in logs] == events


def test_the_newest_rows_come_from_memory_and_older_ones_from_disk(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT_BYTES", 60)
    appended = [b"row-%02d" % n for n in range(1, 21)]
    for first in range(0, 20, 4):
        journaled.append(*appended[first : first + 4])
    numbered = list(enumerate(appended, 1))
    assert journaled.journal._recent[0][0] == 17
    for begin in range(1, 22):
        assert list(journaled.journal.rows(begin)) == numbered[begin - 1 :]
    for path in journaled.directory.glob("*.log"):
        path.unlink()
    assert list(journaled.journal.rows(18)) == numbered[17:]
    assert list(journaled.journal.rows(16)) == []


def test_after_a_start_all_is_read_from_disk(journaled: Journaled) -> None:
    journaled.append(b"one", b"two")
    journaled.journal.close()
    journaled.journal.open()
    assert list(journaled.journal.rows(1)) == [(1, b"one"), (2, b"two")]
