"""How many things are done at a time."""

from __future__ import annotations

import asyncio

from signalbox.ivr.outside.slots import Slots
from support.stores import until


class _Work:
    """Takes a slot and keeps it until it is told to go."""

    def __init__(self, slots: Slots, tenant: str) -> None:
        self.has_slot = False
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._run(slots, tenant))

    async def _run(self, slots: Slots, tenant: str) -> None:
        async with slots.taken(tenant):
            self.has_slot = True
            await self.go.wait()


async def test_a_tenant_that_has_all_of_its_slots_waits_and_others_do_not() -> None:
    slots = Slots(10, 2)
    slow = [_Work(slots, "slow") for _ in range(3)]
    await until(lambda: [work.has_slot for work in slow] == [True, True, False])
    other = _Work(slots, "other")
    await until(lambda: other.has_slot)
    assert not slow[2].has_slot
    slow[0].go.set()
    await until(lambda: slow[2].has_slot)
    for work in (*slow, other):
        work.go.set()
        await work.task
    assert slots.tenants == 0


async def test_all_tenants_together_have_so_many_slots() -> None:
    slots = Slots(2, 2)
    works = [_Work(slots, f"tenant-{n}") for n in range(3)]
    await until(lambda: [work.has_slot for work in works] == [True, True, False])
    works[1].go.set()
    await until(lambda: works[2].has_slot)
    for work in works:
        work.go.set()
        await work.task


async def test_who_waits_no_longer_holds_up_nobody() -> None:
    slots = Slots(1, 1)
    first, second, third = (_Work(slots, "a") for _ in range(3))
    await until(lambda: first.has_slot)
    second.task.cancel()
    await asyncio.wait([second.task])
    first.go.set()
    await until(lambda: third.has_slot)
    third.go.set()
    await third.task
    assert not second.has_slot
    assert slots.tenants == 0
