"""Knows whether database, object store and etcd are there, from asking each of them over and over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from signalbox.errors import SignalboxError
from signalbox.recorder.outages import Need, needed
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from signalbox.catalog.catalog import Catalog
    from signalbox.recorder.metrics import RecorderMetrics
    from signalbox.recorder.outages import Outages
    from signalbox.store.base import Store
    from signalbox.store.objectsplace import ObjectsPlace

INTERVAL_S = 1.0
TIMEOUT_S = 15.0
FRESH_S = 30.0
"""Ready: each has answered within this time, and has not failed since."""


class Probe:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(
        self, catalog: Catalog, store: Store, place: ObjectsPlace, outages: Outages, metrics: RecorderMetrics
    ) -> None:
        self._outages = outages
        self._metrics = metrics
        self._questions: dict[Need, Callable[[], Awaitable[object]]] = {
            Need.DATABASE: catalog.ping,
            Need.ETCD: lambda: store.get(keys.OBJECTS_ID),
            Need.OBJECTS: place.check,
        }
        self._answered: dict[Need, float] = {}
        self._failed: set[Need] = set()
        for need in Need:
            metrics.away.labels(need.value)

    async def run(self) -> None:
        """Long-lived coroutine."""
        async with asyncio.TaskGroup() as group:
            for need in self._questions:
                group.create_task(self._ask_on(need), name=f"probe-{need}")

    async def ask(self, need: Need) -> None:
        """Ask for one."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._questions[need]()
        except (SignalboxError, TimeoutError) as error:
            self._failed.add(need)
            # Which object store it should be is asked of etcd.
            self._outages.probed(needed(error) or need, error)
        else:
            self._failed.discard(need)
            self._answered[need] = time.monotonic()
            self._outages.probed(need, None)

    @property
    def database_there(self) -> bool:
        """True while the database answers."""
        return Need.DATABASE in self._answered and Need.DATABASE not in self._failed

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Whether all are there, and which."""
        limit = time.monotonic() - FRESH_S
        there = {
            f"{need}_there": need not in self._failed and self._answered.get(need, 0.0) > limit
            for need in self._questions
        }
        return all(there.values()), there

    async def _ask_on(self, need: Need) -> None:
        while True:
            await self.ask(need)
            away = set(self._outages.away())
            for each in Need:
                self._metrics.away.labels(each.value).set(each in away)
            await asyncio.sleep(INTERVAL_S)
