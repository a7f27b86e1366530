"""Apply: several objects in one step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.store import keys
from support.provisioning import Example, Stub, check_integrity, invalid, reason_of, refused, shared, world

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock


def line(id: str, **fields: str) -> pb.Object:
    return pb.Object(line=Example.line(id, **fields))


def number(*lines: str, **fields: str) -> pb.Object:
    return pb.Object(number=Example.number("4001234567", [*lines], **fields))


ACME = pb.Object(tenant=types_pb2.Tenant(id="acme"))


async def test_objects_of_a_request_may_refer_to_each_other_in_any_order(api: Stub, store: MemoryStore) -> None:
    objects = [*reversed(world("acme", "4001234567")), *shared()]
    before = await store.revision()
    answer = await api.Apply(pb.ApplyRequest(put=objects))
    assert await store.revision() == before + 1, "one step"
    assert [one.WhichOneof("object") for one in answer.put] == [one.WhichOneof("object") for one in objects]
    etags = {getattr(one, one.WhichOneof("object") or "").etag for one in answer.put}
    assert etags == {str(before + 1)}
    flow = answer.put[1].flow
    assert [revision.number for revision in flow.revisions] == [1], "drafts are activated"
    assert (await api.GetFlow(pb.GetFlowRequest(tenant="acme", id="x"))) == flow


async def test_applying_again_changes_nothing(api: Stub, store: MemoryStore, clock: Clock) -> None:
    first = await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567")))
    before = await store.revision()
    clock.advance(60)
    assert await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567"))) == first
    assert await store.revision() == before


async def test_all_or_none(api: Stub, store: MemoryStore) -> None:
    before = await store.revision()
    with invalid() as refusal:
        await api.Apply(pb.ApplyRequest(put=[ACME, line("a"), number("a", "nobody")]))
    assert refusal.fields == {"put[2].number.stages[0].lines[1]": "tenant acme has no line nobody"}
    assert await store.revision() == before


async def test_what_is_replaced_and_deleted_in_one_step(api: Stub, store: MemoryStore) -> None:
    await api.Apply(pb.ApplyRequest(put=[ACME, line("a"), number("a")]))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.Apply(pb.ApplyRequest(delete=[line("a")]))
    await api.Apply(pb.ApplyRequest(put=[line("b"), number("b")], delete=[line("a")]))
    assert await store.get(keys.line("acme", "a")) is None
    await check_integrity(store)
    await api.Apply(pb.ApplyRequest(delete=[ACME, line("b"), number("b")]))
    await check_integrity(store)
    assert not (await store.list(keys.RULES)).entries


async def test_replacing_is_of_the_whole(api: Stub) -> None:
    await api.Apply(pb.ApplyRequest(put=[ACME, line("a", display_name="Old")]))
    answer = await api.Apply(pb.ApplyRequest(put=[line("a")]))
    assert answer.put[0].line.display_name == ""


async def test_etags_guard_each_object(api: Stub) -> None:
    first = await api.Apply(pb.ApplyRequest(put=[ACME, line("a")]))
    second = await api.Apply(pb.ApplyRequest(put=[line("a", user="200")]))
    first.put[1].line.user = "300"
    for request in (pb.ApplyRequest(put=[first.put[1]]), pb.ApplyRequest(delete=[first.put[1]])):
        with refused(StatusCode.ABORTED, "ETAG_MISMATCH"):
            await api.Apply(request)
    await api.Apply(pb.ApplyRequest(delete=[second.put[0]]))
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.Apply(pb.ApplyRequest(put=[second.put[0]]))


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ApplyRequest(), {"put"}),
        (pb.ApplyRequest(put=[line(f"l{n}") for n in range(41)]), {"put"}),
        (pb.ApplyRequest(put=[ACME, pb.Object()]), {"put[1]"}),
        (pb.ApplyRequest(put=[ACME, line("a"), line("a")]), {"put[2]"}),
        (pb.ApplyRequest(put=[ACME], delete=[ACME]), {"delete[0]"}),
        (pb.ApplyRequest(put=[line("A")]), {"put[0].line.id"}),
        (pb.ApplyRequest(delete=[line("A")]), {"delete[0].line.id"}),
    ],
)
async def test_what_is_no_request(api: Stub, request_: pb.ApplyRequest, fields: set[str]) -> None:
    with invalid() as refusal:
        await api.Apply(request_)
    assert set(refusal.fields) == fields


async def test_as_many_objects_as_there_may_be(api: Stub, store: MemoryStore) -> None:
    await api.Apply(pb.ApplyRequest(put=[ACME, *(line(f"l{n}") for n in range(16))]))
    lines = [f"l{n}" for n in range(8)]
    numbers = [pb.Object(number=Example.number(f"40012345{n}", lines, lines)) for n in range(10, 50)]
    await api.Apply(pb.ApplyRequest(put=numbers, request_id="forty"))
    assert len((await api.ListNumbers(pb.ListNumbersRequest(tenant="acme"))).numbers) == 40
    await check_integrity(store)


async def test_objects_of_many_tenants_at_once(api: Stub, store: MemoryStore) -> None:
    """Two requests that concern the same tenants in different orders do not wait for each other for ever."""
    tenants = [pb.Object(tenant=types_pb2.Tenant(id=f"t{n}")) for n in range(4)]
    await api.Apply(pb.ApplyRequest(put=tenants))

    def request(order: list[int], user: str) -> pb.ApplyRequest:
        return pb.ApplyRequest(put=[pb.Object(line=Example.line("a", f"t{n}", user=user)) for n in order])

    calls = [api.Apply(request([0, 1, 2, 3][:: 1 if n % 2 else -1], f"{n + 100}")) for n in range(10)]
    assert set(await asyncio.gather(*map(reason_of, calls))) == {"OK"}
    users = {(await api.GetLine(pb.GetLineRequest(tenant=f"t{n}", id="a"))).user for n in range(4)}
    assert len(users) == 1, "one of them wrote all four last"


async def test_for_show(api: Stub, store: MemoryStore) -> None:
    before = await store.revision()
    answer = await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567"), validate_only=True))
    assert answer.put[0].tenant.etag == ""
    assert answer.put[-1].number.tenant == "acme"
    assert await store.revision() == before


async def test_repeated_it_gets_the_first_answer(api: Stub) -> None:
    request = pb.ApplyRequest(put=world("acme", "4001234567"), request_id="one")
    first = await api.Apply(request)
    await api.Apply(pb.ApplyRequest(put=[pb.Object(tenant=types_pb2.Tenant(id="acme", display_name="Other"))]))
    assert await api.Apply(request) == first


def trunk(id: str, *sources: str, target: str = "") -> pb.Object:
    targets = [types_pb2.TrunkTarget(host=target)] if target else []
    return pb.Object(trunk=types_pb2.Trunk(id=id, source_addresses=sources, targets=targets))


def trunk_group(id: str, prefix: str, *trunks: str) -> pb.Object:
    members = [types_pb2.TrunkGroupMember(trunk=one) for one in trunks]
    return pb.Object(trunk_group=types_pb2.TrunkGroup(id=id, prefixes=[prefix], members=members))


ONE, OTHER = "192.0.2.1", "192.0.2.2"


@pytest.mark.parametrize("backwards", [False, True])
async def test_trunks_change_their_addresses(api: Stub, store: MemoryStore, backwards: bool) -> None:
    await api.Apply(pb.ApplyRequest(put=[trunk("a", ONE), trunk("b", OTHER)]))
    changed = [trunk("a", OTHER), trunk("b", ONE)]
    await api.Apply(pb.ApplyRequest(put=changed[:: -1 if backwards else 1]))
    assert (await api.GetTrunk(pb.GetTrunkRequest(id="a"))).source_addresses == [OTHER]
    await api.Apply(pb.ApplyRequest(put=[trunk("c", OTHER)], delete=[trunk("a")]))
    await check_integrity(store)


async def test_trunk_groups_change_their_prefixes_and_trunks(api: Stub) -> None:
    trunks = [trunk("a", target=ONE), trunk("b", target=OTHER)]
    await api.Apply(pb.ApplyRequest(put=[*trunks, trunk_group("g", "010", "a"), trunk_group("h", "", "b")]))
    await api.Apply(pb.ApplyRequest(put=[trunk_group("g", "", "b"), trunk_group("h", "010", "b"), trunk("a", ONE)]))
    assert (await api.GetTrunkGroup(pb.GetTrunkGroupRequest(id="h"))).prefixes == ["010"]
    assert not (await api.GetTrunk(pb.GetTrunkRequest(id="a"))).targets, "no group sends calls there any more"


async def test_what_does_not_go_together_in_the_end(api: Stub, store: MemoryStore) -> None:
    await api.Apply(pb.ApplyRequest(put=[trunk("a", ONE, target=ONE), trunk_group("g", "", "a")]))
    before = await store.revision()
    with invalid() as refusal:
        await api.Apply(pb.ApplyRequest(put=[trunk("b", ONE), trunk("c", OTHER)]))
    assert refusal.fields == {"put[0].trunk.source_addresses[0]": f"overlaps {ONE} of trunk a"}
    with invalid() as refusal:
        await api.Apply(pb.ApplyRequest(put=[trunk("a", ONE)]))
    assert set(refusal.fields) == {"put[0].trunk.targets"}
    assert await store.revision() == before
