"""What tenants own as it comes from the store, in pages and by itself."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.domain.screening import Page
from signalbox.routing import pages
from signalbox.routing.pages import Content, Difference, Loader
from signalbox.routing.stored import read_rule
from signalbox.store import codec, keys
from signalbox.store.base import Change, Delete, Entry, Put, Revisions
from signalbox.store.directory import Batch
from signalbox.store.memory import MemoryStore
from signalbox.store.page import LAST
from signalbox.store.paged import PagedStore
from signalbox.store.screening import page_message
from structlog.testing import capture_logs
from support import routing

LINES = "rules/lines/acme/"


async def written(*steps: list[Put | Delete]) -> list[Change]:
    """The changes of the pages of a tenant's lines that some commits come to."""
    store = MemoryStore()
    paged = PagedStore(store)
    for step in steps:
        await paged.commit([], step)
    batches = store.watch(LINES, 2)
    changes, _ = await anext(batches)
    await batches.aclose()
    await store.close()
    return list(changes)


def put(id: str) -> Put:
    message = routing.line(id)
    return Put(codec.key_of(message), codec.encode(message))


async def test_a_page_tells_what_its_last_write_changed_and_what_was_before() -> None:
    first, second, third = await written([put("a"), put("b")], [put("b"), Delete(keys.line("acme", "a"))], [put("c")])
    found = [
        content for change in (first, second, third) if change.entry and (content := pages.content_of(change.entry))
    ]
    assert [one.previous for one in found] == [0, first.revision, second.revision]
    told = [[change.key for change in one.changes(known)] for one, known in zip(found, (0, 2, 3), strict=True)]
    assert told == [[LINES + "a", LINES + "b"], [LINES + "b", LINES + "a"], [LINES + "c"]]


def test_what_is_different_is_wanted_with_where_it_begins() -> None:
    found = Revisions({LINES + "c": 5, LINES + LAST: 6, "rules/lines/other/" + LAST: 7}, 9)
    fresh = Difference(found)
    assert fresh.wanted() == [
        (LINES, LINES + "c"),
        (LINES + "c", LINES + LAST),
        ("rules/lines/other/", "rules/lines/other/" + LAST),
    ]
    known = Difference(found)
    known.has([(LINES + "a", 3), (LINES + "c", 5), (LINES + LAST, 4)])
    known.has([("rules/lines/other/" + LAST, 7)])
    assert known.wanted() == [(LINES + "c", LINES + LAST)]
    assert known.wanted(lambda key, revision: revision > 6) == []
    assert (known.gone, known.lacks(LINES + "a"), known.lacks(LINES + "c")) == ([LINES + "a"], True, False)


async def test_a_page_that_went_while_it_was_fetched_leaves_nothing_behind() -> None:
    store = MemoryStore()
    loader = Loader(store)
    difference = Difference(Revisions({LINES + LAST: 5}, 5))
    (batch,) = [one async for one in loader.load(difference, lambda after, last: [LINES + "a", LINES + "b"])]
    assert batch == Batch({}, {("acme", "a"): None, ("acme", "b"): None}, {LINES + LAST: 0})


async def test_odd_keys_stop_nothing() -> None:
    store = MemoryStore()
    await store.commit([], [put("a")])

    def keys(after: str, last: str) -> list[str]:
        raise ValueError("'É' is no id")

    difference = Difference(await store.revisions(LINES))
    with capture_logs() as logs:
        (batch,) = [one async for one in Loader(store).load(difference, keys)]
    assert list(batch.lines) == [("acme", "a")]
    assert [log["event"] for log in logs] == ["stored_page_odd"]


def test_what_lies_in_a_directory_comes_in_pages_or_by_itself() -> None:
    number, flow = routing.number(), routing.flow("main", routing.dial_node("a", "a"))
    assert pages.content_of(Entry(LINES + LAST, b"\xff", 1, 1)) is None
    assert pages.content_of(Entry(codec.key_of(flow), b"\xff", 1, 1)) is None
    for message in (number, flow):
        assert pages.content_of(routing.entry(message)) == Content([routing.entry(message)])
        assert pages.holds(codec.key_of(message))
    assert not pages.holds(keys.trunk("carrier"))


async def test_objects_by_themselves_are_taken_as_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    flow = routing.flow("main", routing.dial_node("a", "a"))
    damaged, entries = keys.flow("acme", "damaged"), Page.of(["n123", "x"])
    page = page_message("acme", "spam", 3, entries)
    await routing.put(store, flow, page, ScreeningList(tenant="acme", id="spam", display_name="Spam"))
    await store.commit([], [Put(damaged, b"\xff")])
    loader, found = Loader(store), Batch()
    monkeypatch.setattr(pages, "BATCH_BYTES", 1)
    monkeypatch.setattr(pages, "FETCHED", 1)
    for prefix in (keys.FLOWS, keys.SCREENING_LISTS, keys.SCREENING_PAGES):
        async for batch in loader.load(Difference(await store.revisions(prefix)), lambda after, last: []):
            assert len(batch.pages) <= 1, "no more at once than fits"
            found.objects |= batch.objects
            found.lists |= batch.lists
            found.pages |= batch.pages
    assert found.objects == {codec.key_of(flow): codec.encode(flow), keys.screening_list("acme", "spam"): b""}
    ((key, read),) = found.lists.items()
    assert read is not None
    assert (key, set(read.entries())) == (codec.key_of(page), {"n123", "x"})
    assert found.pages.keys() == {*found.objects, key}, "what is damaged stays different"
    assert list(loader.damaged) == [damaged]
    await store.commit([], [Delete(key), Delete(codec.key_of(flow))])
    for prefix, gone in ((keys.FLOWS, codec.key_of(flow)), (keys.SCREENING_PAGES, key)):
        difference = Difference(await store.revisions(prefix))
        difference.has([(gone, 2)])
        batches = [one async for one in Loader(store).load(difference, lambda after, last: [])]
        assert batches[0].pages[gone] == 0
        assert (batches[0].objects | batches[0].lists)[gone] is None


async def test_an_object_that_went_while_it_was_fetched() -> None:
    gone = keys.flow("acme", "main")
    loader = Loader(MemoryStore())
    difference = Difference(Revisions({gone: 5}, 5))
    (batch,) = [one async for one in loader.load(difference, lambda after, last: [])]
    assert batch == Batch(pages={gone: 0}, objects={gone: None})


def test_a_key_that_is_too_long_for_the_map_is_damage() -> None:
    with pytest.raises(codec.DamagedValueError, match="longer than 511 bytes"):
        read_rule(Entry(keys.flow("acme", "x" * 500), b"", 1, 1))


def test_what_decides_nothing_is_nothing() -> None:
    assert read_rule(Entry("rules/holidays/2026", b"?", 1, 1)) is None
