"""Writes down what time has done: reservations that expired, quarantines that ended.

They count as ended for whoever comes next, written or not. This makes them be found as free, and gives the tenant's
count back. Every provisioning process does it; who comes second finds nothing to do.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from signalbox.domain.inventory import Actor, Facts, change, due
from signalbox.provisioning.draft import Draft, Transactions
from signalbox.provisioning.inventory.pagework import PageWork
from signalbox.provisioning.sweeping import sweeping
from signalbox.store import keys

if TYPE_CHECKING:
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.inventory.index import Index
    from signalbox.store.base import Store
    from signalbox.store.turns import Turns

INTERVAL_S = 5.0
AT_ONCE = 30
"""Numbers of a page in one commit: each may be another tenant's, with a fence and a count."""


class Sweeper:
    """Looks at what is due."""

    def __init__(self, store: Store, index: Index, clock: Clock, turns: Turns, interval_s: float = INTERVAL_S) -> None:
        """``turns``: the queues of this process at pages."""
        self._transactions = Transactions(store)
        self._index = index
        self._clock = clock
        self._turns = turns
        self._interval_s = interval_s

    async def run(self) -> None:
        """Long-lived coroutine."""
        await sweeping(self.sweep, self._interval_s, "inventory_sweep_failed")

    async def sweep(self) -> int:
        """End all that is due; returns how many numbers that were. Raises what the store raises."""
        ended = 0
        for key in self._index.due(int(self._clock().timestamp())):
            work = functools.partial(self._page, key=key)
            async with self._turns.at(key):
                while done := (await self._transactions.run(work))[0]:
                    ended += done
        return ended

    async def _page(self, draft: Draft, key: str) -> int:
        now = int(self._clock().timestamp())
        work = await PageWork.open(draft, keys.last_part(key) + "00")
        ended = 0
        for number, holding in work.page.numbers():
            transition = due(holding, now)
            if transition is not None and ended < AT_ONCE:
                work.record(number, transition, change(holding, transition, Actor.CLOCK, Facts(now)))
                ended += 1
        await work.close()
        return ended
