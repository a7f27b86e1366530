"""The records of an object are its history: each begins where the one before it ended, the last ends where it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.provisioning import kinds
from signalbox.store import codec, keys
from signalbox.store.memory import MemoryStore
from signalbox.store.paged import PagedStore
from support import provisioning_race as race
from support.audit import forget, told, waiting
from support.inventory import site
from support.provisioning import Interleaving, serving

if TYPE_CHECKING:
    from signalbox.store.base import Store

MESSAGES = {kind.resource: kind.message for kind in kinds.ALL}


def content(state: audit_pb2.AuditState) -> bytes:
    return state.object.value


async def check_history(store: Store) -> int:
    """What the records say is what the store has; returns how many there are."""
    records = await waiting(store)
    known: dict[tuple[str, str, str], bytes] = {}
    for record in records:
        change = record.change
        name = (change.kind, change.tenant if change.kind != "number" else "", change.id)
        assert known.get(name, b"") == content(change.before), record
        known[name] = content(change.after)
    assert len(
        {(record.revision, record.change.kind, record.change.tenant, record.change.id) for record in records}
    ) == len(records)
    stored = {}
    for prefix in (keys.RULES, keys.API_KEYS):
        for entry in (await store.list(prefix)).entries:
            if not entry.key.startswith(keys.SCREENING_PAGES):
                stored[entry.key] = entry.value
    expected = {codec.key_of(MESSAGES[kind].FromString(value)): value for (kind, _, _), value in known.items() if value}
    assert stored == expected
    return len(records)


@pytest.mark.parametrize("seed", range(5))
async def test_of_many_writers_every_change_is_told_once_and_in_order(seed: int) -> None:
    store = PagedStore(MemoryStore())
    async with AsyncExitStack() as stack:
        stores = [Interleaving(store, seed + n) for n in range(2)]
        replicas = [await stack.enter_async_context(serving(one)) for one in stores]  # type: ignore[arg-type]
        await race.anything_goes(store, replicas, seed, writers=8, writes=25)
    assert await check_history(store) > 20


async def test_what_comes_by_the_passing_of_time_is_the_clocks(clock_start: datetime) -> None:
    store = PagedStore(MemoryStore())
    now = clock_start

    async with site(store, lambda: now) as here:
        await here.fill()
        await here.reserve("4001230001")
        await forget(store)
        now += timedelta(days=100)
        await here.synced()
        await here.service.sweeper.sweep()
        records = await waiting(store)
    assert told(records) == [("inventory_number", "acme", "4001230001", "changed")]
    assert records[0].actor == audit_pb2.AuditActor(name="clock", role=types_pb2.ROLE_UNSPECIFIED)


@pytest.fixture
def clock_start() -> datetime:
    return datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
