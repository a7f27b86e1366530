"""Stores for tests: EtcdStore on a test server, and what the tests of stores do again and again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from signalbox.errors import StoreUnavailableError
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.store.base import Change, Put, Store

    from support.etcd import EtcdServer

PROGRESS_S = 0.2
DEADLINE_S = 15.0

PAGED = re.compile("[a-z]/|k|(?:rules/lines|rules/numbers|index/numbers)/[^/]+/")
"""Keys that lie in pages in tests: those that the product has in pages, and such as p/1 and k001."""

_prefixes = itertools.count(1)


def open_etcd(*servers: EtcdServer, **settings: Any) -> EtcdStore:
    """A store on these members, below a key prefix of its own unless ``prefix`` is given, with quick progress."""
    given = {"endpoints": [server.endpoint for server in servers], "prefix": f"/test-{next(_prefixes)}/", **settings}
    return EtcdStore.open(EtcdSettings(**given), progress_interval_s=PROGRESS_S)


async def written(store: Store, put: Put, deadline_s: float = DEADLINE_S) -> None:
    """Try until it is: a member that was away, or is at another address, is not found at once."""
    async with asyncio.timeout(deadline_s):
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await store.commit([], [put])
                return
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], object], what: str = "the condition", deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``condition()`` is true; fails after the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not condition():
        assert loop.time() < end, f"{what} did not come within {deadline_s} s"
        await asyncio.sleep(0.01)


async def watch_until(
    store: Store, prefix: str, from_revision: int, done: Callable[[list[Change]], object]
) -> list[Change]:
    """All changes from a revision on, until ``done(changes)`` is true (asked after each batch)."""
    changes: list[Change] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(store.watch(prefix, from_revision)) as batches:
        async for batch, _ in batches:
            changes += batch
            if done(changes):
                return changes
    raise AssertionError("the watch ended")
