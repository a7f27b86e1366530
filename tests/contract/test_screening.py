"""Screening lists and their entries, in every store."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.screening import PAGES, ScreeningLists
from signalbox.errors import (
    AlreadyExistsError,
    InUseError,
    InvalidFieldError,
    NotFoundError,
    StoreUnavailableError,
)
from signalbox.provisioning import screening, screening_entries, validate_screening
from signalbox.provisioning.screening_entries import ScreeningEntries
from signalbox.provisioning.writer import Writer
from signalbox.routing import convert_screening
from signalbox.store import codec, keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from signalbox.store.base import Change, Compare, Delete, Entry, Listing, Store

SPAM = ScreeningList(tenant="acme", id="spam")


class Client:
    """A replica of the provisioning service, as far as lists go."""

    def __init__(self, store: Store) -> None:
        self.lists = screening.ScreeningLists(store, Writer(store))
        self._entries = ScreeningEntries(store)
        self._writer = Writer(store)

    async def add(self, entries: Iterable[ScreeningEntry], tenant: str = "acme", list: str = "spam") -> int:
        request = pb.AddScreeningEntriesRequest(tenant=tenant, list=list, entries=entries)
        return (await self._entries.add(request, self._writer)).changed

    async def remove(self, entries: Iterable[ScreeningEntry]) -> int:
        request = pb.RemoveScreeningEntriesRequest(tenant="acme", list="spam", entries=entries)
        return (await self._entries.remove(request, self._writer)).changed

    async def page(self, size: int = 0, token: str = "", list: str = "spam") -> pb.ListScreeningEntriesResponse:
        request = pb.ListScreeningEntriesRequest(tenant="acme", list=list, page_size=size, page_token=token)
        return await self._entries.list(request)

    async def content(self, size: int = 10_000) -> list[str]:
        """The numbers in the list, page by page."""
        found, token = list[str](), None
        while token != "":
            answer = await self.page(size, token or "")
            assert len(answer.entries) <= size
            found += [entry.number for entry in answer.entries]
            token = answer.next_page_token
        return found


def numbers(which: Iterable[int]) -> list[ScreeningEntry]:
    return [ScreeningEntry(number=f"138{number:08d}") for number in which]


def told(which: Iterable[int]) -> set[str]:
    return {entry.number for entry in numbers(which)}


@pytest.fixture
async def client(store: Store) -> Client:
    """A tenant with an empty list."""
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(types_pb2.Tenant(id="acme")))])
    client = Client(store)
    await client.lists.create(SPAM)
    return client


@pytest.fixture
def folds_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are folded after a few, some pages at a time."""
    monkeypatch.setattr(screening_entries, "CHANGES_MAX", 60)
    monkeypatch.setattr(screening_entries, "CHANGES_OF_REQUEST", 1)
    monkeypatch.setattr(screening_entries, "FOLD_BYTES", 200)


class TestLists:
    async def test_a_list_is_created_read_and_deleted(self, client: Client, store: Store) -> None:
        assert (await client.lists.get(SPAM)).HasField("create_time")
        with pytest.raises(AlreadyExistsError):
            await client.lists.create(SPAM)
        await client.add(numbers(range(3)))
        await client.lists.delete(SPAM, "")
        with pytest.raises(NotFoundError):
            await client.lists.get(SPAM)
        assert (await store.list(keys.SCREENING_PAGES)).entries == []
        assert (await store.list("fences/lists/")).entries == []

    async def test_a_list_made_anew_is_empty(self, client: Client) -> None:
        await client.add(numbers(range(3)))
        await client.lists.delete(SPAM, "")
        await client.lists.create(SPAM)
        assert await client.content() == []

    async def test_the_operator_has_lists_too(self, client: Client) -> None:
        await client.lists.create(ScreeningList(id="spam"))
        assert await client.add(numbers([1]), tenant="") == 1
        assert await client.content() == []
        assert (await client.lists.get(ScreeningList(id="spam"))).tenant == ""
        assert client.lists.name(ScreeningList(id="spam")) == "spam"

    async def test_a_list_needs_its_tenant(self, client: Client) -> None:
        with pytest.raises(NotFoundError, match="tenant"):
            await client.lists.create(ScreeningList(tenant="nobody", id="spam"))

    @pytest.mark.parametrize("bad", [ScreeningList(tenant="acme"), ScreeningList(tenant="A", id="spam")])
    async def test_a_list_is_named_well(self, client: Client, bad: ScreeningList) -> None:
        with pytest.raises(InvalidFieldError):
            await client.lists.create(bad)
        with pytest.raises(InvalidFieldError):
            await client.lists.get(bad)

    async def test_a_list_that_a_number_uses_stays(self, client: Client, store: Store) -> None:
        await store.commit([], [Put(keys.number_of("acme", "4001234567"), b"line:front screening_list:spam")])
        with pytest.raises(InUseError, match="number 4001234567"):
            await client.lists.delete(SPAM, "")

    async def test_a_list_of_the_operator_stays_while_a_tenant_without_one_of_its_own_uses_it(
        self, client: Client, store: Store
    ) -> None:
        shared = ScreeningList(id="spam")
        await client.lists.create(shared)
        await store.commit([], [Put(keys.number_of("other", "4007654321"), b"screening_list:spam")])
        with pytest.raises(InUseError, match="number 4007654321"):
            await client.lists.delete(shared, "")
        await store.commit([], [Put(keys.screening_list("other", "spam"), b"")])
        await client.lists.delete(shared, "")

    async def test_a_list_that_a_flow_uses_stays(self, client: Client, store: Store) -> None:
        flow = flows_pb2.Flow(tenant="acme", id="main")
        node = flow.revisions.add(number=1, activate_time=_timestamp()).graph.nodes.add(id="vip")
        node.caller_list.lists.append("spam")
        index = Put(keys.flow_index("acme", "main"), b"screening_list:spam")
        await store.commit([], [Put(keys.flow("acme", "main"), codec.encode(flow)), index])
        with pytest.raises(InUseError, match="flow acme/main"):
            await client.lists.delete(SPAM, "")


