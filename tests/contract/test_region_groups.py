"""Region groups over both stores: owners, references, and who may not go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.api.types.v1.screening_pb2 import RegionGroup
from signalbox.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    InUseError,
    InvalidFieldError,
    NotFoundError,
)
from signalbox.provisioning import flow_references, listing, references
from signalbox.provisioning.region_groups import RegionGroups
from signalbox.provisioning.writer import Writer
from signalbox.store import codec, keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from signalbox.store.base import Store

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
OWNERS = ["acme", ""]


@pytest.fixture
async def groups(store: Store) -> RegionGroups:
    """Tenant acme, no groups."""
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(types_pb2.Tenant(id="acme")))])
    return RegionGroups(store, Writer(store), lambda: NOW)


def north(tenant: str, **fields: object) -> RegionGroup:
    return RegionGroup(**{"tenant": tenant, "id": "north", "provinces": ["北京", "天津"], **fields})  # type: ignore[arg-type]


async def use(store: Store, tenant: str, group: str) -> None:
    """A flow of the tenant, in force, that branches by the group."""
    node = flows_pb2.RegionNode(branches=[flows_pb2.RegionBranch(groups=[group], next="end")], otherwise="end")
    graph = flows_pb2.FlowGraph(
        entry="where",
        nodes=[
            flows_pb2.FlowNode(id="where", region=node),
            flows_pb2.FlowNode(id="end", hang_up=flows_pb2.HangUpNode()),
        ],
    )
    revision = flows_pb2.FlowRevision(number=1, graph=graph)
    revision.activate_time.FromDatetime(NOW)
    flow = flows_pb2.Flow(tenant=tenant, id="main", revisions=[revision])
    index = flow_references.index(flow, NOW).encode()
    writes = [Put(keys.flow(tenant, "main"), codec.encode(flow)), Put(keys.flow_index(tenant, "main"), index)]
    await store.commit([], [*writes, *await references.counted(store, tenant, b"", index)])


@pytest.mark.parametrize("tenant", OWNERS)
async def test_a_group_is_kept_as_it_was_given(groups: RegionGroups, tenant: str) -> None:
    made = await groups.create(north(tenant, display_name="华北", area_codes=["0471"]))
    assert await groups.get(RegionGroup(tenant=tenant, id="north")) == made
    assert made.create_time.ToDatetime(tzinfo=UTC) == NOW
    with pytest.raises(AlreadyExistsError):
        await groups.create(north(tenant))


async def test_a_tenants_group_and_the_operators_of_one_id_are_two(groups: RegionGroups) -> None:
    await groups.create(north(""))
    await groups.create(north("acme", provinces=["上海"]))
    assert list((await groups.get(RegionGroup(id="north"))).provinces) == ["北京", "天津"]
    assert list((await groups.get(RegionGroup(tenant="acme", id="north"))).provinces) == ["上海"]


@pytest.mark.parametrize("tenant", OWNERS)
async def test_a_change_needs_the_stored_etag_if_any(groups: RegionGroups, tenant: str) -> None:
    made = await groups.create(north(tenant))
    mask = FieldMask(paths=["provinces"])
    changed = await groups.update(north(tenant, provinces=["河北"], etag=made.etag), mask)
    assert list(changed.provinces) == ["河北"]
    with pytest.raises(EtagMismatchError):
        await groups.update(north(tenant, etag=made.etag), mask)
    with pytest.raises(InvalidFieldError, match=r"region_group\.provinces"):
        await groups.update(north(tenant, provinces=[]), mask)


@pytest.mark.parametrize("tenant", OWNERS)
async def test_lists_are_of_one_owner_and_in_order(groups: RegionGroups, tenant: str) -> None:
    other = OWNERS[1 - OWNERS.index(tenant)]
    for id in ("south", "east", "north"):
        await groups.create(north(tenant, id=id))
    await groups.create(north(other, id="west"))
    first, token = await listing.page(groups, pb.ListRegionGroupsRequest(tenant=tenant, page_size=2))
    request = pb.ListRegionGroupsRequest(tenant=tenant, page_size=2, page_token=token)
    rest, token = await listing.page(groups, request)
    assert [group.id for group in (*first, *rest)] == ["east", "north", "south"]
    assert not token


async def test_the_operator_may_have_no_groups(groups: RegionGroups) -> None:
    assert await listing.page(groups, pb.ListRegionGroupsRequest()) == ([], "")


async def test_nothing_belongs_to_a_tenant_that_does_not_exist(groups: RegionGroups) -> None:
    with pytest.raises(NotFoundError, match="tenant nobody"):
        await groups.create(north("nobody"))
    with pytest.raises(NotFoundError, match="tenant nobody"):
        await listing.page(groups, pb.ListRegionGroupsRequest(tenant="nobody"))
    with pytest.raises(NotFoundError, match="region_group acme/north"):
        await groups.get(RegionGroup(tenant="acme", id="north"))


@pytest.mark.parametrize("tenant", ["A", "_", "a/b"])
async def test_a_bad_owner_is_no_key(groups: RegionGroups, tenant: str) -> None:
    with pytest.raises(InvalidFieldError, match="tenant"):
        await groups.get(RegionGroup(tenant=tenant, id="north"))


@pytest.mark.parametrize("tenant", OWNERS)
async def test_a_group_that_a_flow_uses_stays(groups: RegionGroups, store: Store, tenant: str) -> None:
    await groups.create(north(tenant))
    await use(store, "acme", "north")
    with pytest.raises(InUseError, match="flow acme/main"):
        await groups.delete(RegionGroup(tenant=tenant, id="north"), "")
    await use(store, "acme", "south")
    await groups.delete(RegionGroup(tenant=tenant, id="north"), "")
    with pytest.raises(NotFoundError):
        await groups.get(RegionGroup(tenant=tenant, id="north"))


async def test_the_operators_group_may_go_where_the_tenant_has_its_own(groups: RegionGroups, store: Store) -> None:
    await groups.create(north(""))
    await groups.create(north("acme"))
    await use(store, "acme", "north")
    await groups.delete(RegionGroup(id="north"), "")
