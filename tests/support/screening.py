"""A replica of the provisioning service, as far as screening lists go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList
from signalbox.provisioning import screening, screening_entries
from signalbox.provisioning.screening_entries import ScreeningEntries
from signalbox.provisioning.writer import Writer
from signalbox.store import codec, keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.store.base import Store

SPAM = ScreeningList(tenant="acme", id="spam")


class Client:
    """A replica of the provisioning service, as far as lists go."""

    def __init__(self, store: Store) -> None:
        self.lists = screening.ScreeningLists(store, Writer(store))
        self._entries = ScreeningEntries(store)
        self._writer = Writer(store)

    async def add(self, entries: Iterable[ScreeningEntry], tenant: str = "acme", list: str = "spam") -> int:
        """Add entries; returns how many made a difference."""
        request = pb.AddScreeningEntriesRequest(tenant=tenant, list=list, entries=entries)
        return (await self._entries.add(request, self._writer)).changed

    async def remove(self, entries: Iterable[ScreeningEntry]) -> int:
        """Remove entries, as :meth:`add`."""
        request = pb.RemoveScreeningEntriesRequest(tenant="acme", list="spam", entries=entries)
        return (await self._entries.remove(request, self._writer)).changed

    async def page(self, size: int = 0, token: str = "", list: str = "spam") -> pb.ListScreeningEntriesResponse:
        """One page of entries."""
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
    """Entries of numbers by their last digits."""
    return [ScreeningEntry(number=f"138{number:08d}") for number in which]


def told(which: Iterable[int]) -> set[str]:
    """The same as :meth:`Client.content` tells them."""
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
