"""The memory map: who writes it, who waits for it, and what happens without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import lmdb
from signalbox.routing import directory as directories
from signalbox.routing import keeper, pages
from signalbox.store import codec, keys
from signalbox.store.directory import DirectoryWriter
from signalbox.store.mapfile import DirectoryError
from signalbox.store.mapplace import condemn
from structlog.testing import capture_logs
from support import routing
from support.following import (
    DIGITS,
    Following,
    Watched,
    fill,
    fill_others,
    following,
)
from support.routing import delete, put
from support.stores import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from signalbox.store.paged import PagedStore


async def test_the_map_grows_while_it_is_filled(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(DirectoryWriter):
        """A file that is full soon."""

        def __init__(self, path: Path) -> None:
            super().__init__(path, map_size=1 << 16)

    monkeypatch.setattr(directories, "DirectoryWriter", Small)
    monkeypatch.setattr(pages, "BATCH", 50)
    monkeypatch.setattr(pages, "FETCHED", 10)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    await fill(paged)
    with capture_logs() as logs:
        async with following(store, tmp_path) as followed:
            await followed.assert_right()
            await followed.mapped()
    assert "directory_grows" in {log["event"] for log in logs}


async def test_where_no_map_can_be_written_everything_is_held_in_memory_until_it_can(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    await fill_others(paged)
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"")
    async with following(store, blocked) as followed:
        await followed.assert_right()
        assert followed.directory.map_revision == 0
        assert followed.directory.unwritten > 600
        await put(paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)))
        await followed.reached()
        await followed.assert_right()
        blocked.unlink()
        await followed.mapped()
        await followed.assert_right()


async def test_a_disk_that_is_full_stops_nothing(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(paged)
    await fill_others(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()

        def full(*given: object) -> None:
            raise lmdb.DiskError("mdb_txn_commit")

        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(followed.directory.writer, "_write", full)
            await put(paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)))
            await followed.reached()
            await until(lambda: any(log["event"] == "directory_not_written" for log in logs))
            await followed.assert_right()
            assert followed.directory.unwritten == 1
        assert len([log for log in logs if log["event"] == "directory_not_written"]) == 1
        await followed.mapped()
        await followed.assert_right()


async def test_a_disk_that_is_full_at_the_start_is_no_reason_not_to_start(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(paged, 120)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    await fill(paged)

    def full(*given: object) -> None:
        raise lmdb.DiskError("mdb_txn_commit")

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryWriter, "_write", full)
        async with following(store, tmp_path) as followed:
            await followed.assert_right()
            assert followed.directory.unwritten > 0
            patch.undo()
            await followed.mapped()
            await followed.assert_right()


async def test_who_does_not_write_goes_on_with_an_old_map_if_nobody_does(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALONE_S", 0.05)
    monkeypatch.setattr(keeper, "FAR_BEHIND", -1)
    await fill(paged, 120)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    await fill(paged)
    await delete(paged, routing.number(DIGITS[3]), routing.line("line-3"))
    with capture_logs() as logs:
        async with following(store, tmp_path, write=False) as followed:
            await followed.assert_right()
            assert followed.directory.map_revision > 0
            await put(paged, routing.number(DIGITS[3], ("line-1",)))
            await followed.reached()
            await followed.assert_right()
    assert "directory_not_shared" in {log["event"] for log in logs}


async def test_who_does_not_write_goes_on_without_a_map_if_nobody_makes_one(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALONE_WITHOUT_S", 0.05)
    await fill(paged)
    await fill_others(paged)
    async with following(store, tmp_path, write=False) as followed:
        await followed.assert_right()
        assert followed.directory.map_revision == 0


async def test_who_waits_for_the_map_tells_so_and_goes_on_when_it_is_there(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "TELL_S", 0.05)
    await fill(paged, 120)
    async with following(store, tmp_path / "map") as followed:
        await followed.mapped()
    tmp_path.joinpath("other").mkdir()
    with capture_logs() as logs:
        waiting = asyncio.create_task(Following(store, tmp_path / "other", write=False).keeper.list(keys.RULES))
        await until(lambda: [log for log in logs if log["event"] == "directory_awaited"], "the log")
        (tmp_path / "map" / "rules.map").rename(tmp_path / "other" / "rules.map")
        listing = await waiting
    assert listing.entries == []


async def test_a_damaged_map_is_used_while_the_store_is_away_and_then_made_anew(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    condemn(tmp_path / "rules.map", DirectoryError("a record can't be read"))
    store.available = False
    followed = Following(store, tmp_path)
    run = asyncio.create_task(followed.replica.follow_rules())
    await until(lambda: run.done() or followed.directory.start(), "the map")
    assert followed.book.rules.numbers == 300
    store.available = True
    await until(lambda: followed.replica.source == "etcd", "the rules")
    await followed.assert_right()
    assert (tmp_path / "rules.map-damaged").exists()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    followed.directory.close()


async def test_a_store_that_goes_away_while_the_map_is_filled_is_asked_again(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(paged)
    monkeypatch.setattr(pages, "FETCHED", 10)
    store.fetched.clear()
    followed = Following(store, tmp_path)
    following_rules = asyncio.create_task(followed.replica.follow_rules())
    await until(lambda: len(store.fetched) > 50, "some pages")
    store.available = False
    await until(lambda: not followed.replica.store_available, "the outage")
    store.available = True
    await until(lambda: followed.replica.source == "etcd", "the rules")
    await followed.assert_right()
    following_rules.cancel()
    await asyncio.gather(following_rules, return_exceptions=True)
    followed.directory.close()


async def test_many_unwritten_ones_are_told(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LARGE", 100)
    monkeypatch.setattr(keeper, "CARRY_S", 1.0)
    monkeypatch.setattr(keeper, "KNOWN_S", 1.0)
    with capture_logs() as logs:
        async with following(store, tmp_path) as followed:
            await fill(paged)
            await followed.mapped()
            await until(lambda: len([log for log in logs if log["event"] == "directory_unwritten"]) == 2)
    assert [log["large"] for log in logs if log["event"] == "directory_unwritten"] == [True, False]


def test_every_family_of_rules_is_listed_or_lies_in_the_directory() -> None:
    rules = {family for family in codec._FAMILIES if family.startswith(keys.RULES)}
    assert {*keeper.OTHERS, *pages.PREFIXES} == rules
    for family in rules:
        assert (keys.PAGED.match(family + "x/y") is not None) == (family in pages.PAGED)
        assert pages.stands_alone(family + "x/y") == (family not in pages.PAGED)
