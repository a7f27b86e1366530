"""Where a store with pages is different from one without: limits, neighbours, damage."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import StoreUnavailableError, WriteContentionError
from signalbox.store import keys, paged
from signalbox.store.base import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    AtOrAfter,
    CommitTooLargeError,
    CompactedError,
    Compare,
    CompareFailedError,
    Delete,
    Put,
)
from signalbox.store.codec import DamagedValueError
from signalbox.store.memory import MemoryStore
from signalbox.store.page import LAST, MAX_BYTES, MAX_ITEMS, Page
from signalbox.store.paged import PagedStore
from support.stores import PAGED, watch_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.base import Entry

LAST_KEY = "p/" + LAST


class RacedStore(MemoryStore):
    """Lets others in before every commit and after every read: at random, or ``before_commit`` alone."""

    def __init__(self) -> None:
        super().__init__(progress_interval_s=0.05)
        self.random = False
        self.before_commit: list[Sequence[Put | Delete]] = []
        self.after_read: list[Sequence[Put | Delete]] = []
        self.commits = 0
        self.reads = 0

    async def get_many(self, keys: Sequence[str | AtOrAfter], *revision: int) -> list[Entry | None]:
        self.reads += 1
        found = await super().get_many(keys, *revision)
        await self._wait()
        if self.after_read and (writes := self.after_read.pop(0)):
            await super().commit([], writes)
        return found

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        self.commits += 1
        await self._wait()
        if self.before_commit:
            await super().commit([], self.before_commit.pop(0))
        return await super().commit(compares, writes)

    async def _wait(self) -> None:
        for _ in range(random.randrange(4) if self.random else 0):
            await asyncio.sleep(0)


@pytest.fixture
def plain() -> RacedStore:
    return RacedStore()


@pytest.fixture
def store(plain: RacedStore) -> PagedStore:
    return PagedStore(plain, PAGED)


async def pages(plain: MemoryStore, prefix: str = "p/") -> list[Page]:
    return [Page.decode(prefix, entry) for entry in (await plain.list(prefix)).entries]


class TestLimits:
    async def test_an_entry_in_a_page_has_no_lease(self, store: PagedStore) -> None:
        lease = await store.grant_lease(60)
        with pytest.raises(ValueError, match="p/a with a lease"):
            await store.commit([], [Put("p/a", b"", lease)])
        await store.commit([], [Put("live/a", b"", lease)])
        await store.keep_lease(lease)
        await store.revoke_lease(lease)
        assert await store.get("live/a") is None
        await store.close()

    async def test_keys_that_no_page_is_for_are_refused(self, store: PagedStore) -> None:
        for key in ("p/" + LAST + "x", "p/\udcff"):
            with pytest.raises(ValueError):  # noqa: PT011  (one of them is a UnicodeEncodeError)
                await store.commit([], [Put(key, b"")])
            assert await store.get(key) is None

    async def test_any_128_writes_go_in_one_commit(self, store: PagedStore, plain: RacedStore) -> None:
        names = [f"p/{n:05d}" for n in range(9000)]
        for start in range(0, len(names), MAX_OPERATIONS):
            some = names[start : start + MAX_OPERATIONS]
            await store.commit([Compare(name, 0) for name in some], [Put(name, bytes(100)) for name in some])
        spread = names[:: len(names) // MAX_OPERATIONS][:MAX_OPERATIONS]
        assert len({(await plain.get_many([AtOrAfter("p/", name)]))[0].key for name in spread}) > 100  # type: ignore[union-attr]
        revision = await store.commit([], [Put(name, bytes(3000)) for name in spread])
        found = await store.get_many(spread)
        assert [entry and (entry.revision, len(entry.value)) for entry in found] == [(revision, 3000)] * MAX_OPERATIONS
        # Where there was no room to divide pages, that comes with their next write.
        for name in spread:
            await store.commit([], [Put(name, bytes(3000))])
        assert not any(page.full for page in await pages(plain))
        assert len((await store.list("p/")).entries) == len(names)

    async def test_what_touches_too_many_pages_is_refused(self, store: PagedStore) -> None:
        names = [f"{letter}/{n:03d}" for letter in "pq" for n in range(MAX_OPERATIONS)]
        revisions = {name: await store.commit([], [Put(name, bytes(MAX_BYTES))]) for name in names}
        with pytest.raises(CommitTooLargeError, match="touches 256 pages"):
            await store.commit(
                [Compare(name, revisions[name]) for name in names[MAX_OPERATIONS:]],
                [Put(name, b"") for name in names[:MAX_OPERATIONS]],
            )

    async def test_bytes_of_neighbours_count(self, store: PagedStore) -> None:
        await store.commit([], [Put("p/a", bytes(MAX_COMMIT_BYTES - 1000))])
        await store.commit([], [Put("q/a", bytes(MAX_COMMIT_BYTES - 1000))])
        with pytest.raises(CommitTooLargeError, match="in 4 pages"):
            await store.commit([], [Put("p/b", b""), Put("q/b", b"")])

    async def test_many_pages_become_empty_in_one_commit(self, store: PagedStore, plain: RacedStore) -> None:
        names = [f"p/{n:03d}" for n in range(MAX_OPERATIONS + 20)]
        for name in names:
            await store.commit([], [Put(name, bytes(MAX_BYTES - 100))])
        start = await store.revision() + 1
        await store.commit([], [Delete(name) for name in names[:MAX_OPERATIONS]])
        seen = await watch_until(store, "p/", start, bool)
        assert sorted(change.key for change in seen) == names[:MAX_OPERATIONS]
        assert [entry.key for entry in (await store.list("p/")).entries] == names[MAX_OPERATIONS:]
        await store.commit([], [Put("p/000", b"")])
        await store.commit([], [Delete("p/000")])
        assert len(await pages(plain)) <= MAX_OPERATIONS + 20

    async def test_a_large_neighbour_is_not_rewritten_for_an_empty_page(
        self, store: PagedStore, plain: RacedStore
    ) -> None:
        await store.commit([], [Put("p/a", bytes(MAX_BYTES)), Put("p/b", bytes(2 * MAX_BYTES))])
        await store.commit([], [Delete("p/a")])
        assert [page.empty for page in await pages(plain)] == [True, False]
        assert await store.get("p/a") is None


class TestReading:
    async def test_neighbours_are_read_once_for_a_commit(self, store: PagedStore, plain: RacedStore) -> None:
        await store.commit([], [Put(f"p/{n:03d}", b"") for n in range(100)])
        plain.reads = 0
        await store.commit([], [Put(f"p/{n:03d}", b"") for n in range(100)])
        assert plain.reads == 1

    async def test_no_more_pages_are_read_than_a_list_needs(self, store: PagedStore, plain: RacedStore) -> None:
        await store.commit([], [Put(f"p/{n:03d}", b"") for n in range(100)])
        assert [entry.key for entry in await store.page("p/", "p/097", 5)] == ["p/098", "p/099"]
        assert await store.page("p/09", "", 2) == await store.page("p/", "p/089", 2)

    async def test_the_entries_of_the_product_lie_in_pages(self, plain: RacedStore) -> None:
        store = PagedStore(plain)
        written = [keys.line("acme", "front"), keys.number("4001234567"), keys.number_of("acme", "4001234567")]
        others = [keys.tenant("acme"), keys.TRUNK_FENCE, keys.flow("acme", "main"), "rules/lines/acme"]
        await store.commit([], [Put(key, b"v") for key in written + others])
        assert {entry.key.replace(LAST, "*") for entry in (await plain.list("")).entries} == {
            *others,
            "rules/lines/acme/*",
            "rules/numbers/67/*",
            "index/numbers/acme/*",
        }
        assert [entry.key for entry in (await store.list("")).entries] == sorted(written + others)


class TestNeighbours:
    async def test_a_neighbours_change_is_no_refusal(self, store: PagedStore, plain: RacedStore) -> None:
        revision = await store.commit([], [Put("p/a", b"1"), Put("p/b", b"1")])
        other = PagedStore(plain, PAGED)
        value = Page.decode("p/", (await plain.list("p/")).entries[0])
        value.write([Put("p/b", b"2")])
        plain.before_commit = [[Put(LAST_KEY, value.encode())]]
        await store.commit([Compare("p/a", revision)], [Put("p/a", b"2")])
        assert [entry.value for entry in (await other.list("p/")).entries] == [b"2", b"2"]

    async def test_a_page_that_others_divide_between_two_reads(self, store: PagedStore, plain: RacedStore) -> None:
        """Who has read it whole, and then the part that it gave away, would write that part twice."""
        large = bytes(MAX_BYTES - 1000)
        await store.commit([], [Put("p/a", large), Put("p/b", large)])
        await store.commit([], [Put(f"p/c{n:03d}", b"") for n in range(MAX_ITEMS)])
        upper = (await pages(plain))[-1]
        assert [len(page.entries()) for page in await pages(plain)] == [1, 1, MAX_ITEMS]
        upper.write([Put("p/c010-t", b"")])
        (lower,) = upper.split(1)
        # The first key is read first, then every other one of those that its page does not have, then the rest.
        plain.reads = 0
        plain.after_read = [[], [Put(page.key, page.encode()) for page in (lower, upper)]]
        ours = ["p/a", "p/b", "p/c010-o", "p/c020-o", "p/c030", "p/c040"]
        await store.commit([], [Put(key, b"") for key in ours])
        assert plain.reads > 3
        assert plain.commits == 3
        listing = await store.list("p/")
        assert len(listing.entries) == 2 + MAX_ITEMS + 3
        assert [entry.key for entry in listing.entries if entry.revision == listing.revision] == ours

    async def test_a_change_of_the_entry_is_one(self, store: PagedStore, plain: RacedStore) -> None:
        revision = await store.commit([], [Put("p/a", b"1"), Put("p/b", b"1")])
        value = Page.decode("p/", (await plain.list("p/")).entries[0])
        value.write([Put("p/a", b"2")])
        plain.before_commit = [[Put(LAST_KEY, value.encode())]]
        with pytest.raises(CompareFailedError, match="p/a is not at revision"):
            await store.commit([Compare("p/a", revision)], [Put("p/b", b"3")])

    async def test_a_change_of_an_entry_without_page_is_one(self, store: PagedStore, plain: RacedStore) -> None:
        revision = await store.commit([], [Put("fence", b"")])
        plain.before_commit = [[Put("fence", b"")]]
        with pytest.raises(CompareFailedError, match="fence is not at revision"):
            await store.commit([Compare("fence", revision)], [Put("p/b", b"3")])

    async def test_who_never_gets_through_is_told(
        self, store: PagedStore, plain: RacedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paged, "BACKOFF_MAX_S", 0.0001)
        await store.commit([], [Put("p/a", b"1")])
        value = (await plain.list("p/")).entries[0].value
        plain.before_commit = [[Put(LAST_KEY, value)]] * 100
        with pytest.raises(WriteContentionError, match="30 times; nothing was written"):
            await store.commit([], [Put("p/b", b"1")])
        plain.before_commit = []
        assert await store.get("p/b") is None

    async def test_a_commit_that_may_have_been_done_is_not_tried_again(
        self, store: PagedStore, plain: RacedStore
    ) -> None:
        await store.commit([], [Put("p/a", b"1")])
        plain.commits = 0
        plain.random = True
        plain.available = False
        results = await asyncio.gather(
            *(store.commit([], [Put("p/a", b"2")]) for _ in range(10)), return_exceptions=True
        )
        assert {type(result) for result in results} == {StoreUnavailableError}
        assert plain.commits <= 1

    async def test_of_many_writers_none_is_lost(self, plain: RacedStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paged, "BACKOFF_MAX_S", 0.001)
        plain.random = True
        names = [f"p/{n:02d}" for n in range(40)]
        start = await plain.revision() + 1

        async def count(store: PagedStore, seed: int) -> int:
            dice = random.Random(seed)
            done = 0
            for _ in range(60):
                some = dice.sample(names, dice.randint(1, 4))
                entries = await store.get_many(some)
                compares = [Compare(k, e.revision if e else 0) for k, e in zip(some, entries, strict=True)]
                values = [bytes(500) + b"%d" % (int(e.value[500:] or b"0") + 1 if e else 1) for e in entries]
                writes: list[Put | Delete] = [Put(k, v) for k, v in zip(some, values, strict=True)]
                try:
                    await store.commit(compares, writes)
                    done += len(some)
                except CompareFailedError:
                    continue
            return done

        done = await asyncio.gather(*(count(PagedStore(plain, PAGED), seed) for seed in range(6)))
        reader = PagedStore(plain, PAGED)
        listing = await reader.list("p/")
        assert sum(int(entry.value[500:]) for entry in listing.entries) == sum(done)
        assert len(await pages(plain)) > 2
        # Who watched from the beginning has the same picture, and saw every single step.
        seen = await watch_until(reader, "p/", start, lambda all: all[-1].revision == listing.revision)
        steps: dict[str, int] = {}
        for change in seen:
            assert change.entry is not None
            assert int(change.entry.value[500:]) == steps.get(change.key, 0) + 1
            steps[change.key] = int(change.entry.value[500:])
        assert {change.key: change.entry for change in seen} == {entry.key: entry for entry in listing.entries}


class TestDamage:
    @pytest.fixture
    async def damaged(self, store: PagedStore, plain: RacedStore) -> str:
        """Two prefixes, the last page of one damaged; its key."""
        await store.commit([], [Put("p/a", b"1"), Put("q/a", b"1"), Put("fence", b"1")])
        await plain.commit([], [Put(LAST_KEY, b"no page")])
        return LAST_KEY

    async def test_it_is_named_and_the_others_work(self, store: PagedStore, damaged: str) -> None:
        for attempt in (
            store.get("p/a"),
            store.list("p/"),
            store.list(""),
            store.revisions(""),
            store.page("", "", 9),
            store.commit([], [Put("p/b", b"")]),
            store.commit([Compare("p/b", 0)], [Put("q/b", b"")]),
        ):
            with pytest.raises(DamagedValueError, match=r"value of p/.* is damaged: not a page"):
                await attempt
        assert await store.get("q/a")
        assert await store.get("fence")
        await store.commit([], [Put("q/b", b"")])
        assert len((await store.list("q/")).entries) == 2

    async def test_a_watch_passes_it_over_and_ends_once_it_is_mended(
        self, store: PagedStore, plain: RacedStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        start = await store.commit([], [Put("p/a", b"1")]) + 1
        good = (await plain.list("p/")).entries[0].value
        await plain.commit([], [Put(LAST_KEY, b"no page")])
        await store.commit([], [Put("q/a", b"1")])
        async with asyncio.timeout(10), aclosing(store.watch("", start)) as batches:
            changes, _ = await anext(batches)
            assert [change.key for change in changes] == ["q/a"]
            assert capsys.readouterr().out.count("stored_page_damaged") == 1
            await plain.commit([], [Put(LAST_KEY, good)])
            with pytest.raises(CompactedError, match="is mended"):
                await anext(batches)

    @pytest.mark.parametrize("before", [[], [Put(LAST_KEY, b"no page")]])
    async def test_a_watch_ends_when_others_delete_a_page(
        self, store: PagedStore, plain: RacedStore, before: list[Put | Delete]
    ) -> None:
        start = await store.commit([], [Put("p/a", b"1")]) + 1
        if before:
            await plain.commit([], before)
        await plain.commit([], [Delete(LAST_KEY)])
        with pytest.raises(CompactedError, match="deleted by other means"):
            await watch_until(store, "p/", start, lambda seen: False)

    async def test_a_key_from_before_there_were_pages_is_not_misread(self, plain: RacedStore) -> None:
        await plain.commit([], [Put(keys.line("acme", "front"), b"\n\x05front\x12\x04acme")])
        store = PagedStore(plain)
        for key in (keys.line("acme", "front"), keys.line("acme", "desk")):
            with pytest.raises(DamagedValueError, match="value of rules/lines/acme/front is damaged: not a page"):
                await store.get(key)
        assert await store.get(keys.line("acme", "front2")) is None

    async def test_an_empty_page_stays_before_a_damaged_one(self, store: PagedStore, plain: RacedStore) -> None:
        await store.commit([], [Put(f"p/{n}", bytes(5000)) for n in range(2)])
        await plain.commit([], [Put(LAST_KEY, b"no page")])
        await store.commit([], [Delete("p/0")])
        assert await store.get("p/0") is None
