"""What is registered in the store, as workers follow it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain import media
from signalbox.ivr.live import Followed
from signalbox.store import keys
from signalbox.store.base import Put
from signalbox.store.livenodes import LiveNodes
from signalbox.store.memory import MemoryStore
from structlog.testing import capture_logs
from support.routing import delete, node, put
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


@asynccontextmanager
async def followed(store: MemoryStore) -> AsyncIterator[list[list[str]]]:
    """The ids of the media nodes, each time that something changed."""
    seen: list[list[str]] = []

    async def changed(nodes: Collection[routing_pb2.MediaNode]) -> None:
        seen.append(sorted(one.id for one in nodes))

    nodes: LiveNodes[routing_pb2.MediaNode] = LiveNodes("media", media.takes_calls)
    task = asyncio.create_task(Followed(store, keys.LIVE_MEDIA, routing_pb2.MediaNode, nodes, changed).run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_those_that_are_there_come_first_and_then_each_change() -> None:
    store = MemoryStore()
    await put(store, node(1), node(2))
    async with followed(store) as seen:
        await until(lambda: seen == [["m1", "m2"]])
        await put(store, node(3))
        await until(lambda: seen[-1] == ["m1", "m2", "m3"])
        await delete(store, node(1))
        await until(lambda: seen[-1] == ["m2", "m3"])


async def test_when_the_last_one_vanishes_calls_go_on_with_it() -> None:
    """Its entry ends when its sidecar loses the store: the rtpengine may be well, and is pinged."""
    store = MemoryStore()
    await put(store, node(1), node(2, draining=True))
    async with followed(store) as seen:
        await until(lambda: bool(seen))
        await delete(store, node(1))
        await until(lambda: len(seen) == 2)
        assert seen[-1] == ["m1", "m2"]


async def test_an_entry_that_cannot_be_read_is_told_and_left_out() -> None:
    store = MemoryStore()
    with capture_logs() as logs:
        await store.commit([], [Put(keys.live_media("m9"), b"\xff")])
        await put(store, node(1))
        async with followed(store) as seen:
            await until(lambda: seen == [["m1"]])
            await store.commit([], [Put(keys.live_media("m8"), node(7).SerializeToString())])
            await until(lambda: len(seen) == 2)
            assert seen[-1] == ["m1"]
    damaged = [log["key"] for log in logs if log["event"] == "stored_value_damaged"]
    assert damaged == ["live/media/m9", "live/media/m8"]
