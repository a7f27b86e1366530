"""A store with pages against one without: the same commits have the same results, and the same is seen afterwards."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from signalbox.store import page, rewrite
from signalbox.store.base import AtOrAfter, CompactedError, Compare, CompareFailedError, Delete, Put
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore

if TYPE_CHECKING:
    from typing import Any

    from signalbox.store.base import Change, Store

PAGED = re.compile("[pq]/")
KEYS = [*(f"p/{n:02d}" for n in range(24)), "p/", "p/é", *(f"q/{n}" for n in range(4)), "o", "p", "p0", "r/1"]
PREFIXES = ["", "p", "p/", "p/1", "p/é", "q/", "q/2", "r/", "x"]

keys = st.sampled_from(KEYS)
values = st.one_of(st.binary(max_size=3), st.integers(0, 300).map(bytes))


class Pages(RuleBasedStateMachine):
    """Commits to both stores. Pages hold little, so that they are divided and removed often."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.plain = MemoryStore(progress_interval_s=0.001)
        self.below = MemoryStore(progress_interval_s=0.001)
        self.paged = PagedStore(self.below, PAGED)
        self.patches = [
            mock.patch.object(page, "MAX_ITEMS", 4),
            mock.patch.object(page, "MAX_BYTES", 400),
            mock.patch.object(rewrite, "MAX_BYTES", 400),
        ]
        for patch in self.patches:
            patch.start()
        self.start = 2

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        self.runner.close()

    def both(self, ask: Any) -> tuple[Any, Any]:
        """What a question to each store comes to; a refusal is told as its name."""

        async def outcome(store: Store) -> Any:
            try:
                return await ask(store)
            except (CompareFailedError, CompactedError) as error:
                return type(error).__name__

        async def each() -> tuple[Any, Any]:
            return await outcome(self.plain), await outcome(self.paged)

        return self.runner.run(each())

    def same(self, ask: Any) -> Any:
        plain, paged = self.both(ask)
        assert paged == plain
        return plain

    @initialize(count=st.integers(0, 24))
    def fill(self, count: int) -> None:
        self.same(lambda store: store.commit([], [Put(key, b"0") for key in KEYS[:count]]))

    @rule(
        writes=st.lists(st.one_of(st.builds(Put, keys, values), st.builds(Delete, keys)), max_size=12),
        compared=st.lists(st.tuples(keys, st.sampled_from(["right", "right", "right", "absent", "old"])), max_size=3),
    )
    def commit(self, writes: list[Put | Delete], compared: list[tuple[str, str]]) -> None:
        writes = list({write.key: write for write in writes}.values())
        compares = []
        for key, how in compared:
            entry = self.runner.run(self.plain.get(key))
            right = entry.revision if entry else 0
            compares.append(Compare(key, {"right": right, "absent": 0, "old": max(0, right - 1)}[how]))
        self.same(lambda store: store.commit(compares, writes))

    @rule(first=st.integers(0, 20), count=st.integers(1, 24))
    def delete_neighbours(self, first: int, count: int) -> None:
        self.same(lambda store: store.commit([], [Delete(key) for key in KEYS[first : first + count]]))

    @rule(wanted=st.lists(keys, max_size=10))
    def read(self, wanted: list[str]) -> None:
        self.same(lambda store: store.get_many(wanted))
        self.same(lambda store: store.revision())

    @rule(prefix=st.sampled_from(PREFIXES), after=st.one_of(st.just(""), keys), limit=st.integers(1, 30))
    def read_page(self, prefix: str, after: str, limit: int) -> None:
        self.same(lambda store: store.page(prefix, after, limit))

    @rule(
        wanted=st.lists(keys, max_size=10),
        prefix=st.sampled_from(PREFIXES),
        after=st.one_of(st.just(""), keys),
        behind=st.integers(0, 30),
    )
    def read_the_past(self, wanted: list[str], prefix: str, after: str, behind: int) -> None:
        revision = max(1, self.runner.run(self.plain.revision()) - behind)
        self.same(lambda store: store.get_many(wanted, revision))
        self.same(lambda store: store.page(prefix, after, 7, revision))

    @rule(prefix=st.sampled_from(PREFIXES))
    def read_all(self, prefix: str) -> None:
        self.same(lambda store: store.list(prefix))
        self.same(lambda store: store.revisions(prefix))

    @rule(prefix=st.sampled_from(PREFIXES), behind=st.integers(0, 30))
    def watch(self, prefix: str, behind: int) -> None:
        now = self.runner.run(self.plain.revision())
        start = max(1, now - behind)

        async def changes(store: Store) -> list[list[Change]]:
            seen: list[Change] = []
            async with aclosing(store.watch(prefix, start)) as batches:
                async for batch, revision in batches:
                    seen += batch
                    if not batch and revision >= now:
                        break
            assert [change.revision for change in seen] == sorted(change.revision for change in seen)
            return sorted(seen, key=lambda change: (change.revision, change.key))

        self.same(changes)

    @rule(behind=st.integers(0, 10))
    def compact(self, behind: int) -> None:
        now = self.runner.run(self.plain.revision())
        self.plain.compact(max(0, now - behind))
        self.below.compact(max(0, now - behind))

    @invariant()
    def pages_are_in_order(self) -> None:
        stored = self.runner.run(self.below.list("")).entries
        before = ""
        for entry in stored:
            match = PAGED.match(entry.key)
            if match is None:
                continue
            one = page.Page.decode(match[0], entry)
            assert not one.full
            assert not one.goes
            assert all(before < item.key <= entry.key for item in one.entries())
            before = entry.key
            assert self.runner.run(self.below.get_many([AtOrAfter(match[0], entry.key)])) == [entry]


Pages.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPages = Pages.TestCase
