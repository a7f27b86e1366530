"""Every RPC over gRPC: what it does, and what each wrong use of it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import StoreUnavailableError
from signalbox.provisioning.service import METHODS
from signalbox.provisioning.serving import REQUESTS
from signalbox.store import keys
from signalbox.store.base import Put
from support.provisioning import Example, Stub, check_integrity, invalid, reason_of, refused

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock


def tenant(id: str = "acme", **fields: Any) -> types_pb2.Tenant:
    return types_pb2.Tenant(**{"id": id, **fields})


def trunk(id: str = "carrier", *addresses: str, **fields: Any) -> types_pb2.Trunk:
    return types_pb2.Trunk(**{"id": id, "source_addresses": addresses or ["192.0.2.0/24"], **fields})


KINDS = {
    "Tenant": (tenant(), {"id": "acme"}),
    "Trunk": (trunk(), {"id": "carrier"}),
    "Line": (Example.line("a"), {"tenant": "acme", "id": "a"}),
    "Number": (Example.number("4001234567", ["a"]), {"number": "4001234567"}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def request(method: str, **fields: Any) -> Any:
    return getattr(pb, f"{method}Request")(**fields)


class Client:
    """The five methods of one kind."""

    def __init__(self, api: Stub, kind: str) -> None:
        self.api, self.kind = api, kind
        self.field = kind.lower()
        self.rule, self.identity = KINDS[kind]

    def create(self, rule: Any = None) -> Any:
        return getattr(self.api, f"Create{self.kind}")(request(f"Create{self.kind}", **{self.field: rule or self.rule}))

    def get(self, **identity: str) -> Any:
        return getattr(self.api, f"Get{self.kind}")(request(f"Get{self.kind}", **(identity or self.identity)))

    def update(self, rule: Any, *paths: str) -> Any:
        method = f"Update{self.kind}"
        return getattr(self.api, method)(request(method, **{self.field: rule}, update_mask=FieldMask(paths=paths)))

    def delete(self, etag: str = "", **identity: str) -> Any:
        method = f"Delete{self.kind}"
        return getattr(self.api, method)(request(method, etag=etag, **(identity or self.identity)))


@pytest.fixture
async def client(api: Stub, kind: str) -> Client:
    """A client of the kind, with everything there that its object belongs to or refers to."""
    if kind in {"Line", "Number"}:
        await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant()))
    if kind == "Number":
        await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    return Client(api, kind)


@kinds
async def test_what_is_created_can_be_got(client: Client, clock: Clock) -> None:
    created = await client.create()
    assert created.create_time.ToDatetime() == clock.now.replace(tzinfo=None)
    assert created.update_time == created.create_time
    assert created.etag.isdigit()
    assert await client.get() == created
    bare = type(created)()
    bare.CopyFrom(created)
    for name in ("etag", "create_time", "update_time"):
        bare.ClearField(name)
    assert bare == client.rule


@kinds
async def test_output_only_fields_are_ignored_on_creation(client: Client, clock: Clock) -> None:
    rule = type(client.rule)()
    rule.CopyFrom(client.rule)
    rule.etag = "7"
    rule.create_time.seconds = 1
    rule.update_time.seconds = 1
    created = await client.create(rule)
    assert created.create_time.ToDatetime() == clock.now.replace(tzinfo=None)
    assert created.etag != "7"


@kinds
async def test_an_id_can_be_taken_once(client: Client) -> None:
    await client.create()
    with refused(StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS") as refusal:
        await client.create()
    assert refusal.metadata == {"resource": client.field, "id": "/".join(client.identity.values())}


@kinds
async def test_an_empty_request_names_what_is_missing(client: Client) -> None:
    with invalid() as refusal:
        await client.create(type(client.rule)())
    assert {f"{client.field}.{name}" for name in client.identity} <= set(refusal.fields)
    assert refusal.metadata["field"] in refusal.fields


@kinds
async def test_what_is_not_there(client: Client) -> None:
    for call in (client.get(), client.update(client.rule), client.delete()):
        with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND") as refusal:
            await call
        assert refusal.metadata == {"resource": client.field, "id": "/".join(client.identity.values())}


@kinds
async def test_a_malformed_id_never_becomes_a_key(client: Client) -> None:
    identity = dict.fromkeys(client.identity, "../tenants/acme")
    for call in (client.get(**identity), client.delete(**identity)):
        with invalid() as refusal:
            await call
        assert set(refusal.fields) == set(client.identity)
    with invalid() as refusal:
        await client.update(type(client.rule)(**identity))
    assert set(refusal.fields) == {f"{client.field}.{name}" for name in client.identity}


@kinds
async def test_deleting(client: Client, store: MemoryStore) -> None:
    await client.create()
    await client.delete()
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await client.get()
    await check_integrity(store)
    await client.create()


@kinds
async def test_an_etag_guards_updates_and_deletions(client: Client) -> None:
    first = await client.create()
    changed = type(first)()
    changed.CopyFrom(first)
    if client.kind == "Number":
        changed.state = types_pb2.NUMBER_STATE_SUSPENDED
    else:
        changed.display_name = "Other"
    second = await client.update(changed)
    assert second.etag != first.etag
    for call in (client.update(changed), client.delete(etag=first.etag)):
        with refused(StatusCode.ABORTED, "ETAG_MISMATCH") as refusal:
            await call
        assert refusal.metadata["given"] == first.etag
        assert refusal.metadata["stored"] == second.etag
        assert first.etag in refusal.message
        assert second.etag in refusal.message
    with refused(StatusCode.ABORTED, "ETAG_MISMATCH"):
        await client.delete(etag="nonsense")
    await client.delete(etag=second.etag)


@kinds
async def test_an_update_that_changes_nothing_writes_nothing(client: Client, clock: Clock) -> None:
    created = await client.create()
    clock.advance(60)
    assert await client.update(created) == created


@kinds
async def test_unknown_mask_paths_are_refused_and_nothing_is_written(client: Client) -> None:
    created = await client.create()
    with invalid() as refusal:
        await client.update(client.rule, "nonsense")
    assert list(refusal.fields) == ["update_mask.paths[0]"]
    assert await client.get() == created


@kinds
async def test_the_time_of_an_update_never_goes_back(client: Client, clock: Clock) -> None:
    created = await client.create()
    clock.advance(-3600)
    changed = type(created)()
    changed.CopyFrom(created)
    if client.kind == "Number":
        changed.media = types_pb2.MEDIA_MODE_BYPASS
    else:
        changed.display_name = "Other"
    updated = await client.update(changed)
    assert updated.update_time == created.update_time
    assert updated.create_time == created.create_time


@kinds
async def test_a_store_that_is_away(client: Client, store: MemoryStore) -> None:
    store.available = False
    for call in (client.create(), client.get(), client.update(client.rule), client.delete()):
        with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
            await call


@kinds
async def test_a_store_that_is_full(client: Client, store: MemoryStore) -> None:
    store.full = True
    with refused(StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL"):
        await client.create()


@kinds
async def test_a_damaged_object_is_told_with_its_key(client: Client, store: MemoryStore) -> None:
    await client.create()
    key = {
        "Tenant": keys.tenant("acme"),
        "Trunk": keys.trunk("carrier"),
        "Line": keys.line("acme", "a"),
        "Number": keys.number("4001234567"),
    }[client.kind]
    await store.commit([], [Put(key, b"\xff")])
    with refused(StatusCode.DATA_LOSS, "VALUE_DAMAGED") as refusal:
        await client.get()
    assert refusal.metadata["key"] == key


@pytest.mark.parametrize("kind", ["Line", "Number"])
async def test_what_belongs_to_no_tenant_is_not_created(api: Stub, kind: str) -> None:
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND") as refusal:
        await Client(api, kind).create()
    assert refusal.metadata == {"resource": "tenant", "id": "acme"}


async def test_a_tenant_with_lines_stays(api: Stub) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant()))
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a")))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteTenant(pb.DeleteTenantRequest(id="acme"))
    assert refusal.metadata == {"resource": "tenant", "id": "acme", "referrer": "line a"}


async def test_a_line_in_use_stays(api: Stub) -> None:
    await Example.write(api)
    for id in ("a", "b"):
        with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
            await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id=id))
        assert refusal.metadata == {"resource": "line", "id": f"acme/{id}", "referrer": "number 4001234567"}


async def test_a_line_can_go_when_no_number_dials_it_any_more(api: Stub, store: MemoryStore) -> None:
    await Example.write(api)
    await api.UpdateNumber(pb.UpdateNumberRequest(number=Example.number("4001234567", ["b"])))
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="b"))
    await api.DeleteTenant(pb.DeleteTenantRequest(id="acme"))
    await check_integrity(store)


async def test_a_line_of_a_like_name_is_not_taken_for_another(api: Stub) -> None:
    await Example.write(api)
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("a-1")))
    await api.UpdateNumber(pb.UpdateNumberRequest(number=Example.number("4001234567", ["a-1", "b"])))
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))


async def test_lines_that_do_not_exist_are_all_named(api: Stub) -> None:
    await Example.write(api)
    await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant("best")))
    await api.CreateLine(pb.CreateLineRequest(line=Example.line("c", "best")))
    stages = [["a", "x"], ["b", "y"], ["c"]]
    expected = {f"number.stages[{i}].lines[{j}]" for i, j in ((0, 1), (1, 1), (2, 0))}
    with invalid() as refusal:
        await api.CreateNumber(pb.CreateNumberRequest(number=Example.number("4007654321", *stages)))
    assert set(refusal.fields) == expected
    with invalid() as refusal:
        await api.UpdateNumber(pb.UpdateNumberRequest(number=Example.number("4001234567", *stages)))
    assert set(refusal.fields) == expected
    assert await reason_of(api.GetNumber(pb.GetNumberRequest(number="4007654321"))) == "RESOURCE_NOT_FOUND"


async def test_a_number_may_dial_as_many_lines_as_there_can_be(api: Stub, store: MemoryStore) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant()))
    ids = [f"line-{n}" for n in range(16)]
    for id in ids:
        await api.CreateLine(pb.CreateLineRequest(line=Example.line(id)))
    stages = [ids[:8], ids[8:]]
    await api.CreateNumber(pb.CreateNumberRequest(number=Example.number("4001234567", *stages)))
    await check_integrity(store)


async def test_a_number_belongs_to_one_tenant_for_ever(api: Stub) -> None:
    await Example.write(api)
    await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant("best")))
    with invalid() as refusal:
        await api.UpdateNumber(pb.UpdateNumberRequest(number=Example.number(tenant="best")))
    assert refusal.fields == {"number.tenant": "cannot be changed"}


async def test_trunks_do_not_share_addresses(api: Stub) -> None:
    await api.CreateTrunk(pb.CreateTrunkRequest(trunk=trunk("one", "192.0.2.0/24", "2001:db8::/32")))
    with invalid() as refusal:
        given = trunk("two", "198.51.100.1", "192.0.2.9", "10.0.0.0/8", "2001::/16")
        await api.CreateTrunk(pb.CreateTrunkRequest(trunk=given))
    assert refusal.fields == {
        "trunk.source_addresses[1]": "overlaps 192.0.2.0/24 of trunk one",
        "trunk.source_addresses[3]": "overlaps 2001:db8::/32 of trunk one",
    }
    await api.CreateTrunk(pb.CreateTrunkRequest(trunk=trunk("two", "198.51.100.1")))
    with invalid():
        await api.UpdateTrunk(pb.UpdateTrunkRequest(trunk=trunk("two", "192.0.2.9")))
    await api.UpdateTrunk(pb.UpdateTrunkRequest(trunk=trunk("one", "192.0.2.0/25")))
    await api.UpdateTrunk(pb.UpdateTrunkRequest(trunk=trunk("two", "192.0.2.128/25")))


async def test_a_masked_update_leaves_the_rest(api: Stub) -> None:
    await Example.write(api)
    mask = FieldMask(paths=["disabled"])
    updated = await api.UpdateTrunk(
        pb.UpdateTrunkRequest(trunk=types_pb2.Trunk(id="carrier", disabled=True), update_mask=mask)
    )
    assert updated.disabled
    assert list(updated.source_addresses) == ["192.0.2.0/24", "2001:db8::1"]


async def test_an_update_is_judged_as_a_whole(api: Stub) -> None:
    """Without a mask everything is replaced, so what is required must be there."""
    await Example.write(api)
    with invalid() as refusal:
        await api.UpdateNumber(pb.UpdateNumberRequest(number=types_pb2.Number(number="4001234567")))
    assert refusal.fields == {"number.stages": "is required, unless there is a flow"}


async def test_metrics_count_by_method_and_code(api: Stub) -> None:
    counter = REQUESTS.labels("GetTenant", "NOT_FOUND")
    before = counter._value.get()
    assert await reason_of(api.GetTenant(pb.GetTenantRequest(id="nobody"))) == "RESOURCE_NOT_FOUND"
    assert counter._value.get() == before + 1


async def test_a_defect_of_ours_is_internal_without_its_text(
    api: Stub, monkeypatch: pytest.MonkeyPatch, store: MemoryStore
) -> None:
    async def broken(keys: list[str]) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(store, "get_many", broken)
    with refused(StatusCode.INTERNAL, "INTERNAL") as refusal:
        await api.GetTenant(pb.GetTenantRequest(id="acme"))
    assert "secret" not in refusal.message


async def test_an_unanswered_commit_may_have_been_written(
    api: Stub, monkeypatch: pytest.MonkeyPatch, store: MemoryStore
) -> None:
    """The one failure after which something may be stored: the caller is told UNAVAILABLE and looks."""
    commit = store.commit

    async def lose_the_answer(*arguments: Any) -> int:
        await commit(*arguments)
        raise StoreUnavailableError("no answer")

    monkeypatch.setattr(store, "commit", lose_the_answer)
    with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant()))
    assert (await api.GetTenant(pb.GetTenantRequest(id="acme"))).id == "acme"


def test_every_method_of_the_service_is_served() -> None:
    methods = pb.DESCRIPTOR.services_by_name["ProvisioningService"].methods_by_name
    assert set(methods) == set(METHODS)
