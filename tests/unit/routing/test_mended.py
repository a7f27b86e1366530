"""What a replica makes of pages that were damaged and are put back (``signalbox etcd repair``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.store import keys
from signalbox.store.base import Compare, Put
from signalbox.store.mending import mend
from signalbox.store.page import LAST
from signalbox.store.paged import PagedStore
from support import routing
from support.following import DIGITS, PAGE, Watched, fill, following
from support.routing import delete, put

if TYPE_CHECKING:
    from pathlib import Path

LINES = keys.LINES + "acme/" + LAST


async def damage(store: Watched) -> None:
    await store.commit([], [Put(PAGE, b"junk"), Put(LINES, b"junk")])


async def repair(store: Watched) -> None:
    for key in (PAGE, LINES):
        found = await mend(store, PagedStore(store), key)
        await store.commit([Compare(key, found.damaged.revision)], [found.write])


async def test_who_was_there_all_the_time_goes_on_and_then_has_what_was_put_back(tmp_path: Path) -> None:
    store = Watched()
    await fill(PagedStore(store))
    async with following(store, tmp_path) as followed:
        await damage(store)
        await followed.reached()
        assert followed.book.rules.number(DIGITS[1]) is not None
        await repair(store)
        await followed.mapped()
        await followed.assert_right()
        await put(PagedStore(store), routing.number(DIGITS[1], ("line-2",)))
        await delete(PagedStore(store), routing.number(DIGITS[101]), routing.line("line-299"))
        await followed.mapped()
        await followed.assert_right()
    await store.close()


async def test_who_starts_meanwhile_gets_it_when_it_is_put_back(tmp_path: Path) -> None:
    store = Watched()
    await fill(PagedStore(store))
    await damage(store)
    async with following(store, tmp_path) as followed:
        assert followed.book.rules.number(DIGITS[1]) is None
        await repair(store)
        await followed.mapped()
        await followed.assert_right()
    await store.close()
