"""A worker's replica that follows a store, without a network: what it knows can be compared with what is stored."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.domain.flow import Flow
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.screening import Page, page_of
from signalbox.routing.book import Book
from signalbox.routing.directory import LiveDirectory
from signalbox.routing.replica import Replica
from signalbox.settings import RoutingSettings
from signalbox.store import keys
from signalbox.store.base import Change
from signalbox.store.memory import MemoryStore
from signalbox.store.page import LAST
from signalbox.store.paged import PagedStore
from signalbox.store.screening import page_message

from support import routing
from support.routing import put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

    from signalbox.api.types.v1 import flows_pb2
    from signalbox.api.types.v1.screening_pb2 import ScreeningPage
    from signalbox.domain.rules import Rules
    from signalbox.store.base import AtOrAfter, Batch, Entry, Put

FLOWS = 40
LISTS = ("spam", "vip")
CALLERS = [f"139{n:08d}" for n in range(200)]
DIGITS = [f"4000000{n:03d}" for n in range(300)]
PAGE = "rules/numbers/01/" + LAST


class Watched(MemoryStore):
    """Counts what is fetched, and loses changes, or keeps them back, when it is told to."""

    def __init__(self) -> None:
        super().__init__(progress_interval_s=0.05)
        self.fetched: list[str] = []
        self.lost: set[str] = set()
        self.before_fetch: list[Put] = []
        self.held = asyncio.Event()
        self.held.set()

    async def get_many(self, keys: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        """See Store."""
        if self.before_fetch:
            await self.commit([], [self.before_fetch.pop()])
        self.fetched += [key for key in keys if isinstance(key, str)]
        return await super().get_many(keys, revision)

    async def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        async for changes, revision in super().watch(prefix, from_revision, cluster):
            await self.held.wait()
            yield [change for change in changes if change.key not in self.lost], revision


class Following:
    """A replica that follows a store."""

    def __init__(self, store: MemoryStore, path: Path, *, write: bool = True) -> None:
        self.store = store
        self.directory = LiveDirectory(path / "rules.map", write=write)
        self.book = Book(lambda: None, self.directory)
        settings = RoutingSettings(snapshot_file=path / "rules.snapshot")
        self.replica = Replica(store, self.book, self.directory, settings, writes_snapshot=write)
        self.keeper = self.replica.keeper

    async def reached(self) -> None:
        """Until it is where the store is, and the map too, if it is writing one."""
        revision = await self.store.revision()
        await until(lambda: self.replica.rule_revision >= revision, "the revision")

    async def mapped(self) -> None:
        """Until the map has everything."""
        await self.reached()
        revision = await self.store.revision()
        await until(lambda: self.directory.map_revision >= revision, "the revision in the map")
        assert self.directory.unwritten == 0

    async def assert_right(self) -> None:
        """It has what tenants own in the store, no more and nothing else."""
        plain = Book(lambda: None)
        stored = await PagedStore(self.store).list(keys.RULES)
        plain.change_rules([Change(entry.key, entry, entry.revision) for entry in stored.entries])
        assert not plain.damaged
        rules, expected = self.book.rules, plain.rules
        assert {digits: rules.number(digits) for digits in DIGITS} == {
            digits: expected.number(digits) for digits in DIGITS
        }
        for n in range(300):
            assert rules.line("acme", f"line-{n}") == expected.line("acme", f"line-{n}")
        assert rules.numbers == expected.numbers
        for n in range(FLOWS):
            assert rules.owned(Flow, "acme", f"flow-{n}") == expected.owned(Flow, "acme", f"flow-{n}")
        for id in LISTS:
            assert found(rules, id) == found(expected, id)


def found(rules: Rules, id: str) -> set[str] | None:
    """The callers that are on a list; None: there is no such list."""
    callers = (Caller(CallerKind.MOBILE, caller) for caller in CALLERS)
    list = rules.screening_list("acme", id)
    return None if list is None else {list.find(caller, None) for caller in callers}


@asynccontextmanager
async def following(store: MemoryStore, path: Path, *, write: bool = True) -> AsyncIterator[Following]:
    """A replica, once it has the rules."""
    followed = Following(store, path, write=write)
    replica = followed.replica
    tasks = [asyncio.create_task(run()) for run in (replica.follow_rules, replica.follow_live, replica.keep_directory)]
    try:
        await until(lambda: followed.book.loaded or any(task.done() for task in tasks), "the rules")
        yield followed
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 3


def flow(n: int, *lines: str) -> flows_pb2.Flow:
    """One of the flows that are looked at."""
    return routing.flow(f"flow-{n}", routing.dial_node("entry", *(lines or ("line-1",))))


def list_pages(id: str, callers: Sequence[str]) -> list[ScreeningPage]:
    """The pages of a screening list that has some callers, those too that are empty."""
    entries = {f"n{caller}" for caller in callers}
    numbers = {page_of(f"n{caller}") for caller in CALLERS}
    return [page_message("acme", id, n, Page.of(e for e in entries if page_of(e) == n)) for n in sorted(numbers)]


async def fill_others(paged: PagedStore) -> None:
    """Flows and screening lists."""
    await put(paged, *(flow(n) for n in range(FLOWS // 2)), *(ScreeningList(tenant="acme", id=id) for id in LISTS))
    await put(paged, *list_pages("spam", CALLERS[:100]))


async def fill(paged: PagedStore, count: int = 300) -> None:
    """Numbers and lines, some pages of each."""
    for n in range(0, count, 60):
        await put(paged, *(routing.number(digits) for digits in DIGITS[n : n + 60]))
        await put(paged, *(routing.line(f"line-{one}") for one in range(n, n + 60)))
