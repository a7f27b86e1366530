"""What tenants own as the store has it in a worker, and the memory map as the worker has it."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.store import keys
from signalbox.store.base import Delete, Put
from structlog.testing import capture_logs
from support import routing
from support.following import (
    CALLERS,
    DIGITS,
    FLOWS,
    LISTS,
    PAGE,
    Watched,
    fill,
    fill_others,
    flow,
    following,
    list_pages,
)
from support.routing import delete, put

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.paged import PagedStore


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
