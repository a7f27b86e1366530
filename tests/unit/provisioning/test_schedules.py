"""Calendars and schedules: what they refer to, and who refers to them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2
from signalbox.errors import InUseError, InvalidFieldError, NotFoundError
from signalbox.provisioning.flows import Flows
from signalbox.store import keys
from support.provisioning import Interleaving
from support.schedules import World, calendar, create_tenant, day, rules, schedule

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock


@pytest.fixture
async def world(store: MemoryStore, clock: Clock) -> World:
    """Tenants acme and other."""
    await create_tenant(store)
    await create_tenant(store, "other")
    return World(store, clock)


async def in_use(call: Any) -> str:
    """By whom an object is used that an awaited call was to delete."""
    with pytest.raises(InUseError) as caught:
        await call
    return caught.value.metadata["referrer"]


@pytest.mark.parametrize("tenant", ["", "acme"])
async def test_a_calendar_is_kept(world: World, tenant: str) -> None:
    created = await world.calendar("create", calendar("cn", tenant))
    assert await world.calendar("get", calendar("cn", tenant)) == created
    changed = calendar("cn", tenant, day(), day("2026-10-10", 2, works_as=5))
    updated = await world.calendar("update", changed, FieldMask(paths=["days"]))
    assert [one.date for one in updated.days] == ["2026-10-01", "2026-10-10"]
    await world.calendar("delete", calendar("cn", tenant), updated.etag)
    with pytest.raises(NotFoundError, match="calendar acme/cn" if tenant else "calendar cn"):
        await world.calendar("get", calendar("cn", tenant))


async def test_a_calendar_of_nobody_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match="tenant nobody"):
        await world.calendar("create", calendar("cn", "nobody"))
    with pytest.raises(NotFoundError, match="tenant nobody"):
        await world.schedule("create", schedule(tenant="nobody"))


async def test_a_draft_needs_its_calendar(world: World) -> None:
    for call in (
        lambda: world.schedule("create", schedule(draft=rules(calendar="cn"))),
        lambda: world.edit(rules(calendar="cn")),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            await call()
        assert [violation.field for violation in caught.value.violations] == ["schedule.draft.calendar"]
        await world.schedule("put", schedule(draft=rules()))
    await world.calendar("create", calendar("cn", "other"))
    with pytest.raises(InvalidFieldError, match="neither tenant acme nor the operator"):
        await world.edit(rules(calendar="cn"))


async def test_a_calendar_in_use_cannot_be_deleted(world: World) -> None:
    await world.calendar("create", calendar("own", "acme"))
    await world.calendar("create", calendar("cn"))
    await world.schedule("create", schedule(draft=rules(calendar="own")))
    await world.schedule("create", schedule("night", draft=rules(calendar="cn")))
    assert await in_use(world.calendar("delete", calendar("own", "acme"), "")) == "schedule acme/hours"
    assert await in_use(world.calendar("delete", calendar("cn"), "")) == "schedule acme/night"
    await world.schedule("delete", schedule(), "")
    await world.schedule("delete", schedule("night"), "")
    await world.calendar("delete", calendar("own", "acme"), "")
    await world.calendar("delete", calendar("cn"), "")
    assert not (await world.store.list(keys.SCHEDULE_INDEX)).entries


async def test_a_tenant_s_own_calendar_goes_before_the_operator_s(world: World) -> None:
    await world.calendar("create", calendar("cn"))
    await world.calendar("create", calendar("cn", "acme"))
    await world.schedule("create", schedule(draft=rules(calendar="cn")))
    await world.calendar("delete", calendar("cn"), "")
    assert await in_use(world.calendar("delete", calendar("cn", "acme"), "")) == "schedule acme/hours"


async def test_a_calendar_of_another_tenant_is_not_in_use(world: World) -> None:
    await world.calendar("create", calendar("cn", "acme"))
    await world.calendar("create", calendar("cn", "other"))
    await world.schedule("create", schedule(draft=rules(calendar="cn")))
    await world.calendar("delete", calendar("cn", "other"), "")


async def test_what_is_in_force_or_to_come_uses_its_calendar(world: World, clock: Clock) -> None:
    for id in ("old", "new"):
        await world.calendar("create", calendar(id))
    await world.schedule("create", schedule(draft=rules(calendar="old")))
    await world.activate()
    await world.edit(rules(calendar="new"))
    await world.activate(clock.now + timedelta(hours=1))
    await world.edit(rules())
    for id in ("old", "new"):
        assert await in_use(world.calendar("delete", calendar(id), "")) == "schedule acme/hours"
    # Superseded without a write of the schedule: only time has gone by.
    clock.advance(3600)
    await world.calendar("delete", calendar("old"), "")
    assert await in_use(world.calendar("delete", calendar("new"), "")) == "schedule acme/hours"


async def test_a_schedule_in_use_by_a_flow_cannot_be_deleted(world: World) -> None:
    await world.schedule("put", schedule())
    graph = flows_pb2.FlowGraph(entry="time")
    node = graph.nodes.add(id="time").schedule
    node.schedule, node.otherwise = "hours", "end"
    graph.nodes.add(id="end").hang_up.SetInParent()
    await world.step(Flows, "create", flows_pb2.Flow(tenant="acme", id="main", draft=graph))
    await world.step(Flows, "activate", pb.ActivateFlowRequest(tenant="acme", id="main"))
    assert await in_use(world.schedule("delete", schedule(), "")) == "flow acme/main"
    await world.step(Flows, "delete", flows_pb2.Flow(tenant="acme", id="main"), "")
    await world.schedule("delete", schedule(), "")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("owner", ["", "acme"])
async def test_no_schedule_is_left_without_its_calendar(
    store: MemoryStore, clock: Clock, owner: str, seed: int
) -> None:
    """Deleting a calendar and coming to use it, at once, by two services: one of them is refused."""
    await create_tenant(store)
    one, other = (World(Interleaving(store, seed * 2 + n), clock) for n in range(2))  # type: ignore[arg-type]
    await one.calendar("create", calendar("cn", owner))
    done = await asyncio.gather(
        one.calendar("delete", calendar("cn", owner), ""),
        other.schedule("create", schedule(draft=rules(calendar="cn"))),
        return_exceptions=True,
    )
    kept = await store.get(keys.calendar(owner, "cn")) is not None
    used = await store.get(keys.schedule("acme", "hours")) is not None
    assert kept == used
    assert [type(error) for error in done if isinstance(error, BaseException)] == [
        InUseError if kept else InvalidFieldError
    ]
