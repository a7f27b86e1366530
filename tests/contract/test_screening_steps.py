"""Screening lists at every step of their writing: requests are done wholly or not at all, whoever comes between."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.errors import NotFoundError, StoreUnavailableError
from signalbox.routing.book import Book
from signalbox.store import codec, keys
from signalbox.store.base import Change, Entry
from support.screening import SPAM, Client, numbers, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from signalbox.domain.rules import Rules
    from signalbox.store.base import Compare, Delete, Listing, Put, Store


class TestAllOrNone:
    @pytest.mark.parametrize("seed", range(3))
    async def test_at_every_revision_the_list_is_as_after_some_request(
        self, client: Client, store: Store, folds_often: None, seed: int
    ) -> None:
        """Requests and folding, replayed commit by commit as a routing replica sees them."""
        start = await store.revision() + 1
        chance = random.Random(seed)
        content, states = set[int](), [set[str]()]
        for _ in range(40):
            chosen = set(chance.sample(range(200), chance.randint(1, 25)))
            adding = chance.random() < 0.6
            changed = await (client.add if adding else client.remove)(numbers(chosen))
            wanted = content | chosen if adding else content - chosen
            assert changed == len(wanted ^ content)
            content = wanted
            states.append(told(content))
        assert set(await client.content(17)) == states[-1]
        book, position = Book(lambda: None), 0
        key = codec.key_of(SPAM)
        book.change_rules([Change(key, Entry(key, codec.encode(SPAM), 1, 1), 1)])
        commits = await _commits(store, start)
        assert len(commits) > len(states)
        for changes in commits:
            book.change_rules(changes)
            found = _found(book.rules)
            position = next(at for at in range(position, len(states)) if states[at] == found)
        assert states[position] == states[-1]

    async def test_the_store_may_fail_at_any_commit(self, client: Client, store: Store, folds_often: None) -> None:
        before = set[str]()
        failed = 0
        for batch in range(12):
            wanted = before | told(range(batch * 15, batch * 15 + 15))
            for commits in range(1_000):
                failing = _Failing(store, commits)
                try:
                    await Client(failing).add(numbers(range(batch * 15, batch * 15 + 15)))  # type: ignore[arg-type]
                except StoreUnavailableError:
                    failed += 1
                    assert set(await client.content()) == before
                    continue
                break
            before = wanted
            assert set(await client.content()) == wanted
        assert failed > 12


class TestConcurrency:
    async def test_a_list_that_goes_before_its_first_entry_is_written(self, client: Client, store: Store) -> None:
        async def go() -> None:
            await client.lists.delete(SPAM, "")

        with pytest.raises(NotFoundError):
            await Client(_Meanwhile(store, go)).add(numbers([1]))  # type: ignore[arg-type]
        assert (await store.list(keys.SCREENING_PAGES)).entries == []

    async def test_entries_that_are_written_while_the_list_goes(self, client: Client, store: Store) -> None:
        async def come() -> None:
            await client.add(numbers([1]))

        await Client(_Meanwhile(store, come)).lists.delete(SPAM, "")  # type: ignore[arg-type]
        assert (await store.list(keys.SCREENING_PAGES)).entries == []

    async def test_replicas_lose_nothing(self, client: Client, store: Store, folds_often: None) -> None:
        await client.add(numbers(range(1_000, 1_040)))
        replicas = [Client(store) for _ in range(3)]
        changed = await asyncio.gather(
            *(replicas[n % 3].add(numbers(range(n * 20, n * 20 + 30))) for n in range(9)),
            *(replicas[n % 3].remove(numbers(range(1_000 + n * 10, 1_010 + n * 10))) for n in range(3)),
        )
        assert sum(changed[:9]) == 190
        assert changed[9:] == [10, 10, 10]
        assert set(await client.content()) == told([*range(190), *range(1_030, 1_040)])

    async def test_an_entry_added_to_a_list_that_goes_is_not_left_behind(
        self, client: Client, store: Store, folds_often: None
    ) -> None:
        for _ in range(5):
            outcomes = await asyncio.gather(
                *(Client(store).add(numbers(range(n * 30, n * 30 + 30))) for n in range(4)),
                Client(store).lists.delete(SPAM, ""),
                return_exceptions=True,
            )
            assert outcomes[-1] is None
            assert all(isinstance(outcome, int | NotFoundError) for outcome in outcomes[:-1])
            assert (await store.list(keys.SCREENING_PAGES)).entries == []
            await client.lists.create(SPAM)


class _Reader:
    """What is read of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> Entry | None:
        return await self._store.get(key)

    async def get_many(self, wanted: Sequence[str]) -> list[Entry | None]:
        return await self._store.get_many(wanted)

    async def list(self, prefix: str) -> Listing:
        return await self._store.list(prefix)


class _Meanwhile(_Reader):
    """A store that is changed by others before our first commit."""

    def __init__(self, store: Store, action: Callable[[], Awaitable[None]]) -> None:
        super().__init__(store)
        self._actions = [action]

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        if self._actions:
            await self._actions.pop()()
        return await self._store.commit(compares, writes)


class _Failing(_Reader):
    """A store that goes away after some commits."""

    def __init__(self, store: Store, commits: int) -> None:
        super().__init__(store)
        self._left = commits

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        if self._left == 0:
            raise StoreUnavailableError("gone")
        self._left -= 1
        return await self._store.commit(compares, writes)


async def _commits(store: Store, start: int) -> Sequence[Sequence[Change]]:
    """What changed in pages since a revision, commit by commit."""
    end = await store.revision()
    found: dict[int, list[Change]] = {}
    async with asyncio.timeout(15), aclosing(store.watch(keys.SCREENING_PAGES, start)) as batches:
        async for changes, revision in batches:
            for change in changes:
                found.setdefault(change.revision, []).append(change)
            if revision >= end:
                break
    return [found[revision] for revision in sorted(found)]


def _found(rules: Rules) -> set[str]:
    """All numbers of the tests that are in the list."""
    spam = rules.screening_list("acme", "spam")
    assert spam is not None
    return {number for number in told(range(200)) if spam.find(Caller(CallerKind.MOBILE, number), None)}