class TestEntries:
    async def test_what_was_added_is_there_until_it_is_removed(self, client: Client) -> None:
        assert await client.add(numbers([1, 2, 3, 3])) == 3
        assert await client.add(numbers([3, 4])) == 1
        assert await client.remove(numbers([1, 2, 9])) == 2
        assert await client.remove(numbers([1, 2])) == 0
        assert set(await client.content()) == told([3, 4])

    async def test_every_kind_of_entry_is_told_as_it_is_kept(self, client: Client) -> None:
        kinds = [
            ScreeningEntry(number="13912345678"),
            ScreeningEntry(prefix="1391234"),
            ScreeningEntry(province="内蒙古"),
            ScreeningEntry(area_code="0471"),
            ScreeningEntry(anonymous=True),
        ]
        assert await client.add(kinds) == len(kinds)
        answer = await client.page()
        assert sorted(map(str, answer.entries)) == sorted(map(str, kinds))
        assert answer.next_page_token == ""

    async def test_pages_follow_each_other_without_gap_or_repetition(self, client: Client) -> None:
        await client.add(numbers(range(250)))
        for size in (1, 7, 100, 250, 1_000):
            content = await client.content(size)
            assert len(content) == 250
            assert set(content) == told(range(250))
        assert await client.content(3) == await client.content(100)

    async def test_pages_go_on_where_they_were_when_entries_come_and_go(
        self, client: Client, folds_often: None
    ) -> None:
        await client.add(numbers(range(100)))
        first = await client.page(40)
        await client.add(numbers(range(100, 200)))
        await client.remove([first.entries[-1]])
        second = await client.page(1_000, first.next_page_token)
        seen = {entry.number for entry in (*first.entries, *second.entries)}
        assert len(first.entries) + len(second.entries) == len(seen)
        assert seen >= told(range(100))

    async def test_one_bad_entry_and_none_is_written(self, client: Client, store: Store) -> None:
        before = await store.revision()
        with pytest.raises(InvalidFieldError, match=r"entries\[2\]\.number"):
            await client.add([*numbers([1, 2]), ScreeningEntry(number="?")])
        assert await store.revision() == before

    async def test_what_makes_no_difference_writes_nothing(self, client: Client, store: Store) -> None:
        await client.add(numbers([1]))
        before = await store.revision()
        assert await client.add(numbers([1])) == 0
        assert await client.remove(numbers([2])) == 0
        assert await store.revision() == before

    async def test_no_list_no_entries(self, client: Client) -> None:
        with pytest.raises(NotFoundError, match="screening_list acme/other"):
            await client.add(numbers([1]), list="other")
        with pytest.raises(NotFoundError, match="screening_list spam"):
            await client.add(numbers([1]), tenant="")
        with pytest.raises(NotFoundError):
            await client.page(list="other")

    async def test_requests_are_checked(self, client: Client) -> None:
        with pytest.raises(InvalidFieldError, match="entries"):
            await client.add([])
        with pytest.raises(InvalidFieldError, match="tenant"):
            await client.add(numbers([1]), tenant="?")
        with pytest.raises(InvalidFieldError, match="list"):
            await client.page(list="")
        with pytest.raises(InvalidFieldError, match="page_size"):
            await client.page(validate_screening.ENTRIES_PAGE_MAX + 1)
        with pytest.raises(InvalidFieldError, match="page_token"):
            await client.page(token="?")

    async def test_a_full_list_takes_no_more(
        self, client: Client, folds_often: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(screening_entries, "PAGE_ENTRIES_MAX", 5)

        async def fill() -> None:
            for start in range(0, 2 * 5 * PAGES, 30):
                await client.add(numbers(range(start, start + 30)))

        with pytest.raises(InvalidFieldError, match="is full"):
            await fill()
        assert await client.remove(numbers(range(30))) == 30

    async def test_a_damaged_page_is_told_and_the_list_can_go(self, client: Client, store: Store) -> None:
        await client.add(numbers([1]))
        await store.commit([], [Put(keys.screening_page("acme", "spam", 5), b"\xff")])
        with pytest.raises(codec.DamagedValueError):
            await client.page()
        await client.lists.delete(SPAM, "")

    async def test_ten_thousand_entries_at_once_again_and_again(self, client: Client, store: Store) -> None:
        for start in range(0, 60_000, 10_000):
            assert await client.add(numbers(range(start, start + 10_000))) == 10_000
        assert len((await store.list(keys.SCREENING_PAGES)).entries) > PAGES / 2
        assert await client.remove(numbers(range(5_000, 15_000))) == 10_000
        content = await client.content()
        assert len(content) == 50_000
        assert set(content) == told([*range(5_000), *range(15_000, 60_000)])


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
        lists, position = ScreeningLists(), 0
        convert_screening.put(lists, SPAM)
        commits = await _commits(store, start)
        assert len(commits) > len(states)
        for changes in commits:
            for change in changes:
                if change.entry is None:
                    convert_screening.delete(lists, change.key)
                else:
                    convert_screening.put(lists, codec.decode_any(change.entry))  # type: ignore[arg-type]
            found = _found(lists)
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


def _found(lists: ScreeningLists) -> set[str]:
    """All numbers of the tests that are in the list."""
    spam = lists.get("acme", "spam")
    assert spam is not None
    return {number for number in told(range(200)) if spam.find(Caller(CallerKind.MOBILE, number), None)}


def _timestamp() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)
