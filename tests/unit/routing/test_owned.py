"""Flows, screening lists and the like in a worker: damaged ones, and those of a snapshot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.flow import Flow
from signalbox.routing import keeper, stored
from signalbox.store import codec, keys, snapshot
from signalbox.store.base import Put
from signalbox.store.paged import PagedStore
from structlog.testing import capture_logs
from support import routing
from support.following import CALLERS, Following, Watched, fill, fill_others, flow, following, found, list_pages
from support.routing import delete, put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.domain.rules import Owned
    from signalbox.store.base import Entry

FLOW = keys.flow("acme", "flow-3")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TURN_S", 0.01), ("CARRY_S", 0.02), ("KNOWN_S", 0.1), ("WAIT_S", 0.01), ("AGAIN_S", 0.2)):
        monkeypatch.setattr(keeper, name, seconds)


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    store = Watched()
    yield store
    await store.close()


@pytest.fixture
async def paged(store: Watched) -> PagedStore:
    paged = PagedStore(store)
    await fill_others(paged)
    return paged


def lines(followed: Following) -> list[str] | None:
    """What the flow rings; None: there is none."""
    found = followed.book.rules.owned(Flow, "acme", "flow-3")
    return None if found is None else [one.line for one in found.revisions[0].graph.nodes["entry"].lines]  # type: ignore[union-attr]


async def test_a_damaged_object_stays_as_it_was_until_it_is_mended(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    page = next(one for one in list_pages("spam", CALLERS[:100]) if one.codes)
    damaged = {FLOW: b"\xff\xff", codec.key_of(page): b"\xff"}
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        await store.commit([], [Put(key, value) for key, value in damaged.items()])
        await followed.mapped()
        assert lines(followed) == ["line-1"]
        assert found(followed.book.rules, "spam") == {"", *(f"n{caller}" for caller in CALLERS[:100])}
        assert set(followed.book.damaged) == set(damaged)
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) == 0
        assert set(followed.book.damaged) == set(damaged)
    async with following(store, tmp_path) as followed:
        assert lines(followed) == ["line-1"]
        assert set(followed.book.damaged) == set(damaged)
        await put(paged, flow(3, "line-3"), page)
        await followed.reached()
        assert lines(followed) == ["line-3"]
        assert followed.book.damaged == {}
        await followed.mapped()
        await followed.assert_right()
    async with following(store, tmp_path) as followed:
        await followed.assert_right()
        assert followed.book.damaged == {}


async def test_a_flow_that_cannot_be_obeyed_is_damage(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    broken = routing.flow("flow-3", routing.dial_node("entry", "line-1", busy="nowhere"))
    async with following(store, tmp_path) as followed:
        await put(paged, broken)
        await followed.mapped()
        assert lines(followed) == ["line-1"]
        assert "nowhere" in followed.book.damaged[FLOW] or "busy" in followed.book.damaged[FLOW]
        await delete(paged, broken)
        await followed.mapped()
        assert lines(followed) is None
        assert followed.book.damaged == {}
    await put(paged, broken)
    async with following(store, tmp_path) as followed:
        assert lines(followed) is None
        assert list(followed.book.damaged) == [FLOW]


async def test_a_damaged_object_is_found_by_comparing_when_it_was_mended_unheard(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    async with following(store, tmp_path) as followed:
        await store.commit([], [Put(FLOW, b"\xff\xff")])
        await followed.mapped()
        store.lost = {FLOW}
        await put(paged, flow(3, "line-3"))
        await followed.reached()
        assert lines(followed) == ["line-1"]
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) == 1
        assert lines(followed) == ["line-3"]
        assert followed.book.damaged == {}


async def test_an_object_that_comes_while_others_are_compared_stays(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    """It lies between two that are known, and is in no page with them."""
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        store.lost = {keys.flow("acme", "flow-5")}
        await put(paged, flow(5, "line-5"))
        between = routing.flow("flow-4-new", routing.dial_node("entry", "line-1"))
        store.before_fetch = [Put(codec.key_of(between), codec.encode(between))]

        def reached() -> int:
            return followed.replica.rule_revision

        fetch = store.get_many

        async def when_told(wanted: list[str]) -> list[Entry | None]:
            entries = await fetch(wanted)
            await followed.reached()
            return entries

        store.get_many = when_told  # type: ignore[method-assign, assignment]
        assert await followed.keeper.compare(reached, followed.book.change_rules) == 1
        assert followed.book.rules.owned(Flow, "acme", "flow-4-new") is not None
        await followed.assert_right()


async def test_who_finds_a_map_reads_no_flows(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    read: list[str] = []
    reader, known_reader = stored.read_rule, stored.read_known

    def counted(entry: Entry) -> stored.Rule:
        read.append(entry.key)
        return reader(entry)

    def known_counted(kind: type[Owned], key: str, value: bytes) -> Owned:
        read.append(key)
        return known_reader(kind, key, value)

    for module in ("pages", "replica", "book"):
        monkeypatch.setattr(f"signalbox.routing.{module}.read_rule", counted)
    monkeypatch.setattr("signalbox.routing.directory.read_known", known_counted)
    for write in (True, False):
        async with following(store, tmp_path, write=write) as followed:
            assert read == []
            assert lines(followed) == lines(followed) == ["line-1"]
            assert read == [FLOW]
            read.clear()


async def started(followed: Following) -> None:
    """Start it while the store is away, until it has done what it can."""
    replica = followed.replica
    tasks = [asyncio.create_task(run()) for run in (replica.follow_rules, replica.follow_live, replica.keep_file)]
    try:
        with capture_logs() as logs:
            ends = {"rules_from_snapshot", "no_rules_yet"}
            await until(lambda: ends & {log["event"] for log in logs}, "the snapshot")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_everything_is_there_from_the_map_and_the_snapshot(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, routing.trunk(), routing.number())
    async with following(store, tmp_path) as followed:
        saving = asyncio.create_task(followed.replica.keep_file())
        await followed.mapped()
        await until((tmp_path / "rules.snapshot").exists, "the snapshot")
        saving.cancel()
    kept = snapshot.load(tmp_path / "rules.snapshot")
    assert kept is not None
    assert [entry.key for entry in kept.entries] == [keys.trunk("carrier")]
    store.available = False
    followed = Following(store, tmp_path)
    await started(followed)
    assert followed.replica.source == "snapshot"
    assert followed.book.rules.trunk("carrier") is not None
    store.available = True
    await followed.assert_right()
    followed.directory.close()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_snapshot_of_an_older_release(store: Watched, paged: PagedStore, tmp_path: Path, whole: bool) -> None:
    """One that has everything is used if there is no map; one that has not even numbers is not."""
    await fill(paged, 60)
    listing = await paged.list(keys.RULES)
    entries = [one for one in listing.entries if whole or not one.key.startswith((keys.NUMBERS, keys.LINES))]
    snapshot.save(tmp_path / "rules.snapshot", entries, listing.revision)
    store.available = False
    followed = Following(store, tmp_path)
    await started(followed)
    assert followed.replica.source == ("snapshot" if whole else "none")
    store.available = True
    if whole:
        await followed.assert_right()
    followed.directory.close()


async def test_what_an_older_snapshot_has_is_not_put_before_the_map(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, routing.number())
    listing = await paged.list(keys.RULES)
    await put(paged, flow(3, "line-3"), *list_pages("spam", CALLERS[20:30]))
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    snapshot.save(tmp_path / "rules.snapshot", listing.entries, listing.revision)
    store.available = False
    followed = Following(store, tmp_path)
    await started(followed)
    assert followed.replica.source == "snapshot"
    assert lines(followed) == ["line-3"]
    store.available = True
    await followed.assert_right()
    followed.directory.close()
