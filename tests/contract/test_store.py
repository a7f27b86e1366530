"""What every store does: the same tests against the in-memory twin and a real etcd."""

from __future__ import annotations

import asyncio
import functools
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from signalbox.store import keys
from signalbox.store.base import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    AtOrAfter,
    Change,
    CompactedError,
    Compare,
    CompareFailedError,
    Delete,
    Entry,
    LeaseLostError,
    Put,
)
from support.stores import DEADLINE_S, until, watch_until

if TYPE_CHECKING:
    from conftest import Backend
    from signalbox.store.base import SeekingStore, Store


async def put(store: Store, key: str, value: bytes = b"v") -> int:
    return await store.commit([], [Put(key, value)])


class TestReading:
    async def test_a_key_that_does_not_exist_is_none(self, store: Store) -> None:
        assert await store.get("a") is None

    async def test_an_entry_has_the_revisions_of_its_first_and_last_write(self, store: Store) -> None:
        created = await put(store, "a", b"1")
        written = await put(store, "a", b"2")
        assert written == created + 1
        assert await store.get("a") == Entry("a", b"2", written, created)

    async def test_values_are_any_bytes(self, store: Store) -> None:
        await put(store, "a", bytes(range(256)))
        await put(store, "b", b"")
        assert [entry.value for entry in (await store.list("")).entries] == [bytes(range(256)), b""]

    async def test_get_many_answers_in_the_order_asked(self, store: Store) -> None:
        await put(store, "a")
        await put(store, "c")
        found = await store.get_many(["c", "b", "a"])
        assert [entry and entry.key for entry in found] == ["c", None, "a"]
        assert await store.get_many([]) == []
        with pytest.raises(ValueError, match="at most 128"):
            await store.get_many(["a"] * (MAX_OPERATIONS + 1))

    async def test_the_revision_is_that_of_the_last_commit(self, store: Store) -> None:
        assert await put(store, "a") == await store.revision()

    async def test_a_listing_is_in_order_and_keeps_to_its_prefix(self, store: Store) -> None:
        await store.commit([], [Put(key, b"v") for key in ("b/2", "b/1", "a/1", "b0", "c", "b/é")])
        last = await put(store, "b/")
        listing = await store.list("b/")
        assert [entry.key for entry in listing.entries] == ["b/", "b/1", "b/2", "b/é"]
        assert listing.revision == last
        assert (await store.list("none/")).entries == []

    async def test_a_listing_of_rules_goes_across_all_partitions(self, store: Store) -> None:
        numbers = [keys.number(f"40012345{n:02d}") for n in range(0, 100, 7)]
        others = [keys.line("acme", "front"), keys.tenant("acme"), keys.trunk("t1")]
        await store.commit([], [Put(key, b"v") for key in numbers + others])
        assert [entry.key for entry in (await store.list(keys.RULES)).entries] == sorted(numbers + others)
        assert [entry.key for entry in (await store.list(keys.NUMBERS)).entries] == sorted(numbers)

    async def test_revisions_are_those_of_a_listing(self, store: Store) -> None:
        names = [keys.number(f"40012345{n:02d}") for n in range(0, 100, 9)] + [keys.tenant("acme"), "rulez"]
        await store.commit([], [Put(name, b"v") for name in names])
        await put(store, names[3])
        await store.commit([], [Delete(names[4])])
        for prefix in (keys.RULES, keys.NUMBERS, "", "none/"):
            listing, revisions = await store.list(prefix), await store.revisions(prefix)
            assert list(revisions.written.items()) == [(entry.key, entry.revision) for entry in listing.entries]
            assert revisions.revision == listing.revision

    async def test_pages_follow_each_other_without_gap_or_repetition(self, store: Store) -> None:
        wanted = sorted([keys.number(f"4001234{n:03d}") for n in range(90)] + [keys.tenant("x"), keys.trunk("y")])
        await store.commit([], [Put(key, b"v") for key in wanted])
        await put(store, "rulez")
        seen: list[str] = []
        while page := await store.page(keys.RULES, seen[-1] if seen else "", 7):
            assert len(page) == 7 or len(seen) + len(page) == len(wanted)
            seen += [entry.key for entry in page]
        assert seen == wanted


