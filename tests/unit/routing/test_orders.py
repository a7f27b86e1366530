"""What an edge tells of operators' orders, as the audit log gets it."""

from __future__ import annotations

from typing import Any

import pytest
from signalbox.api.routing.v1.routing_pb2 import RecordOrderRequest
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import InvalidFieldError
from signalbox.routing import orders
from signalbox.store.memory import MemoryStore
from support import audit


def order(**changes: Any) -> RecordOrderRequest:
    fields = {"id": "0123456789abcdef", "edge": "edge-1", "call_id": "edge-1-1-1-1", "actor": "user alice", **changes}
    made = RecordOrderRequest(**fields)
    if not made.HasField("time"):
        made.time.FromSeconds(1_795_318_705)
    return made


async def test_an_order_is_a_record_of_who_ended_which_call() -> None:
    store = MemoryStore()
    await orders.record(order(), store)
    [record] = await audit.waiting(store)
    assert (record.actor.name, record.actor.role, record.actor.peer) == (
        "user alice",
        types_pb2.ROLE_OPERATOR,
        "edge edge-1",
    )
    assert (record.method, record.change.kind, record.change.id, record.change.ended) == (
        "HangUp",
        "call",
        "edge-1-1-1-1",
        True,
    )
    assert record.time.seconds == 1_795_318_705


async def test_an_order_that_is_told_twice_is_one() -> None:
    store = MemoryStore()
    for _ in range(2):
        await orders.record(order(), store)
    assert len(await audit.waiting(store)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "../../rules/x" * 2),
        ("edge", ""),
        ("call_id", ""),
        ("call_id", "x" * 129),
        ("actor", ""),
        ("actor", "x" * 129),
        ("time", {"seconds": 2**60}),
    ],
)
async def test_what_is_no_order_is_not_recorded(field: str, value: Any) -> None:
    store = MemoryStore()
    with pytest.raises(InvalidFieldError) as caught:
        await orders.record(order(**{field: value}), store)
    assert [one.field for one in caught.value.violations] == [field]
    assert not await audit.waiting(store)
