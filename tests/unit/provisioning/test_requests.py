"""Request ids (AIP-155) and validate_only (AIP-163)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import screening_pb2, types_pb2
from signalbox.errors import StoreUnavailableError
from signalbox.provisioning import requestids
from support.provisioning import Example, Interleaving, Stub, check_integrity, invalid, reason_of, refused, serving

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock


def creation(id: str = "a", request_id: str = "one", **fields: Any) -> pb.CreateLineRequest:
    return pb.CreateLineRequest(line=Example.line(id, **fields), request_id=request_id)


@pytest.fixture(autouse=True)
async def acme(api: Stub) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))


async def test_a_repeated_creation_gets_the_first_answer(api: Stub, clock: Clock) -> None:
    first = await api.CreateLine(creation())
    assert first.etag.isdigit()
    assert first == await api.GetLine(pb.GetLineRequest(tenant="acme", id="a"))
    clock.advance(60)
    await api.UpdateLine(pb.UpdateLineRequest(line=Example.line("a", user="200")))
    assert await api.CreateLine(creation()) == first


async def test_a_repeated_update_and_deletion_get_the_first_answer(api: Stub) -> None:
    await api.CreateLine(creation())
    update = pb.UpdateLineRequest(
        line=types_pb2.Line(tenant="acme", id="a", user="200"), update_mask=FieldMask(paths=["user"]), request_id="two"
    )
    first = await api.UpdateLine(update)
    delete = pb.DeleteLineRequest(tenant="acme", id="a", etag=first.etag, request_id="three")
    await api.DeleteLine(delete)
    assert await api.UpdateLine(update) == first
    await api.DeleteLine(delete)
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.GetLine(pb.GetLineRequest(tenant="acme", id="a"))


async def test_an_update_without_a_change_is_remembered_too(api: Stub) -> None:
    first = await api.CreateLine(creation())
    update = pb.UpdateLineRequest(line=first, request_id="two")
    assert await api.UpdateLine(update) == first
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))
    assert await api.UpdateLine(update) == first


async def test_another_request_with_the_id_is_refused(api: Stub) -> None:
    await api.CreateLine(creation())
    for call in (
        api.CreateLine(creation("b")),
        api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="best"), request_id="one")),
    ):
        with refused(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED") as refusal:
            await call
        assert refusal.metadata == {"request_id": "one"}


async def test_a_refused_request_may_be_mended_and_sent_again(api: Stub) -> None:
    with invalid():
        await api.CreateLine(creation(user="?"))
    await api.CreateLine(creation())


async def test_entries_of_a_list_are_counted_once(api: Stub) -> None:
    given = screening_pb2.ScreeningList(tenant="acme", id="x")
    await api.CreateScreeningList(pb.CreateScreeningListRequest(screening_list=given))
    add = pb.AddScreeningEntriesRequest(
        tenant="acme", list="x", entries=[screening_pb2.ScreeningEntry(number="13800001234")], request_id="add"
    )
    assert (await api.AddScreeningEntries(add)).changed == 1
    assert (await api.AddScreeningEntries(add)).changed == 1
    add.request_id = "again"
    assert (await api.AddScreeningEntries(add)).changed == 0


@pytest.mark.parametrize("request_id", ["x" * 65, "two words", "号"])
async def test_a_request_id_that_is_none(api: Stub, request_id: str) -> None:
    with invalid() as refusal:
        await api.CreateLine(creation(request_id=request_id))
    assert list(refusal.fields) == ["request_id"]


async def test_the_answer_lost_on_its_way_is_had_by_asking_again(
    api: Stub, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.commit

    async def lose_the_answer(*arguments: Any) -> int:
        await commit(*arguments)
        raise StoreUnavailableError("no answer")

    monkeypatch.setattr(store, "commit", lose_the_answer)
    with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        await api.CreateLine(creation())
    monkeypatch.undo()
    answer = await api.CreateLine(creation())
    assert answer == await api.GetLine(pb.GetLineRequest(tenant="acme", id="a"))


async def test_answers_are_forgotten_with_their_lease(api: Stub, store: MemoryStore) -> None:
    await api.CreateLine(creation())
    (lease,) = store._leases
    assert store._leases[lease][0] >= 24 * 3600
    store.expire_lease(lease)
    assert not (await store.list("requests/")).entries
    with refused(StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS"):
        await api.CreateLine(creation(request_id="one"))


async def test_requests_of_an_hour_share_a_lease(
    api: Stub, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        await api.CreateLine(creation(f"l{n}", str(n)))
    assert len(store._leases) == 1
    monkeypatch.setattr(requestids, "LEASE_SHARED_S", -1)
    await api.CreateLine(creation("late", "late"))
    assert len(store._leases) == 2


@pytest.mark.parametrize("seed", range(5))
async def test_of_many_at_once_one_is_done_and_all_get_its_answer(store: MemoryStore, seed: int) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(serving(Interleaving(store, seed + n))) for n in range(2)]
        answers = await asyncio.gather(*(replicas[n % 2].CreateLine(creation()) for n in range(20)))
        assert all(answer == answers[0] for answer in answers)
        # The same id for two requests: one of them wins, whatever the order is.
        reasons = await asyncio.gather(
            *(reason_of(replicas[n % 2].CreateLine(creation(f"b{n % 2}", "two"))) for n in range(10))
        )
        assert sorted(reasons) == ["OK"] * 5 + ["REQUEST_ID_REUSED"] * 5
    await check_integrity(store)


async def test_validate_only_answers_and_writes_nothing(api: Stub, store: MemoryStore) -> None:
    before = await store.revision()
    request = creation()
    request.validate_only = True
    answer = await api.CreateLine(request)
    assert (answer.id, answer.etag) == ("a", "")
    assert answer.HasField("create_time")
    await api.CreateLine(request)
    assert await store.revision() == before
    request.validate_only = False
    created = await api.CreateLine(request)
    assert created.etag
    update = pb.UpdateLineRequest(line=Example.line("a", user="200"), validate_only=True)
    assert (await api.UpdateLine(update)).user == "200"
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a", validate_only=True))
    assert await api.GetLine(pb.GetLineRequest(tenant="acme", id="a")) == created


async def test_validate_only_refuses_as_the_request_would_be(api: Stub) -> None:
    await api.CreateLine(creation())
    request = creation(request_id="")
    request.validate_only = True
    with refused(StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS"):
        await api.CreateLine(request)
    await api.CreateNumber(pb.CreateNumberRequest(number=Example.number("4001234567", ["a"])))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a", validate_only=True))
