"""Imported rows agree with the inventory as other writes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.bulk_import import Import, Roomy
from signalbox.provisioning.bulk_pace import Pace
from support.bulk import OUTCOMES, requests, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.api.provisioning.v1 import bulk_pb2
    from support.inventory import Site

    from .conftest import Clock


async def imported(site: Site, clock: Clock, *rows: bulk_pb2.NumberRow) -> list[bulk_pb2.ImportResult]:
    async def stream() -> AsyncIterator[bulk_pb2.ImportNumbersRequest]:
        for request in requests(rows):
            yield request

    handler = Import(site.store, Pace(0, 1.0), clock, Roomy(), 0.0)
    responses = handler(Principal(OPERATOR), stream())
    return [result async for response in responses for result in response.results]


async def test_rows_are_held_to_what_the_inventory_says(api: Site, clock: Clock) -> None:
    await api.reserve("4001230001")
    await api.activate("4001230002")
    await api.activate("4001230003", "best")
    rows = [
        row("4001230001", "13800001234"),
        row("4001230002", "13800001234"),
        row("4001230002", "13800001234", state="NUMBER_STATE_SUSPENDED"),
        row("4001230003", "13800001234"),
        row("4001230004", "13800001234"),
        row("4009990000", "13800001234"),
    ]
    results = await imported(api, clock, *rows)
    assert [OUTCOMES[one.outcome] for one in results] == [
        "refused",
        "updated",
        "refused",
        "refused",
        "created",
        "created",
    ]
    assert [one.reason for one in results[:3:2]] == [types_pb2.TRANSITION_REFUSED] * 2
    assert "reserved" in results[0].message


async def test_what_happens_in_the_inventory_meanwhile_counts(api: Site, clock: Clock) -> None:
    """A number that is reserved between the reading of a row and its commit."""
    commit = api.store.commit
    reserved = False

    async def raced(*arguments: object) -> int:
        nonlocal reserved
        if not reserved:
            reserved = True
            await api.reserve("4001230001")
        return await commit(*arguments)  # type: ignore[arg-type]

    api.store.commit = raced  # type: ignore[method-assign, assignment]
    (result,) = await imported(api, clock, row("4001230001", "13800001234"))
    assert (OUTCOMES[result.outcome], result.reason) == ("refused", types_pb2.TRANSITION_REFUSED)
