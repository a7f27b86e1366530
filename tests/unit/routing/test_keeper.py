"""What tenants own as the store has it in a worker, and the memory map as the worker has it."""

from __future__ import annotations

import asyncio
import functools
import random
import shutil
from typing import TYPE_CHECKING

import lmdb
import pytest
from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.routing import directory as directories
from signalbox.routing import keeper, pages
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Put
from signalbox.store.directory import DirectoryWriter
from signalbox.store.mapfile import DirectoryError
from signalbox.store.mapplace import condemn
from signalbox.store.paged import PagedStore
from structlog.testing import capture_logs
from support import routing
from support.following import (
    CALLERS,
    DIGITS,
    FLOWS,
    LISTS,
    PAGE,
    Following,
    Watched,
    fill,
    fill_others,
    flow,
    following,
    list_pages,
)
from support.routing import delete, put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
def paged(store: Watched) -> PagedStore:
    return PagedStore(store)


async def test_numbers_and_lines_come_out_of_their_pages_and_into_the_map(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    await fill_others(paged)
    async with following(store, tmp_path) as followed:
        await followed.assert_right()
        assert followed.directory.map_revision > 0
        assert followed.directory.unwritten == 0
        await put(
            paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)), routing.line("line-3", concurrent_calls=7)
        )
        await delete(paged, routing.number(DIGITS[4]), routing.line("line-4"), flow(4), *list_pages("spam", ())[:20])
        await put(paged, flow(3, "line-3"), *list_pages("vip", CALLERS[50:]))
        await followed.reached()
        await followed.assert_right()
        await followed.mapped()
        await followed.assert_right()
        digest = followed.directory.digest
    async with following(store, tmp_path / "other") as other:
        assert other.directory.digest == digest
        await other.assert_right()


