"""The arithmetic of pages."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.store.base import Change, Delete, Entry, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.page import FORMAT, LAST, MAX_BYTES, MAX_ITEMS, Page
from signalbox.store.pagepb import page_pb2

LAST_KEY = "p/" + LAST


def stored(page: Page, revision: int) -> Page:
    """The page as it is read after a commit."""
    return Page.decode(page.prefix, Entry(page.key, page.encode(), revision, 1))


def filled(count: int, revision: int = 7, size: int = 1) -> Page:
    page = Page.last("p/")
    assert page.write([Put(f"p/{n:03d}", bytes(size)) for n in range(count)])
    return stored(page, revision)


class TestEntries:
    def test_what_is_written_has_the_revision_of_the_page(self) -> None:
        page = filled(2)
        assert page.entries() == [Entry("p/000", b"\0", 7, 7), Entry("p/001", b"\0", 7, 7)]
        assert page.get("p/001") == Entry("p/001", b"\0", 7, 7)
        assert page.get("p/002") is None

    def test_neighbours_keep_their_revisions(self) -> None:
        page = filled(3)
        page.write([Put("p/001", b"new"), Put("p/000a", b"")])
        page = stored(page, 9)
        assert [(one.key, one.revision, one.create_revision) for one in page.entries()] == [
            ("p/000", 7, 7),
            ("p/000a", 9, 9),
            ("p/001", 9, 7),
            ("p/002", 7, 7),
        ]
        page.write([Put("p/001", b"newer"), Delete("p/002")])
        assert stored(page, 12).get("p/001") == Entry("p/001", b"newer", 12, 7)

    def test_what_is_made_anew_is_new(self) -> None:
        page = filled(1)
        page.write([Delete("p/000")])
        page = stored(page, 8)
        page.write([Put("p/000", b"2")])
        assert stored(page, 9).entries() == [Entry("p/000", b"2", 9, 9)]

    def test_the_key_of_the_prefix_itself_may_lie_in_it(self) -> None:
        page = Page.last("p/")
        page.write([Put("p/", b"1"), Put("p/a", b"2")])
        assert [one.key for one in stored(page, 2).entries()] == ["p/", "p/a"]

    def test_to_delete_what_is_not_there_changes_nothing(self) -> None:
        page = filled(1)
        before = page.encode()
        assert not page.write([Delete("p/5")])
        assert page.encode() == before


class TestChanges:
    def test_only_the_last_write_is_told(self) -> None:
        page = filled(3)
        page.write([Put("p/001", b"new"), Delete("p/002")])
        page = stored(page, 9)
        assert list(page.changes()) == [
            Change("p/001", Entry("p/001", b"new", 9, 7), 9),
            Change("p/002", None, 9),
        ]
        page.write([Put("p/000", b"x")])
        assert [change.key for change in stored(page, 10).changes()] == ["p/000"]

    def test_a_division_is_no_change(self) -> None:
        page = filled(MAX_ITEMS)
        page.write([Put("p/0005", b"x")])
        lower = page.split(1)
        told = [change for one in (*lower, page) for change in stored(one, 9).changes()]
        assert [(change.key, change.revision) for change in told] == [("p/0005", 9)]

    def test_the_next_page_tells_what_an_empty_one_had_deleted(self) -> None:
        gone, heir = filled(1), filled(3)
        gone.write([Delete("p/000")])
        heir.write([Delete("p/002")])
        heir.inherit(gone)
        assert [change.key for change in stored(heir, 9).changes()] == ["p/002", "p/000"]
        untouched = filled(3)
        untouched.inherit(gone)
        assert [change.key for change in stored(untouched, 9).changes()] == ["p/000"]


class TestSize:
    def test_128_entries_fit(self) -> None:
        page = filled(MAX_ITEMS)
        assert not page.full
        assert page.split(9) == []

    def test_a_full_page_gives_its_lower_half_away(self) -> None:
        page = filled(MAX_ITEMS)
        page.write([Put("p/200", b"x")])
        assert page.full
        (lower,) = page.split(9)
        assert (lower.key, page.key, lower.revision) == ("p/063", LAST_KEY, 0)
        assert [len(one.entries()) for one in (lower, page)] == [64, 65]
        assert page.get("p/064") is not None
        assert page.get("p/063") is None

    def test_bytes_divide_a_page_too(self) -> None:
        page = filled(20, size=1000)
        parts = [*page.split(9), page]
        assert all(part.size <= MAX_BYTES for part in parts)
        assert [one.key for part in parts for one in part.entries()] == [f"p/{n:03d}" for n in range(20)]

    def test_an_entry_larger_than_a_page_lies_alone(self) -> None:
        page = filled(5)
        page.write([Put("p/002", bytes(3 * MAX_BYTES))])
        assert [len(part.entries()) for part in (*page.split(9), page)] == [2, 1, 2]
        alone = Page.last("p/")
        alone.write([Put("p/0", bytes(3 * MAX_BYTES))])
        assert not alone.full

    def test_without_room_a_page_stays_too_full(self) -> None:
        page = filled(4 * MAX_ITEMS)
        assert len(page.split(2)) == 2
        assert page.full

    def test_only_the_last_page_stays_when_it_is_empty(self) -> None:
        page = filled(2 * MAX_ITEMS)
        (lower,) = page.split(9)
        assert not lower.goes
        for part in (lower, page):
            part.write([Delete(one.key) for one in part.entries()])
        assert lower.goes
        assert page.empty
        assert not page.goes


class TestDamage:
    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"\xff\xff",
            types_pb2.Number(number="4001234567", tenant="acme").SerializeToString(),
            page_pb2.Page(items=[page_pb2.Item(key="a")]).SerializeToString(),
        ],
    )
    def test_a_value_that_is_no_page_is_named(self, value: bytes) -> None:
        with pytest.raises(DamagedValueError, match="value of rules/numbers/67/4001234567 is damaged: not a page"):
            Page.decode("rules/numbers/67/", Entry("rules/numbers/67/4001234567", value, 5, 5))

    @pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"], ["a", "x"]])
    def test_entries_must_be_where_they_belong(self, ids: list[str]) -> None:
        value = page_pb2.Page(format=FORMAT, items=[page_pb2.Item(key=id) for id in ids]).SerializeToString()
        with pytest.raises(DamagedValueError, match="do not belong"):
            Page.decode("p/", Entry("p/c", value, 5, 5))
