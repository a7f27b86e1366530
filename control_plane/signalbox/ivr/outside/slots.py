"""How many things are done at a time, in all and for each tenant."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Slots:
    """``most`` at a time, ``each`` of them for one tenant. Who finds none free waits."""

    def __init__(self, most: int, each: int) -> None:
        self._each = each
        self._all = asyncio.Semaphore(most)
        self._tenants: dict[str, _Tenant] = {}

    @property
    def tenants(self) -> int:
        """Tenants that have a slot or wait for one."""
        return len(self._tenants)

    @asynccontextmanager
    async def taken(self, tenant: str) -> AsyncGenerator[None]:
        """Have a slot, as soon as there is one."""
        mine = self._tenants.setdefault(tenant, _Tenant(self._each))
        mine.users += 1
        try:
            async with mine.slots, self._all:
                yield
        finally:
            mine.users -= 1
            if not mine.users:
                del self._tenants[tenant]


class _Tenant:
    """Slots of a tenant; ``users`` have one or wait for one."""

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.users = 0
