"""What numbers, lines, tenants, trunks and trunk groups may say, and what they refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import validate
from support.provisioning import Example, Stub, check_integrity, invalid, refused, shared, world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from signalbox.errors import FieldViolation
    from signalbox.store.memory import MemoryStore

Screening = types_pb2.Screening


def fields(violations: Iterable[FieldViolation]) -> list[str]:
    return [violation.field for violation in violations]


def number(**changes: Any) -> types_pb2.Number:
    return types_pb2.Number(**{"number": "4001234567", "tenant": "acme", "flow": "x", **changes})


def trunk(id: str, *hosts: str, **changes: Any) -> types_pb2.Trunk:
    targets = [types_pb2.TrunkTarget(host=host) for host in hosts]
    return types_pb2.Trunk(**{"id": id, "targets": targets, **changes})


def group(id: str, *prefixes: str, members: Iterable[str] = ("one",)) -> types_pb2.TrunkGroup:
    return types_pb2.TrunkGroup(
        id=id, prefixes=prefixes, members=[types_pb2.TrunkGroupMember(trunk=member) for member in members]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"limits": types_pb2.Limits(concurrent_calls=0)}, []),
        ({"over_limit_flow": "y", "max_call_duration": Duration(seconds=10)}, []),
        ({"max_call_duration": Duration(seconds=86_400)}, []),
        ({"screening": Screening(blacklists=["a", "b"], whitelists=["a"], whitelist_only=True)}, []),
        ({"flow": ""}, ["number.stages"]),
        ({"flow": "X"}, ["number.flow"]),
        ({"stages": [types_pb2.DialStage(lines=["a"])]}, ["number.stages"]),
        ({"over_limit_flow": "X"}, ["number.over_limit_flow"]),
        ({"max_call_duration": Duration(seconds=9)}, ["number.max_call_duration"]),
        ({"max_call_duration": Duration(seconds=86_401)}, ["number.max_call_duration"]),
        ({"max_call_duration": Duration(seconds=10, nanos=1)}, ["number.max_call_duration"]),
        ({"screening": Screening(blacklists=["a", "a"])}, ["number.screening.blacklists[1]"]),
        ({"screening": Screening(whitelists=["A"])}, ["number.screening.whitelists[0]"]),
        ({"screening": Screening(blacklists=[f"l{n}" for n in range(17)])}, ["number.screening.blacklists"]),
    ],
)
def test_numbers(changes: dict[str, Any], expected: list[str]) -> None:
    assert fields(validate.number(number(**changes))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"user": "13900001111"}, []),
        ({"user": "+8613900001111", "concurrent_calls": 30}, []),
        ({"user": "alice"}, ["line.user"]),
        ({"user": "139", "port": 5060}, ["line.port"]),
        ({"user": ""}, ["line.user"]),
    ],
)
def test_lines_without_a_host_are_telephone_numbers(changes: dict[str, Any], expected: list[str]) -> None:
    assert fields(validate.line(Example.line("a", host="", **changes))) == expected


@pytest.mark.parametrize("zone", ["", "Asia/Shanghai", "UTC", "America/New_York"])
def test_time_zones(zone: str) -> None:
    assert fields(validate.tenant(types_pb2.Tenant(id="acme", time_zone=zone))) == []


@pytest.mark.parametrize("zone", ["Shanghai", "+08:00", "../etc/passwd", "Asia", "/etc/localtime", "a\0b"])
def test_what_is_no_time_zone(zone: str) -> None:
    assert fields(validate.tenant(types_pb2.Tenant(id="acme", time_zone=zone))) == ["tenant.time_zone"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (trunk("t", "192.0.2.1"), []),
        (trunk("t", "192.0.2.1", "2001:db8::1", called_format=types_pb2.NUMBER_FORMAT_E164), []),
        (trunk("t"), ["trunk.source_addresses"]),
        (trunk("t", "pbx.example"), ["trunk.targets[0].host"]),
        (trunk("t", *["192.0.2.1"] * 9), ["trunk.targets"]),
        (types_pb2.Trunk(id="t", targets=[{"host": "192.0.2.1", "port": 70_000}]), ["trunk.targets[0].port"]),
        (types_pb2.Trunk(id="t", targets=[{"host": "192.0.2.1", "transport": 9}]), ["trunk.targets[0].transport"]),
        (trunk("t", "192.0.2.1", called_format=9), ["trunk.called_format"]),
    ],
)
def test_trunks(given: types_pb2.Trunk, expected: list[str]) -> None:
    assert fields(validate.trunk(given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (group("g", ""), []),
        (group("g", "0", "010", "0044"), []),
        (group("g"), ["trunk_group.prefixes"]),
        (group("g", "0", "0"), ["trunk_group.prefixes[1]"]),
        (group("g", "+86"), ["trunk_group.prefixes[0]"]),
        (group("g", "0", members=[]), ["trunk_group.members"]),
        (group("g", "0", members=["a", "a"]), ["trunk_group.members[1].trunk"]),
        (group("g", "0", members=["A"]), ["trunk_group.members[0].trunk"]),
        (
            types_pb2.TrunkGroup(id="g", prefixes=["0"], members=[{"trunk": "a", "weight": 1001}]),
            ["trunk_group.members[0].weight"],
        ),
    ],
)
def test_trunk_groups(given: types_pb2.TrunkGroup, expected: list[str]) -> None:
    assert fields(validate.trunk_group(given)) == expected


async def test_a_trunk_group_from_its_creation_to_its_end(api: Stub) -> None:
    with invalid() as refusal:
        await api.CreateTrunkGroup(pb.CreateTrunkGroupRequest(trunk_group=group("g", "0", members=["one", "two"])))
    assert set(refusal.fields) == {"trunk_group.members[0].trunk", "trunk_group.members[1].trunk"}
    await api.CreateTrunk(pb.CreateTrunkRequest(trunk=trunk("one", "192.0.2.1")))
    await api.CreateTrunk(pb.CreateTrunkRequest(trunk=trunk("in", source_addresses=["192.0.2.9"])))
    with invalid() as refusal:
        await api.CreateTrunkGroup(pb.CreateTrunkGroupRequest(trunk_group=group("g", "0", members=["in"])))
    assert refusal.fields == {"trunk_group.members[0].trunk": "trunk in has no targets"}
    created = await api.CreateTrunkGroup(pb.CreateTrunkGroupRequest(trunk_group=group("g", "", "010")))
    assert list((await api.ListTrunkGroups(pb.ListTrunkGroupsRequest())).trunk_groups) == [created]
    with invalid() as refusal:
        await api.CreateTrunkGroup(pb.CreateTrunkGroupRequest(trunk_group=group("h", "020", "")))
    assert refusal.fields == {"trunk_group.prefixes[1]": "is of trunk group g"}
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as in_use:
        await api.DeleteTrunk(pb.DeleteTrunkRequest(id="one"))
    assert in_use.metadata["referrer"] == "trunk_group g"
    bare = trunk("one", source_addresses=["192.0.2.1"])
    with invalid() as refusal:
        await api.UpdateTrunk(pb.UpdateTrunkRequest(trunk=bare))
    assert list(refusal.fields) == ["trunk.targets"]
    await api.UpdateTrunkGroup(pb.UpdateTrunkGroupRequest(trunk_group=group("g", "010")))
    await api.CreateTrunkGroup(pb.CreateTrunkGroupRequest(trunk_group=group("h", "")))
    for id in ("g", "h"):
        await api.DeleteTrunkGroup(pb.DeleteTrunkGroupRequest(id=id))
    await api.DeleteTrunk(pb.DeleteTrunkRequest(id="one"))


async def test_what_a_number_refers_to_must_be_there(api: Stub) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
    given = number(over_limit_flow="y", screening=Screening(blacklists=["bad"], whitelists=["good"]))
    with invalid() as refusal:
        await api.CreateNumber(pb.CreateNumberRequest(number=given))
    assert refusal.fields == {
        "number.flow": "tenant acme has no flow x",
        "number.over_limit_flow": "tenant acme has no flow y",
        "number.screening.blacklists[0]": "tenant acme has no screening list bad, nor has the operator",
        "number.screening.whitelists[0]": "tenant acme has no screening list good, nor has the operator",
    }


async def test_what_a_number_refers_to_stays(api: Stub, store: MemoryStore) -> None:
    await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567")))
    screened = number(over_limit_flow="x", screening=Screening(blacklists=["x"]))
    await api.UpdateNumber(pb.UpdateNumberRequest(number=screened))
    for call in (
        api.DeleteFlow(pb.DeleteFlowRequest(tenant="acme", id="x")),
        api.DeleteScreeningList(pb.DeleteScreeningListRequest(tenant="acme", id="x")),
    ):
        with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
            await call
        assert refusal.metadata["referrer"] == "number 4001234567"
    await api.UpdateNumber(
        pb.UpdateNumberRequest(number=number(flow="x"), update_mask=FieldMask(paths=["screening", "over_limit_flow"]))
    )
    await api.DeleteScreeningList(pb.DeleteScreeningListRequest(tenant="acme", id="x"))


async def test_the_operators_list_serves_a_tenant_that_has_none_of_its_own(api: Stub) -> None:
    tenants_own = shared("acme")[2]
    await api.Apply(pb.ApplyRequest(put=[*world("acme", "4001234567"), *shared()], delete=[]))
    await api.Apply(pb.ApplyRequest(delete=[tenants_own]))
    await api.UpdateNumber(pb.UpdateNumberRequest(number=number(screening=Screening(blacklists=["x"]))))
    delete = pb.DeleteScreeningListRequest(id="x")
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteScreeningList(delete)
    assert refusal.metadata == {"resource": "screening_list", "id": "x", "referrer": "number 4001234567"}
    await api.Apply(pb.ApplyRequest(put=[tenants_own]))
    await api.DeleteScreeningList(delete)


async def test_the_operators_list_goes_or_is_referred_to_but_not_both(
    api: Stub, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a deletion and a reference at once the second to commit is refused, whatever it read before."""
    commit = store.commit
    await api.Apply(pb.ApplyRequest(put=[*world("acme", "4001234567")[:-1], *shared()]))
    own = shared("acme")[2]
    await api.Apply(pb.ApplyRequest(delete=[own]))
    create = pb.CreateNumberRequest(number=number(screening=Screening(blacklists=["x"])))
    delete = pb.DeleteScreeningListRequest(id="x")

    def before_the_next_commit(call: Callable[[], Awaitable[object]]) -> None:
        async def hurried(*arguments: Any) -> int:
            monkeypatch.undo()
            await call()
            return await commit(*arguments)

        monkeypatch.setattr(store, "commit", hurried)

    before_the_next_commit(lambda: api.CreateNumber(create))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.DeleteScreeningList(delete)
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
    before_the_next_commit(lambda: api.DeleteScreeningList(delete))
    with invalid() as refusal:
        await api.CreateNumber(create)
    assert list(refusal.fields) == ["number.screening.blacklists[0]"]
    await check_integrity(store)


async def test_a_line_in_a_group_or_flow_stays(api: Stub, store: MemoryStore) -> None:
    await api.Apply(pb.ApplyRequest(put=world("acme", "4001234567")))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="x"))
    assert refusal.metadata["referrer"] == "line_group acme/x"
    await check_integrity(store, index=False)


@pytest.mark.parametrize("position", range(1, 9))
async def test_a_tenant_that_owns_anything_stays(api: Stub, position: int) -> None:
    objects = world("acme", "4001234567")
    await api.Apply(pb.ApplyRequest(put=objects))
    # From the last on, as each refers to those before: until one is left besides the tenant.
    await api.Apply(pb.ApplyRequest(delete=objects[position + 1 :]))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.DeleteTenant(pb.DeleteTenantRequest(id="acme"))
    await api.Apply(pb.ApplyRequest(delete=objects[: position + 1]))
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.GetTenant(pb.GetTenantRequest(id="acme"))
