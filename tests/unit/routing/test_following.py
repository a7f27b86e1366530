"""How a worker obeys large changes, and changes that come after something was missed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from signalbox import slices
from signalbox.routing import stored
from signalbox.slices import Slices
from signalbox.store import keys
from signalbox.store.base import CompactedError, Delete, Put
from signalbox.store.codec import encode
from signalbox.store.page import MAX_ITEMS
from signalbox.store.paged import PagedStore
from structlog.testing import capture_logs
from support import routing
from support.following import PAGE, Watched, following
from support.routing import put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from signalbox.store.base import AtOrAfter, Entry
    from signalbox.store.directory import Batch


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    store = Watched()
    yield store
    await store.close()


@pytest.fixture
def paged(store: Watched) -> PagedStore:
    return PagedStore(store)


def of_page(n: int) -> str:
    """A number of the page of those that end in 01."""
    return f"40000{n:03d}01"


async def test_a_large_change_lets_calls_in_and_is_in_force_at_once(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks while it is read finds all as it was before, and afterwards all of it."""
    read = stored.read_rule

    def slowly(entry: Entry) -> stored.Rule:
        time.sleep(0.0005)
        return read(entry)

    monkeypatch.setattr("signalbox.routing.replica.read_rule", slowly)
    digits = [f"4000000{n:03d}" for n in range(400)]
    async with following(store, tmp_path) as followed:
        seen: list[int] = []

        async def ask() -> None:
            while not seen or seen[-1] < len(digits):
                seen.append(sum(followed.book.rules.number(one) is not None for one in digits))
                await asyncio.sleep(0)

        asking = asyncio.create_task(ask())
        many = PagedStore(store, most=1_000)
        await many.commit([], [Put(keys.number(one), encode(routing.number(one))) for one in digits])
        async with asyncio.timeout(15):
            await asking
        assert set(seen) == {0, len(digits)}
        # 0.2 s of reading, in slices of 2 ms.
        assert len(seen) > 20
        await followed.reached()
        assert followed.keeper.told.repaired == 0