class TestSeeking:
    async def test_the_first_key_at_or_after_another_is_found(self, seeking: SeekingStore) -> None:
        await seeking.commit([], [Put(key, b"v") for key in ("p", "p/b", "p/d", "p/é", "q/a")])
        asked = ["p/", "p/a", "p/b", "p/b\0", "p/d", "p/e", "p/é", "p/êtes"]
        found = await seeking.get_many([AtOrAfter("p/", key) for key in asked])
        assert [entry and entry.key for entry in found] == ["p/b", "p/b", "p/b", "p/d", "p/d", "p/é", "p/é", None]

    async def test_no_key_outside_of_the_prefix_is_found(self, seeking: SeekingStore) -> None:
        await seeking.commit([], [Put(key, b"v") for key in ("p/b", "q/a")])
        assert await seeking.get_many([AtOrAfter("p/", "p/c"), AtOrAfter("o/", "o/")]) == [None, None]
        assert [entry and entry.key for entry in await seeking.get_many([AtOrAfter("p/", "a")])] == ["p/b"]

    async def test_found_with_others_at_one_revision(self, seeking: SeekingStore) -> None:
        await seeking.commit([], [Put("p/b", b"1"), Put("a", b"2")])
        found = await seeking.get_many(["a", AtOrAfter("p/", "p/a"), "none"])
        assert [entry and entry.value for entry in found] == [b"2", b"1", None]