async def test_only_what_differs_is_fetched_when_it_starts_again(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await fill(paged)
    await fill_others(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    assert len(store.fetched) > 200
    await put(paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)), flow(3, "line-3"))
    await delete(paged, routing.line("line-4"), flow(5))
    store.fetched.clear()
    async with following(store, tmp_path) as followed:
        assert len(store.fetched) == 3
        await followed.assert_right()
        await followed.mapped()
        await followed.assert_right()
    store.fetched.clear()
    async with following(store, tmp_path) as followed:
        assert store.fetched == []
        await followed.assert_right()


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_written_it_is_as_the_store_is(
    store: Watched, paged: PagedStore, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    async def disturb() -> None:
        for _ in range(chance.randrange(1, 12)):
            first, count = chance.randrange(300), chance.randrange(1, 60)
            some = DIGITS[first : first + count]
            plans = [[("line-1",)] * chance.randrange(1, 4) for _ in some]
            match chance.randrange(8):
                case 0:
                    await put(paged, *(routing.number(one, *plan) for one, plan in zip(some, plans, strict=True)))
                case 1:
                    await put(paged, *(routing.line(f"line-{n}") for n in range(first, min(300, first + count))))
                case 2:
                    await paged.commit([], [Delete(keys.number(one)) for one in some])
                case 3:
                    await paged.commit([], [Delete(keys.line("acme", f"line-{first + n}")) for n in range(count)])
                case 4:
                    await put(paged, *(flow(n, f"line-{first}") for n in range(chance.randrange(FLOWS))))
                case 5:
                    await paged.commit(
                        [], [Delete(keys.flow("acme", f"flow-{n % FLOWS}")) for n in range(first, 300)][:9]
                    )
                case 6:
                    await put(paged, *list_pages(chance.choice(LISTS), CALLERS[first // 2 : first // 2 + count]))
                case 7:
                    change = chance.choice([put, delete])
                    await change(paged, ScreeningList(tenant="acme", id=chance.choice(LISTS)))

    await fill(paged, 120)
    await fill_others(paged)
    for _ in range(3):
        async with following(store, tmp_path) as followed:
            for _ in range(3):
                await disturb()
                await followed.reached()
                await followed.assert_right()
            if chance.randrange(2):
                await followed.mapped()
                await followed.assert_right()
        await disturb()
        store.compact(await store.revision())


async def test_what_the_watch_has_lost_is_found_and_repaired(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await fill(paged)
    await fill_others(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        compare = functools.partial(
            followed.keeper.compare, lambda: followed.replica.rule_revision, followed.book.change_rules
        )
        assert await compare() == 0
        store.lost = {entry.key for entry in (await store.list(keys.RULES)).entries}
        await put(
            paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)), routing.line("line-3", concurrent_calls=7)
        )
        await delete(paged, routing.number(DIGITS[4]), routing.line("line-4"))
        await put(paged, routing.number("4000000999"))
        await paged.commit([], [Delete(keys.number(digits)) for digits in DIGITS if digits.endswith("07")])
        await put(paged, flow(3, "line-3"), *list_pages("spam", CALLERS[50:150]))
        await delete(paged, flow(4), ScreeningList(tenant="acme", id="vip"))
        await followed.reached()
        with pytest.raises(AssertionError):
            await followed.assert_right()
        with capture_logs() as logs:
            repaired = await compare()
        assert repaired == len([log for log in logs if log["event"] == "directory_repaired"]) > 0
        assert followed.keeper.told.repaired == repaired
        await followed.assert_right()
        assert await compare() == 0
        store.lost.clear()
        await put(paged, routing.number(DIGITS[5], ("line-1",), ("line-2",)))
        await followed.mapped()
        await followed.assert_right()
    async with following(store, tmp_path) as followed:
        await followed.assert_right()


async def test_pages_that_were_lost_as_a_whole_are_repaired(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await put(paged, *(routing.number(f"40000{n:03d}01") for n in range(128)))
    async with following(store, tmp_path) as followed:
        store.lost = {PAGE} | {keys.number(f"40000{n:03d}01") for n in range(300)}
        await put(paged, *(routing.number(f"40000{n:03d}01") for n in range(128, 256)))
        await followed.reached()
        assert followed.book.rules.numbers == 128
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) > 1
        assert followed.book.rules.numbers == 256
        await paged.commit([], [Delete(keys.number(f"40000{n:03d}01")) for n in range(100)])
        await followed.reached()
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) > 0
        assert followed.book.rules.numbers == 156
        assert followed.book.rules.number("4000000001") is None
        assert followed.book.rules.number("4000010001") is not None


async def test_what_was_lost_is_seen_by_the_next_write_of_the_same_page(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, *(routing.number(f"40000{n:03d}01") for n in range(20)))
    async with following(store, tmp_path) as followed:
        store.lost = {PAGE}
        await delete(paged, routing.number("4000000301"))
        await put(paged, routing.number("4000000401", ("a",), ("b",)), routing.number("4000002501"))
        await followed.reached()
        assert followed.book.rules.number("4000000301") is not None
        store.lost.clear()
        await put(paged, routing.number("4000000501", ("a",), ("b",)))
        await followed.reached()
        assert followed.book.rules.numbers == 20
        assert followed.book.rules.number("4000000301") is None
        assert followed.book.rules.number("4000002501") is not None
        assert followed.keeper.told.repaired == 1
        await followed.mapped()
        assert followed.book.rules.numbers == 20


async def test_a_damaged_page_stays_as_it_was_until_it_is_mended(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, routing.number("4000000001"), routing.number("4000000101"), routing.line("line-1"))
    before = await store.get(PAGE)
    assert before is not None
    async with following(store, tmp_path) as followed:
        await delete(paged, routing.number("4000000101"))
        await store.commit([], [Put(PAGE, b"\xff\xff")])
        await followed.reached()
        assert followed.book.rules.number("4000000001") is not None
        assert list(followed.book.damaged) == [PAGE]
        await followed.mapped()
        assert await followed.keeper.compare(lambda: followed.replica.rule_revision, followed.book.change_rules) == 0
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.number("4000000001") is not None
        assert list(followed.book.damaged) == [PAGE]
        await store.commit([], [Put(PAGE, before.value)])
        await followed.reached()
        assert followed.book.rules.numbers == 2
        await followed.mapped()
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.numbers == 2
        assert followed.book.damaged == {}
        await store.commit([], [Put(PAGE, b"")])
        await followed.reached()
        assert list(followed.book.damaged) == [PAGE]
        await store.commit([], [Put(PAGE, before.value)])
        await followed.reached()
        assert followed.book.damaged == {}
        assert followed.book.rules.numbers == 2


async def test_a_damaged_object_in_a_page_stays_as_it_was(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await put(paged, routing.number("4000000001"), routing.number("4000000101"))
    key = keys.number("4000000001")
    async with following(store, tmp_path) as followed:
        await paged.commit([], [Put(key, b"\xff\xff")])
        await followed.mapped()
        assert followed.book.rules.number("4000000001") is not None
        assert list(followed.book.damaged) == [key]
    await put(paged, routing.number("4000000101", ("a",), ("b",)))
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.numbers == 2
        assert list(followed.book.damaged) == [key]
    async with following(store, tmp_path / "other") as other:
        assert other.book.rules.numbers == 1
        assert list(other.book.damaged) == [key]


async def test_objects_that_are_stored_by_themselves_are_taken_too(store: Watched, tmp_path: Path) -> None:
    await put(store, routing.number(DIGITS[1]), routing.line("line-1"))
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.numbers == 1
        await put(store, routing.number(DIGITS[2]), routing.number(DIGITS[1], ("b",)))
        await delete(store, routing.line("line-1"))
        await followed.mapped()
        assert followed.book.rules.numbers == 2
        assert followed.book.rules.line("acme", "line-1") is None
    await delete(store, routing.number(DIGITS[2]))
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.numbers == 1


async def test_what_was_fetched_ahead_of_the_rest_makes_no_map_before_the_watch_has_caught_up(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    await put(paged, routing.number("4000000001"), routing.line("line-1"))
    page = await store.get(PAGE)
    assert page is not None
    store.before_fetch = [Put(PAGE, page.value)]
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.numbers == 1
        await followed.mapped()
        assert followed.book.rules.numbers == 1


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


async def exchange(store: Watched) -> None:
    """Put another cluster in the place of the store, whose pages have the same revisions and other content."""
    other = Watched()
    other.cluster_id = store.cluster_id + 1
    paged = PagedStore(other)
    for n in range(0, 300, 60):
        await put(paged, *(routing.number(digits, ("line-7",)) for digits in DIGITS[n : n + 60]))
        await put(paged, *(routing.line(f"line-{one}", concurrent_calls=5) for one in range(n, n + 60)))
    for name in ("_entries", "_past", "_history", "_revision", "cluster_id"):
        setattr(store, name, getattr(other, name))
    store._wake()


async def anew(*followed: Following) -> None:
    await until(lambda: all(one.book.rules.line("acme", "line-0").concurrent_calls == 5 for one in followed), "it")
    for one in followed:
        await one.reached()
        await one.assert_right()


async def test_revisions_of_another_cluster_prove_nothing(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await fill(paged)
    before = await store.revision()
    async with following(store, tmp_path) as followed:
        await followed.mapped()
        await exchange(store)
        assert await store.revision() == before
        await anew(followed)
        await put(paged, routing.number(DIGITS[3], ("line-1",), ("line-2",)))
        await followed.mapped()
        await followed.assert_right()


async def test_who_does_not_write_waits_for_a_map_of_the_cluster_that_is_there(
    store: Watched, paged: PagedStore, tmp_path: Path
) -> None:
    """The map is brought from elsewhere, for a process opens a file once only."""
    await fill(paged)
    async with following(store, tmp_path) as writer:
        await writer.mapped()
    (tmp_path / "reader").mkdir()
    shutil.copy(tmp_path / "rules.map", tmp_path / "reader/rules.map")
    async with following(store, tmp_path / "reader", write=False) as reader:
        assert reader.directory.map_revision > 0
        await exchange(store)
        async with following(store, tmp_path) as writer:
            await anew(writer)
            await writer.mapped()
        shutil.copy(tmp_path / "rules.map", tmp_path / "reader/new")
        # As set_aside makes room for a new one.
        (tmp_path / "reader/rules.map-lock").unlink()
        (tmp_path / "reader/new").replace(tmp_path / "reader/rules.map")
        await anew(reader)
        assert reader.directory.unwritten == 0


async def test_a_map_of_another_cluster_is_made_anew(store: Watched, paged: PagedStore, tmp_path: Path) -> None:
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    await exchange(store)
    async with following(store, tmp_path) as followed:
        await anew(followed)
        await followed.mapped()
        assert followed.directory.map_cluster == store.cluster_id
    store.fetched.clear()
    async with following(store, tmp_path) as followed:
        assert store.fetched == []
        await followed.assert_right()


async def test_without_a_writer_a_map_of_another_cluster_is_not_used(
    store: Watched, paged: PagedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALONE_S", 0.1)
    await fill(paged)
    async with following(store, tmp_path) as followed:
        await followed.mapped()
    async with following(store, tmp_path, write=False) as late:
        await exchange(store)
        await anew(late)
    async with following(store, tmp_path, write=False) as later:
        await anew(later)