async def test_revisions_that_come_together_are_obeyed_one_after_the_other(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    async with following(store, tmp_path) as followed:
        watched: list[int] = []
        change = followed.book.change_rules
        followed.book.change_rules = lambda changes, read: (watched.append(len(changes)), change(changes, read))[1]  # type: ignore[method-assign]
        store.held.clear()
        for n in range(30):
            await put(paged, routing.number(of_page(n)), routing.line(f"line-{n}"))
        store.held.set()
        await followed.reached()
        assert watched == [2] * 30
        assert followed.book.rules.numbers == 30


async def test_a_page_that_is_divided_brings_nothing_but_what_changed(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, *(routing.number(of_page(n)) for n in range(MAX_ITEMS)))
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        await put(paged, routing.number(of_page(MAX_ITEMS)))
        await followed.reached()
        assert len((await store.list(keys.NUMBERS)).entries) == 2
        assert followed.directory.unwritten <= 1
        assert followed.book.rules.numbers == MAX_ITEMS + 1
        assert followed.keeper.told.repaired == 0


async def test_a_page_that_is_divided_after_something_was_missed(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    """What was missed may lie in the part that was given away as well."""
    await put(paged, *(routing.number(of_page(n)) for n in range(MAX_ITEMS)))
    async with following(store, tmp_path) as followed:
        store.lost = {PAGE}
        await paged.commit([], [Delete(keys.number(of_page(3))), Delete(keys.number(of_page(120)))])
        await put(paged, routing.number(of_page(5), ("b",)), routing.number(of_page(500)), routing.number(of_page(501)))
        await followed.reached()
        store.lost.clear()
        await put(paged, routing.number(of_page(502)), routing.number(of_page(503)))
        await followed.reached()
        assert len((await store.list(keys.NUMBERS)).entries) == 2
        assert followed.book.rules.numbers == MAX_ITEMS - 2 + 4
        changed = followed.book.rules.number(of_page(5))
        assert changed is not None
        assert changed.stages[0].lines == ("b",)
        assert followed.keeper.told.repaired == 1


async def test_a_page_that_goes_takes_what_was_missed_with_it(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, *(routing.number(of_page(n)) for n in range(MAX_ITEMS)))
    await put(paged, routing.number(of_page(MAX_ITEMS)))
    lower = (await store.list(keys.NUMBERS)).entries[0].key
    below = [of_page(n) for n in range(MAX_ITEMS + 1) if keys.number(of_page(n)) <= lower]
    assert 10 < len(below) < MAX_ITEMS
    async with following(store, tmp_path) as followed:
        store.lost = {lower}
        await paged.commit([], [Delete(keys.number(one)) for one in below[:10]])
        await followed.reached()
        store.lost.clear()
        await paged.commit([], [Delete(keys.number(one)) for one in below[10:]])
        await followed.reached()
        assert await store.get(lower) is None
        assert followed.book.rules.numbers == MAX_ITEMS + 1 - len(below)
        assert not any(followed.book.rules.number(one) for one in below)


async def test_slices_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    monkeypatch.setattr(slices, "SLICE_S", 3600.0)
    work = Slices()
    for _ in range(100):
        await work.rest()
    assert turns == 0
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    work = Slices()
    for _ in range(100):
        await work.rest()
    await until(lambda: turns >= 100)
    task.cancel()


async def test_what_was_put_again_while_a_directory_was_filled_is_there(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was listed is emptied, and its place used by the next one, before the pages are fetched."""
    for n in range(0, 300, 60):
        await put(paged, *(routing.line(f"line-{one:03d}") for one in range(n, n + 60)))
    first = (await store.list(keys.LINES)).entries[0].key
    below = [f"line-{n:03d}" for n in range(300) if keys.line("acme", f"line-{n:03d}") <= first]
    assert 60 < len(below) < 200
    fetch = store.get_many

    async def get_many(wanted: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        if first in wanted and store.held.is_set():
            store.held.clear()
            for n in range(0, len(below), 60):
                await paged.commit([], [Delete(keys.line("acme", id)) for id in below[n : n + 60]])
            await put(paged, routing.line(below[1]))
            store.held.set()
            monkeypatch.setattr(store, "get_many", fetch)
        return await fetch(wanted, revision)

    monkeypatch.setattr(store, "get_many", get_many)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        assert store.get_many == fetch
        assert await store.get(first) is None
        known = [n for n in range(300) if followed.book.rules.line("acme", f"line-{n:03d}") is not None]
        assert known == [1, *range(len(below), 300)]
        assert followed.keeper.told.repaired == 0


async def test_a_directory_is_filled_though_the_store_forgets_what_was_listed(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(paged, *(routing.number(of_page(n)) for n in range(20)))
    asked: list[int] = []
    fetch = store.get_many

    async def get_many(wanted: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        asked.append(revision)
        if revision and PAGE in wanted:
            raise CompactedError(f"revision {revision} is not kept")
        return await fetch(wanted, revision)

    monkeypatch.setattr(store, "get_many", get_many)
    for number, write in enumerate((True, False)):
        with capture_logs() as logs:
            monkeypatch.setattr("signalbox.routing.keeper.ALONE_WITHOUT_S", 0.1)
            async with following(store, tmp_path / str(number), write=write) as followed:
                assert followed.book.rules.numbers == 20
        assert "directory_filled_late" in [log["event"] for log in logs]
        assert {0} < set(asked)
        asked.clear()


async def test_the_map_says_how_far_it_is_while_changes_that_came_together_are_obeyed(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else other workers would take it for one that differs, and forget all that they remember."""
    monkeypatch.setattr("signalbox.routing.keeper.TURN_S", 0.002)
    monkeypatch.setattr("signalbox.routing.keeper.CARRY_S", 0.002)
    read = stored.read_rule

    def slowly(entry: Entry) -> stored.Rule:
        time.sleep(0.003)
        return read(entry)

    async with following(store, tmp_path) as followed:
        writer = followed.directory.writer
        assert writer is not None
        write, written = writer.write, []

        async def noted(batch: Batch, revision: int, known_at: float) -> None:
            written.append((revision, max(batch.pages.values(), default=0)))
            await write(batch, revision, known_at)

        monkeypatch.setattr(writer, "write", noted)
        monkeypatch.setattr("signalbox.routing.replica.read_rule", slowly)
        store.held.clear()
        for n in range(40):
            await put(paged, routing.number(of_page(n)), routing.line(f"line-{n}"))
        store.held.set()
        await followed.mapped()
        assert len(written) > 3
        assert all(newest <= revision for revision, newest in written)


async def test_what_has_the_name_of_a_page_that_went_unnoticed_is_there_after_a_comparison(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, *(routing.number(of_page(n)) for n in range(MAX_ITEMS)))
    await put(paged, routing.number(of_page(MAX_ITEMS)))
    lower = (await store.list(keys.NUMBERS)).entries[0].key
    below = [of_page(n) for n in range(MAX_ITEMS + 1) if keys.number(of_page(n)) <= lower]
    assert keys.number(below[-1]) == lower
    async with following(store, tmp_path) as followed:
        store.lost = {lower, PAGE}
        await paged.commit([], [Delete(keys.number(one)) for one in below])
        await put(paged, routing.number(below[-1]))
        await followed.reached()
        assert await store.get(lower) is None
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) == 2
        assert followed.book.rules.number(below[-1]) is not None
        assert followed.book.rules.numbers == MAX_ITEMS + 1 - len(below) + 1