class TestCommit:
    async def test_all_writes_have_one_revision(self, store: Store) -> None:
        await put(store, "c")
        revision = await store.commit([], [Put("a", b"1"), Put("b", b"2"), Delete("c")])
        assert [entry.revision for entry in (await store.list("")).entries] == [revision, revision]

    async def test_compare_with_the_revision_seen(self, store: Store) -> None:
        seen = await put(store, "a", b"1")
        await store.commit([Compare("a", seen)], [Put("a", b"2")])
        with pytest.raises(CompareFailedError):
            await store.commit([Compare("a", seen)], [Put("a", b"3"), Put("b", b"3")])
        assert [entry.value for entry in (await store.list("")).entries] == [b"2"]

    async def test_compare_with_absence(self, store: Store) -> None:
        await store.commit([Compare("a", 0)], [Put("a", b"1")])
        with pytest.raises(CompareFailedError):
            await store.commit([Compare("a", 0)], [Put("a", b"2")])
        await store.commit([], [Delete("a")])
        await store.commit([Compare("a", 0)], [Put("a", b"3")])

    async def test_a_commit_without_writes_checks_and_changes_nothing(self, store: Store) -> None:
        revision = await put(store, "a")
        assert await store.commit([Compare("a", revision)], []) == revision
        assert await store.commit([], [Delete("never")]) == revision

    async def test_keys_are_read_as_they_were(self, backend: Backend) -> None:
        """At any revision that is not forgotten; one to come is not known either."""
        store = backend.store
        first = await put(store, "p/1", b"old")
        await put(store, "p/2")
        now = await store.commit([], [Put("p/1", b"new"), Delete("p/2")])
        assert [(one and one.value) for one in await store.get_many(["p/1", "p/2"], first)] == [b"old", None]
        assert [one.key for one in await store.page("p/", "", 9, now - 1)] == ["p/1", "p/2"]
        assert [(one.key, one.value) for one in await store.page("p/", "", 9, now)] == [("p/1", b"new")]
        await backend.compact(now)
        assert [one.key for one in await store.page("p/", "", 9, now)] == ["p/1"]
        for revision in (first, now + 1):
            with pytest.raises(CompactedError):
                await store.get_many(["p/1"], revision)
            with pytest.raises(CompactedError):
                await store.page("p/", "", 9, revision)

    async def test_of_concurrent_writers_one_wins(self, store: Store) -> None:
        seen = await put(store, "a")
        outcomes = await asyncio.gather(
            *(store.commit([Compare("a", seen)], [Put("a", b"%d" % n)]) for n in range(10)), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CompareFailedError"] * 9 + ["int"]

    async def test_128_operations_are_the_most(self, store: Store) -> None:
        names = [f"k{n:03d}" for n in range(MAX_OPERATIONS + 1)]
        await store.commit([Compare(name, 0) for name in names[:-1]], [Put(name, b"v") for name in names[:-1]])
        assert len((await store.list("")).entries) == MAX_OPERATIONS
        with pytest.raises(ValueError, match="at most 128"):
            await store.commit([], [Delete(name) for name in names])
        with pytest.raises(ValueError, match="at most 128"):
            await store.commit([Compare(name, 0) for name in names], [])

    async def test_a_key_is_written_once(self, store: Store) -> None:
        with pytest.raises(ValueError, match="twice"):
            await store.commit([], [Put("a", b"1"), Delete("a")])

    async def test_the_largest_commit_fits_and_a_larger_one_is_refused(self, store: Store) -> None:
        await put(store, "a", bytes(MAX_COMMIT_BYTES))
        entry = await store.get("a")
        assert entry is not None
        assert len(entry.value) == MAX_COMMIT_BYTES
        with pytest.raises(ValueError, match="bytes"):
            await put(store, "a", bytes(MAX_COMMIT_BYTES + 1))


class TestWatch:
    async def test_changes_come_in_order_with_what_was_written(self, store: Store) -> None:
        start = await put(store, "p/a", b"1") + 1
        changed = await store.commit([], [Put("p/a", b"2"), Put("p/b", b"1"), Put("q", b"1")])
        deleted = await store.commit([], [Delete("p/a")])
        changes = await watch_until(store, "p/", start, lambda seen: len(seen) == 3)
        assert sorted(changes[:2], key=lambda change: change.key) == [
            Change("p/a", Entry("p/a", b"2", changed, start - 1), changed),
            Change("p/b", Entry("p/b", b"1", changed, changed), changed),
        ]
        assert changes[2] == Change("p/a", None, deleted)

    async def test_changes_of_one_revision_come_together(self, store: Store) -> None:
        start = await store.revision() + 1
        names = [f"p/{n:03d}" for n in range(MAX_OPERATIONS)]
        for _ in range(20):
            await store.commit([], [Put(name, bytes(1000)) for name in names])
        seen = 0
        async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", start)) as batches:
            async for changes, revision in batches:
                assert len(changes) % MAX_OPERATIONS == 0
                assert not changes or changes[-1].revision <= revision
                seen += len(changes)
                if seen == 20 * MAX_OPERATIONS:
                    break

    async def test_a_watch_that_is_running_sees_new_changes(self, store: Store) -> None:
        start = await store.revision() + 1
        watching = asyncio.create_task(watch_until(store, "p/", start, lambda seen: len(seen) == 3))
        for n in range(3):
            await asyncio.sleep(0.05)
            await put(store, f"p/{n}")
        assert [change.key for change in await watching] == ["p/0", "p/1", "p/2"]

    async def test_resuming_after_any_change_gives_exactly_the_rest(self, store: Store) -> None:
        revisions = [await put(store, "p/a", b"%d" % n) for n in range(5)]
        for done, revision in enumerate(revisions[:-1], 1):
            rest = await watch_until(store, "p/", revision + 1, lambda seen: seen[-1].revision == revisions[-1])
            assert [change.revision for change in rest] == revisions[done:]

    async def test_a_quiet_watch_tells_its_progress(self, store: Store) -> None:
        start = await put(store, "p/a") + 1
        elsewhere = await put(store, "q/a")
        reached = []
        async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", start)) as batches:
            async for changes, revision in batches:
                assert not changes
                reached.append(revision)
                if len(reached) == 3:
                    break
        assert reached == [elsewhere] * 3

    async def test_progress_comes_although_another_prefix_never_rests(self, store: Store) -> None:
        start = await store.revision() + 1

        async def disturb() -> None:
            while True:
                await put(store, "q/a")
                await asyncio.sleep(0.005)

        disturber = asyncio.create_task(disturb())
        reached = []
        async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", start)) as batches:
            async for changes, revision in batches:
                assert not changes
                reached.append(revision)
                if len(reached) == 3:
                    break
        disturber.cancel()
        assert reached == sorted(reached)
        assert reached[-1] > start

    async def test_a_compacted_revision_cannot_be_watched(self, backend: Backend) -> None:
        start = await put(backend.store, "p/a", b"1")
        for n in range(5):
            last = await put(backend.store, "p/a", b"%d" % n)
        await backend.compact(last)
        with pytest.raises(CompactedError):
            await watch_until(backend.store, "p/", start, lambda seen: True)
        assert (await watch_until(backend.store, "p/", last, lambda seen: True))[0].revision == last

    async def test_a_revision_that_the_store_has_not_reached_cannot_be_watched(self, store: Store) -> None:
        with pytest.raises(CompactedError):
            await watch_until(store, "p/", await store.revision() + 1000, lambda seen: True)

    async def test_revisions_of_another_cluster_cannot_be_watched(self, store: Store) -> None:
        cluster = await store.cluster()
        assert cluster > 0
        start = await store.commit([], [Put("p/a", b"")])
        async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", start, cluster)) as batches:
            assert [change.key for change in (await anext(batches))[0]] == ["p/a"]
        async with asyncio.timeout(DEADLINE_S), aclosing(store.watch("p/", start, cluster + 1)) as batches:
            with pytest.raises(CompactedError):
                await anext(batches)

    async def test_watches_do_not_disturb_each_other(self, store: Store) -> None:
        start = await store.revision() + 1
        expected = {"p/": 2, "q/": 2, "": 4}
        running = set()

        def complete(prefix: str, seen: list[Change]) -> bool:
            running.add(prefix)
            return len(seen) == expected[prefix]

        watches = [
            asyncio.create_task(watch_until(store, prefix, start, functools.partial(complete, prefix)))
            for prefix in expected
        ]
        await put(store, "p/1")
        await put(store, "q/1")
        await until(lambda: running == set(expected), "a first change at every watch")
        await store.commit([], [Put("p/2", b""), Put("q/2", b"")])
        seen = [[change.key for change in changes] for changes in await asyncio.gather(*watches)]
        assert seen == [["p/1", "p/2"], ["q/1", "q/2"], ["p/1", "q/1", "p/2", "q/2"]]


class TestLeases:
    async def test_a_key_goes_with_its_lease(self, store: Store) -> None:
        lease = await store.grant_lease(60)
        await store.commit([], [Put("live/a", b"1", lease), Put("live/b", b"1")])
        start = await store.revision() + 1
        await store.revoke_lease(lease)
        assert await store.get("live/a") is None
        assert await store.get("live/b") is not None
        assert [change.entry for change in await watch_until(store, "live/", start, bool)] == [None]

    async def test_a_lease_runs_out_unless_it_is_kept(self, store: Store) -> None:
        kept, left = await store.grant_lease(1), await store.grant_lease(1)
        await store.commit([], [Put("live/kept", b"1", kept), Put("live/left", b"1", left)])
        start = await store.revision() + 1
        watching = asyncio.create_task(watch_until(store, "live/", start, bool))
        began = time.monotonic()
        while not watching.done():
            await store.keep_lease(kept)
            await asyncio.sleep(0.2)
        assert 0.9 < time.monotonic() - began < 5
        assert [(change.key, change.entry) for change in await watching] == [("live/left", None)]
        with pytest.raises(LeaseLostError):
            await store.keep_lease(left)
        with pytest.raises(LeaseLostError):
            await store.commit([], [Put("live/left", b"1", left)])
        await store.revoke_lease(left)

    async def test_a_put_without_lease_sets_the_key_free(self, store: Store) -> None:
        lease = await store.grant_lease(60)
        await store.commit([], [Put("a", b"1", lease)])
        await put(store, "a", b"2")
        await store.revoke_lease(lease)
        entry = await store.get("a")
        assert entry is not None
        assert entry.value == b"2"
