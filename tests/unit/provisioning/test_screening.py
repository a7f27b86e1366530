"""Screening lists and their entries over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry, ScreeningList
from signalbox.provisioning import screening_entries
from signalbox.store import keys
from support.provisioning import invalid, refused

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore
    from support.provisioning import Stub


def numbers(start: int, count: int) -> list[ScreeningEntry]:
    return [ScreeningEntry(number=f"138{number:08d}") for number in range(start, start + count)]


def add(entries: list[ScreeningEntry], request_id: str = "") -> pb.AddScreeningEntriesRequest:
    return pb.AddScreeningEntriesRequest(tenant="acme", list="spam", entries=entries, request_id=request_id)


@pytest.fixture
async def spam(api: Stub) -> Stub:
    """A tenant with an empty list."""
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
    await api.CreateScreeningList(
        pb.CreateScreeningListRequest(screening_list=ScreeningList(tenant="acme", id="spam", display_name="Spam"))
    )
    return api


async def test_entries_are_added_listed_and_removed(spam: Stub) -> None:
    assert (await spam.AddScreeningEntries(add(numbers(0, 5)))).changed == 5
    request = pb.RemoveScreeningEntriesRequest(tenant="acme", list="spam", entries=numbers(3, 5))
    assert (await spam.RemoveScreeningEntries(request)).changed == 2
    listed = await spam.ListScreeningEntries(pb.ListScreeningEntriesRequest(tenant="acme", list="spam"))
    assert sorted(entry.number for entry in listed.entries) == [entry.number for entry in numbers(0, 3)]


async def test_a_repeated_request_gets_the_first_answer(spam: Stub) -> None:
    first = await spam.AddScreeningEntries(add(numbers(0, 5), "once"))
    assert first.changed == 5
    assert await spam.AddScreeningEntries(add(numbers(0, 5), "once")) == first
    with refused(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"):
        await spam.AddScreeningEntries(add(numbers(0, 6), "once"))


async def test_large_requests_with_request_ids_fold_the_list_meanwhile(spam: Stub, store: MemoryStore) -> None:
    most = screening_entries.CHANGES_OF_REQUEST + 2
    for n in range(most):
        answer = await spam.AddScreeningEntries(add(numbers(n * 10_000, 10_000), f"batch-{n}"))
        assert answer.changed == 10_000
    assert len((await store.list(keys.SCREENING_PAGES)).entries) > 2
    listed = await spam.ListScreeningEntries(
        pb.ListScreeningEntriesRequest(tenant="acme", list="spam", page_size=10_000)
    )
    assert len(listed.entries) == 10_000
    assert listed.next_page_token


async def test_a_bad_entry_is_named(spam: Stub) -> None:
    with invalid() as refusal:
        await spam.AddScreeningEntries(add([*numbers(0, 1), ScreeningEntry(prefix="x")]))
    assert refusal.fields == {"entries[1].prefix": "must be 1 to 19 digits"}


async def test_a_number_holds_its_lists(spam: Stub) -> None:
    line = types_pb2.Line(tenant="acme", id="front", user="02812345678", host="192.0.2.7")
    await spam.CreateLine(pb.CreateLineRequest(line=line))
    number = types_pb2.Number(
        number="4001234567",
        tenant="acme",
        stages=[types_pb2.DialStage(lines=["front"])],
        screening=types_pb2.Screening(blacklists=["spam"]),
    )
    await spam.CreateNumber(pb.CreateNumberRequest(number=number))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await spam.DeleteScreeningList(pb.DeleteScreeningListRequest(tenant="acme", id="spam"))
    assert refusal.metadata["referrer"] == "number 4001234567"
    await spam.DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
    await spam.DeleteScreeningList(pb.DeleteScreeningListRequest(tenant="acme", id="spam"))


async def test_a_list_goes_with_its_entries_in_one_step_with_others(spam: Stub, store: MemoryStore) -> None:
    await spam.AddScreeningEntries(add(numbers(0, 100)))
    request = pb.ApplyRequest()
    request.delete.add().screening_list.CopyFrom(ScreeningList(tenant="acme", id="spam"))
    request.put.add().screening_list.CopyFrom(ScreeningList(tenant="acme", id="vip"))
    await spam.Apply(request)
    assert (await store.list(keys.SCREENING_PAGES)).entries == []
    lists = await spam.ListScreeningLists(pb.ListScreeningListsRequest(tenant="acme"))
    assert [one.id for one in lists.screening_lists] == ["vip"]
