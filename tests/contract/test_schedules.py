"""Calendars and schedules on each store: what is written is read back, and references hold under concurrency."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import EtagMismatchError, InUseError, InvalidFieldError
from signalbox.store import codec, keys
from support.schedules import World, calendar, create_tenant, rules, schedule, weekly

if TYPE_CHECKING:
    from signalbox.api.types.v1 import schedules_pb2
    from signalbox.store.base import Store


@pytest.fixture
async def world(store: Store) -> World:
    """Tenant acme."""
    await create_tenant(store)
    return World(store)


async def test_a_schedule_through_its_life(world: World) -> None:
    await world.calendar("create", calendar("cn"))
    await world.schedule("create", schedule(draft=rules(calendar="cn")))
    first = await world.activate()
    edited = await world.edit(rules(weekly("late", start="18:00", end="02:00")), first.etag)
    await world.activate(datetime.now(UTC) + timedelta(hours=1), edited.etag)
    back = await world.rollback(1)
    assert [revision.number for revision in back.revisions] == [1, 3]
    entry = await world.store.get(keys.schedule("acme", "hours"))
    assert entry is not None
    assert codec.decode_any(entry) == back
    listing = await world.store.list(keys.SCHEDULE_INDEX)
    assert [(entry.key, entry.value) for entry in listing.entries] == [
        (keys.schedule_index("acme", "hours"), b"calendar:cn")
    ]
    await world.schedule("delete", schedule(), back.etag)
    await world.calendar("delete", calendar("cn"), "")
    assert not (await world.store.list(keys.SCHEDULE_INDEX)).entries


@pytest.mark.parametrize("owner", ["", "acme"])
async def test_no_schedule_is_left_without_its_calendar(world: World, store: Store, owner: str) -> None:
    other = World(store)
    for number in range(10):
        id, name = f"c{number}", f"s{number}"
        await world.calendar("create", calendar(id, owner))
        done = await asyncio.gather(
            world.calendar("delete", calendar(id, owner), ""),
            other.schedule("create", schedule(name, draft=rules(calendar=id))),
            return_exceptions=True,
        )
        kept = await store.get(keys.calendar(owner, id)) is not None
        assert kept == (await store.get(keys.schedule("acme", name)) is not None)
        refusals = [type(error) for error in done if isinstance(error, BaseException)]
        assert refusals == [InUseError if kept else InvalidFieldError]


async def test_of_two_activations_with_one_etag_one_is_refused(world: World, store: Store) -> None:
    created = await world.schedule("create", schedule())
    done = await asyncio.gather(
        *(World(store).activate(etag=created.etag) for _ in range(4)),
        return_exceptions=True,
    )
    stored: schedules_pb2.Schedule = await world.schedule("get", schedule())
    assert [revision.number for revision in stored.revisions] == [1]
    assert sorted(type(one).__name__ for one in done) == [*[EtagMismatchError.__name__] * 3, "Schedule"]


async def test_activations_at_once_get_numbers_of_their_own(world: World, store: Store) -> None:
    """Each service edits and activates; whatever the order, numbers and times only grow."""
    await world.schedule("create", schedule())

    async def change(number: int) -> None:
        own = World(store)
        await own.edit(rules(weekly(f"p{number}")))
        await own.activate()

    await asyncio.gather(*(change(number) for number in range(5)))
    stored: schedules_pb2.Schedule = await world.schedule("get", schedule())
    found = [revision.number for revision in stored.revisions]
    times = [revision.activate_time.ToNanoseconds() for revision in stored.revisions]
    assert found == list(range(1, len(found) + 1))
    assert times == sorted(times)
    assert stored.revisions[-1].rules == stored.draft
