"""What time has ended is written down by whoever comes first, however the store behaves meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import structlog
from grpc import StatusCode
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2
from signalbox.provisioning.inventory.sweeper import Sweeper
from signalbox.store.turns import Turns
from support.provisioning import refused
from support.stores import until

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore
    from support.inventory import Site

    from .conftest import Clock

NUMBER = "4001231234"


async def test_it_goes_on_when_the_store_was_away(api: Site, store: MemoryStore, clock: Clock) -> None:
    await api.reserve(NUMBER)
    await api.synced()
    clock.advance(72 * 3600)
    store.available = False
    sweeper = Sweeper(store, api.service.index, clock, Turns(), interval_s=0.01)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(sweeper.run())
        await until(lambda: any(log["event"] == "inventory_sweep_failed" for log in logs), "a failed sweep")
        store.available = True
        await until(lambda: any(log["event"] == "number_changed" for log in logs), "a sweep")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert (await api.search("ends:1234")).total_size == 1


async def test_of_two_sweepers_one_has_something_to_do(api: Site, store: MemoryStore, clock: Clock) -> None:
    for low in range(10):
        await api.reserve(f"40012300{low:02d}")
    await api.synced()
    clock.advance(72 * 3600)
    sweepers = [Sweeper(store, api.service.index, clock, Turns()) for _ in range(3)]
    assert sum(await asyncio.gather(*(one.sweep() for one in sweepers))) == 10
    history = await api.inventory.ListNumberHistory(pb.ListNumberHistoryRequest(number="4001230003"))
    assert [(event.transition, event.actor, event.tenant) for event in history.events] == [
        (inventory_pb2.INVENTORY_TRANSITION_EXPIRE, "", "acme"),
        (inventory_pb2.INVENTORY_TRANSITION_RESERVE, "operator", "acme"),
    ]


async def test_classes_that_are_not_worked_out_yet_are_unavailable(api: Site) -> None:
    await api.synced()
    stock = api.service.index.stocks[10]
    classified, stock.classified = stock.classified, None
    request = pb.SearchNumbersRequest(ordinary=True, page_size=3)
    with refused(StatusCode.UNAVAILABLE, "RULES_NOT_LOADED"):
        await api.inventory.SearchNumbers(request)
    found = await api.inventory.SearchNumbers(pb.SearchNumbersRequest(page_size=3))
    assert [one.terms.number_class for one in found.numbers] == ["", "", ""], "told without them"
    stock.classified = classified
    assert (await api.inventory.SearchNumbers(request)).total_size == 10_000


@pytest.mark.parametrize("method", ["free", "held"])
async def test_nothing_is_found_before_everything_was_read(store: MemoryStore, clock: Clock, method: str) -> None:
    from signalbox.errors import RulesNotLoadedError
    from signalbox.provisioning.inventory.index import Index
    from signalbox.provisioning.inventory.search import Search

    search = Search(store, Index(store), clock)
    request = pb.SearchNumbersRequest() if method == "free" else pb.ListInventoryNumbersRequest()
    with pytest.raises(RulesNotLoadedError):
        await getattr(search, method)(request)
