"""Screening lists and their entries, in every store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import flows_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList
from signalbox.domain.screening import PAGES
from signalbox.errors import (
    AlreadyExistsError,
    InUseError,
    InvalidFieldError,
    NotFoundError,
)
from signalbox.provisioning import references, screening_entries
from signalbox.store import codec, keys
from signalbox.store.base import Put
from support.screening import SPAM, Client, numbers, told

if TYPE_CHECKING:
    from signalbox.store.base import Store


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
        index = b"screening_list:spam"
        counted = await references.counted(store, "other", b"", index)
        await store.commit([], [Put(keys.number_of("other", "4007654321"), index), *counted])
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
        with pytest.raises(InvalidFieldError, match="page_token"):
            await client.page(token="?")

    async def test_a_page_has_at_most_so_many_entries_however_many_are_asked_for(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await client.add(numbers(range(30)))
        monkeypatch.setattr(screening_entries, "PAGE_SIZE_MAX", 20)
        page = await client.page(2**32 - 1)
        assert len(page.entries) == 20
        assert page.next_page_token

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


def _timestamp() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)
