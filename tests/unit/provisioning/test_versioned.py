"""Drafts, revisions and rollbacks, on schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.domain.schedules import Schedule, period_at
from signalbox.errors import EtagMismatchError, InvalidFieldError, NotFoundError
from signalbox.provisioning import validate_schedules, versioned
from signalbox.routing import convert_schedules
from signalbox.store import keys
from signalbox.store.base import MAX_COMMIT_BYTES
from signalbox.store.memory import MemoryStore
from structlog.testing import capture_logs
from support.schedules import World, calendar, create_tenant, moment, rules, schedule, weekly

from .conftest import Clock

if TYPE_CHECKING:
    from signalbox.api.types.v1 import schedules_pb2


@pytest.fixture
async def world(store: MemoryStore, clock: Clock) -> World:
    """Tenant acme with schedule hours and its draft."""
    await create_tenant(store)
    world = World(store, clock)
    await world.schedule("create", schedule())
    return world


def named(name: str) -> schedules_pb2.ScheduleRules:
    """Rules that can be told apart."""
    return rules(weekly(name, start="00:00", end="24:00"))


def in_force(stored: schedules_pb2.Schedule, clock: Clock, later_s: float = 0) -> str:
    """What calls obey then: the period that is now in every rule of :func:`named`."""
    converted: Schedule = convert_schedules.schedule(stored)
    now = clock.now.timestamp() + later_s
    found = converted.rules_at(now)
    return period_at(found, None, convert_schedules.zone("UTC"), now) if found else ""


def numbers(stored: schedules_pb2.Schedule) -> list[int]:
    return [revision.number for revision in stored.revisions]


async def fails(call: Any) -> dict[str, str]:
    """The violations that an awaited call is refused for."""
    with pytest.raises(InvalidFieldError) as caught:
        await call
    return {violation.field: violation.reason for violation in caught.value.violations}


async def test_no_call_obeys_a_draft(world: World, clock: Clock) -> None:
    stored = await world.edit(named("draft"))
    assert in_force(stored, clock, 1e6) == ""
    assert not stored.revisions


async def test_an_activated_draft_is_in_force_at_once(world: World, clock: Clock) -> None:
    await world.edit(named("one"))
    stored = await world.activate()
    assert in_force(stored, clock) == "one"
    assert in_force(stored, clock, -0.001) == ""
    assert (stored.revisions[0].number, stored.revisions[0].rules) == (1, stored.draft)
    assert stored.revisions[0].create_time.ToDatetime() == clock.now.replace(tzinfo=None)
    assert stored.update_time == stored.revisions[0].create_time
    assert stored == await world.schedule("get", stored)


async def test_editing_after_activation_changes_no_call(world: World, clock: Clock) -> None:
    await world.edit(named("one"))
    await world.activate()
    clock.advance(1)
    stored = await world.edit(named("two"))
    assert in_force(stored, clock) == "one"
    assert in_force(await world.activate(), clock) == "two"


async def test_a_draft_is_activated_at_a_set_time(world: World, clock: Clock) -> None:
    await world.edit(named("one"))
    await world.activate()
    await world.edit(named("two"))
    stored = await world.activate(clock.now + timedelta(hours=1))
    assert [in_force(stored, clock, later) for later in (0, 3599.999, 3600)] == ["one", "one", "two"]


async def test_activating_again_changes_nothing(world: World, clock: Clock) -> None:
    first = await world.activate()
    clock.advance(60)
    again = await world.activate()
    assert (numbers(again), again.etag) == ([1], first.etag)
    assert numbers(await world.activate(clock.now + timedelta(hours=1))) == [1]


async def test_a_time_in_the_past_is_refused(world: World, clock: Clock) -> None:
    found = await fails(world.activate(clock.now - timedelta(microseconds=1)))
    assert list(found) == ["activate_time"]
    assert "past" in found["activate_time"]
    assert numbers(await world.activate(clock.now)) == [1]


async def test_a_time_that_is_none_is_refused(world: World) -> None:
    for seconds, nanos in ((253_402_300_800, 0), (2**62, 0), (4_000_000_000, -1), (4_000_000_000, 1_000_000_000)):
        request = pb.ActivateScheduleRequest(tenant="acme", id="hours")
        request.activate_time.seconds, request.activate_time.nanos = seconds, nanos
        assert list(await fails(world.schedule("activate", request))) == ["activate_time"]


async def test_a_time_must_follow_all_that_is_to_come(world: World, clock: Clock) -> None:
    await world.activate(clock.now + timedelta(hours=1))
    await world.edit(named("two"))
    for time in (None, clock.now + timedelta(minutes=59), clock.now + timedelta(hours=1)):
        found = await fails(world.activate(time))
        assert "revision 1 comes in force" in found["activate_time"]
    await world.activate(clock.now + timedelta(hours=2))
    clock.advance(7200)
    await world.edit(named("three"))
    assert in_force(await world.activate(), clock) == "three"


async def test_clocks_of_replicas_may_differ_a_little(world: World, store: MemoryStore, clock: Clock) -> None:
    """One that is behind does not take what was just activated elsewhere for something to come."""
    behind = World(store, lambda: clock.now - versioned.CLOCKS_DIFFER)
    await world.edit(named("one"))
    await world.activate()
    await behind.edit(named("two"))
    stored = await behind.activate()
    assert (numbers(stored), in_force(stored, clock)) == ([1, 2], "two")
    stored = await behind.rollback(1)
    assert (numbers(stored), in_force(stored, clock)) == ([1, 2, 3], "one")
    far_behind = World(store, lambda: clock.now - versioned.CLOCKS_DIFFER - timedelta(microseconds=1))
    assert "comes in force" in (await fails(far_behind.activate()))["activate_time"]


async def test_few_revisions_may_be_to_come(world: World, clock: Clock) -> None:
    for hour in range(versioned.TO_COME_MAX):
        await world.edit(named(f"n{hour}"))
        await world.activate(clock.now + timedelta(hours=1 + hour))
    await world.edit(named("more"))
    assert "to come already" in (await fails(world.activate(clock.now + timedelta(days=9))))["activate_time"]


async def test_nothing_can_be_activated_without_a_draft(world: World) -> None:
    await world.schedule("create", schedule("bare", draft=None))
    request = pb.ActivateScheduleRequest(tenant="acme", id="bare")
    assert list(await fails(world.schedule("activate", request))) == ["draft"]


async def test_a_rollback_puts_an_earlier_revision_in_force(world: World, clock: Clock) -> None:
    for name in ("one", "two"):
        await world.edit(named(name))
        await world.activate()
        clock.advance(1)
    stored = await world.rollback(1)
    assert (numbers(stored), in_force(stored, clock), in_force(stored, clock, -0.5)) == ([1, 2, 3], "one", "two")
    assert stored.draft == named("two"), "what was being edited is not lost"


async def test_a_rollback_takes_back_what_was_to_come(world: World, clock: Clock) -> None:
    await world.edit(named("one"))
    await world.activate()
    await world.edit(named("two"))
    await world.activate(clock.now + timedelta(hours=1))
    clock.advance(1)
    stored = await world.rollback(1)
    assert numbers(stored) == [1, 3], "the number of what was taken back is not given again"
    assert in_force(stored, clock) == in_force(stored, clock, 1e6) == "one"


async def test_a_rollback_to_what_is_in_force_changes_nothing(world: World) -> None:
    first = await world.activate()
    assert await world.rollback(1) == first


async def test_a_rollback_needs_a_revision_that_was_in_force(world: World, clock: Clock) -> None:
    await world.activate(clock.now + timedelta(hours=1))
    assert list(await fails(world.rollback(0))) == ["revision"]
    assert "to come" in (await fails(world.rollback(1)))["revision"]
    with pytest.raises(NotFoundError, match="schedule revision acme/hours/7"):
        await world.rollback(7)


async def test_a_rollback_is_refused_if_the_rules_are_no_longer_good(world: World, clock: Clock) -> None:
    await world.calendar("create", calendar())
    await world.edit(rules(calendar="cn"))
    await world.activate()
    clock.advance(1)
    await world.edit(named("two"))
    await world.activate()
    clock.advance(1)
    await world.calendar("delete", calendar(), "")
    assert list(await fails(world.rollback(1))) == ["revision.calendar"]


async def test_etags_are_respected(world: World) -> None:
    first = await world.activate()
    with pytest.raises(EtagMismatchError):
        await world.activate(etag="1")
    with pytest.raises(EtagMismatchError):
        await world.rollback(1, etag="1")
    assert (await world.rollback(1, etag=first.etag)).etag == first.etag


async def test_what_does_not_exist_is_not_found(world: World) -> None:
    for method, request in (
        ("activate", pb.ActivateScheduleRequest(tenant="acme", id="nothing")),
        ("rollback", pb.RollbackScheduleRequest(tenant="acme", id="nothing", revision=1)),
    ):
        with pytest.raises(NotFoundError, match="schedule acme/nothing"):
            await world.schedule(method, request)
    assert list(await fails(world.schedule("activate", pb.ActivateScheduleRequest()))) == ["tenant", "id"]


async def test_revisions_are_written_by_the_service_alone(world: World, clock: Clock) -> None:
    forged = schedule("forged")
    forged.revisions.add(number=9, activate_time=moment(clock.now), rules=named("forged"))
    assert not (await world.schedule("create", forged)).revisions
    await world.activate()
    changed = schedule(display_name="Hours")
    changed.revisions.add(number=9, activate_time=moment(clock.now), rules=named("forged"))
    for mask in (FieldMask(), FieldMask(paths=["display_name", "revisions"])):
        stored = await world.schedule("update", changed, mask)
        assert (stored.display_name, numbers(stored)) == ("Hours", [1])


async def test_the_newest_revisions_are_kept(world: World, clock: Clock) -> None:
    for number in range(1, versioned.REVISIONS_KEPT + 6):
        await world.edit(named(f"n{number}"))
        stored = await world.activate()
        clock.advance(versioned.CALLS_GO_ON_S)
    assert numbers(stored) == list(range(6, versioned.REVISIONS_KEPT + 6))


async def test_a_revision_is_kept_for_as_long_as_calls_may_go_on_with_it(world: World, clock: Clock) -> None:
    """However often others are activated meanwhile."""
    await world.activate()
    clock.advance(7 * 86_400)
    for number in range(3 * versioned.REVISIONS_KEPT):
        await world.edit(named(f"n{number}"))
        with capture_logs() as logs:
            stored = await world.activate()
        assert "revisions_given_up" not in [entry["event"] for entry in logs]
        clock.advance(60)
    # The first was in force, for a week, until the second came an hour ago.
    assert numbers(stored) == list(range(1, 3 * versioned.REVISIONS_KEPT + 2))
    clock.advance(versioned.CALLS_GO_ON_S)
    await world.edit(named("next-day"))
    stored = await world.activate()
    assert len(stored.revisions) == versioned.REVISIONS_KEPT


async def test_what_is_in_force_is_kept_however_much_is_to_come(world: World, clock: Clock) -> None:
    await world.activate()
    for hour in range(versioned.TO_COME_MAX):
        await world.edit(named(f"n{hour}"))
        stored = await world.activate(clock.now + timedelta(hours=hour + 1))
    assert numbers(stored)[0] == 1


async def test_an_object_fits_into_a_commit(
    world: World, store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate_schedules, "PERIODS_MAX", 10_000)

    def large(name: str, size: int = versioned.CONTENT_BYTES_MAX) -> schedules_pb2.ScheduleRules:
        found = rules(calendar="cn")
        while found.ByteSize() < size - 200:
            found.periods.add(name=name).holidays.names.append("x" * 60)
        return found

    await world.calendar("create", calendar())
    with capture_logs() as logs:
        for number in range(versioned.REVISIONS_KEPT):
            await world.edit(large(f"n{number}"))
            stored = await world.activate()
            clock.advance(1)
    told = [entry["up_to_revision"] for entry in logs if entry["event"] == "revisions_given_up"]
    assert told == list(range(1, stored.revisions[0].number))
    assert 5 < len(stored.revisions) < versioned.REVISIONS_KEPT
    for hour in range(versioned.TO_COME_MAX):
        await world.edit(large(f"m{hour}"))
        await world.activate(clock.now + timedelta(hours=hour + 1))
    assert list(await fails(world.edit(large("x", versioned.CONTENT_BYTES_MAX + 500)))) == ["schedule.draft"]
    entry = await store.get(keys.schedule("acme", "hours"))
    assert entry is not None
    assert len(entry.value) < MAX_COMMIT_BYTES - 64 * 1024


# Seconds of more than CLOCKS_DIFFER apart: what is less to come counts as activated at once.
seconds = st.integers(0, 5).map(lambda n: 2 * n)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 3)),
        st.tuples(st.just("activate"), st.one_of(st.none(), seconds)),
        st.tuples(st.just("rollback"), st.integers(1, 6)),
        st.tuples(st.just("wait"), seconds),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(steps)
async def test_calls_obey_what_a_plain_history_says(steps: list[tuple[str, Any]]) -> None:
    """The reference: a list of (time, name), of which what is to come is thrown away by a rollback."""
    store, clock = MemoryStore(), Clock()
    await create_tenant(store)
    world = World(store, clock)
    draft = "n0"
    stored = await world.schedule("create", schedule(draft=named(draft)))
    history: list[tuple[Any, str]] = []
    by_number: dict[int, str] = {}
    for step, value in steps:
        try:
            if step == "wait":
                clock.advance(value)
            elif step == "edit":
                draft = f"n{value}"
                stored = await world.edit(named(draft))
            elif step == "activate":
                time = clock.now + timedelta(seconds=value or 0)
                stored = await world.activate(None if value is None else time)
                if not history or history[-1][1] != draft:
                    history.append((time, draft))
            else:
                stored = await world.rollback(value)
                to_come = [one for one in history if one[0] > clock.now]
                history = [one for one in history if one[0] <= clock.now]
                if to_come or history[-1][1] != by_number[value]:
                    history.append((clock.now, by_number[value]))
        except (InvalidFieldError, NotFoundError):
            continue
        by_number |= {one.number: one.rules.periods[0].name for one in stored.revisions}
        for later in range(12):
            now = clock.now + timedelta(seconds=later)
            come = [name for time, name in history if time <= now]
            assert in_force(stored, clock, later) == (come[-1] if come else "")
        assert numbers(stored) == sorted(set(numbers(stored)))
    await store.close()
