"""Flows and what they refer to, on every store: whoever comes first, nothing in force refers to what is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, screening_pb2, types_pb2
from signalbox.errors import InUseError, InvalidFieldError
from signalbox.provisioning.apikeys import ApiKeys
from signalbox.provisioning.draft import Transactions
from signalbox.provisioning.flows import Flows
from signalbox.provisioning.line_groups import LineGroups
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.region_groups import RegionGroups
from signalbox.provisioning.writer import Writer
from signalbox.store import codec, keys
from support.flows import dial, flow, graph, put, world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.provisioning.draft import Draft
    from signalbox.store.base import Store

RINGS_A = graph("a", a=dial("a"))
RINGS_SALES = graph("a", a={"dial": {"lineGroup": "sales"}})
BY_REGION = graph(
    "a", a={"region": {"branches": [{"groups": ["north"], "next": "end"}], "otherwise": "end"}}, end={"hangUp": {}}
)
ASKS = graph(
    "a",
    a={"request": {"url": "https://example.com/", "apiKey": "crm", "otherwise": "end", "failed": "end"}},
    end={"hangUp": {}},
)
CRM = types_pb2.ApiKey(tenant="acme", id="crm")
NORTH = screening_pb2.RegionGroup(id="north")
LINE_A = types_pb2.Line(tenant="acme", id="a")
SALES = flows_pb2.LineGroup(tenant="acme", id="sales")


async def outcome(store: Store, work: Callable[[Draft], Awaitable[Any]]) -> str:
    """What became of a request of a process of its own."""
    try:
        await Transactions(store).run(work)
    except (InUseError, InvalidFieldError) as error:
        return type(error).__name__
    return "done"


def activate(draft: Draft) -> Awaitable[Any]:
    return Flows(draft, draft).activate(pb.ActivateFlowRequest(tenant="acme", id="main"))


RACES: dict[str, tuple[flows_pb2.FlowGraph, Any, Any]] = {
    "a line": (RINGS_A, Lines, LINE_A),
    "a line group": (RINGS_SALES, LineGroups, SALES),
    "an API key": (ASKS, ApiKeys, CRM),
    "a region group of the operator": (BY_REGION, RegionGroups, NORTH),
}


@pytest.mark.parametrize("name", RACES)
async def test_of_activation_and_deletion_at_once_one_is_refused(store: Store, name: str) -> None:
    draft, collection, identity = RACES[name]
    for _ in range(5):
        await put(store, *world())
        assert await outcome(store, lambda step: Flows(step, step).create(flow(draft))) == "done"
        done = await asyncio.gather(
            outcome(store, activate), outcome(store, lambda step: collection(step, step).delete(identity, ""))
        )
        assert done in (["done", "InUseError"], ["InvalidFieldError", "done"])
        assert (await store.get(codec.key_of(identity)) is not None) == (done[0] == "done")
        assert await outcome(store, lambda step: Flows(step, step).delete(flow(), "")) == "done"


async def test_a_flow_with_variables_is_activated_as_it_was_written(store: Store) -> None:
    await put(store, *world())
    by_topic = {"variable": "topic", "branches": [{"values": ["", "x 1"], "next": "end"}], "otherwise": "end"}
    draft = graph(
        "note",
        note={"setVariable": {"name": "topic", "value": "{caller} {{1}}", "next": "by"}},
        by={"condition": by_topic},
        end={"hangUp": {}},
    )
    assert await outcome(store, lambda step: Flows(step, step).create(flow(draft))) == "done"
    assert await outcome(store, activate) == "done"
    (revision,) = (await Flows(store, Writer(store)).get(flow())).revisions
    assert revision.graph == draft
    draft.nodes[1].condition.variable = "nothing"
    assert await outcome(store, lambda step: Flows(step, step).create(flow(draft, id="other"))) == "done"
    with pytest.raises(InvalidFieldError, match="no node sets the variable nothing"):
        await Flows(store, Writer(store)).activate(pb.ActivateFlowRequest(tenant="acme", id="other"))


async def test_the_index_goes_with_the_flow(store: Store) -> None:
    await put(store, *world())
    await outcome(store, lambda step: Flows(step, step).create(flow(RINGS_A)))
    await outcome(store, activate)
    entry = await store.get(keys.flow_index("acme", "main"))
    assert entry is not None
    assert entry.value == b"line:a"
    await outcome(store, lambda step: Flows(step, step).delete(flow(), ""))
    assert not (await store.list(keys.FLOW_INDEX)).entries


async def test_a_line_group_keeps_its_lines(store: Store) -> None:
    await put(store, *world())
    group = flows_pb2.LineGroup(tenant="acme", id="support", lines=[flows_pb2.DialLine(line="b")])
    assert await outcome(store, lambda step: LineGroups(step, step).create(group)) == "done"
    line_b = types_pb2.Line(tenant="acme", id="b")
    assert await outcome(store, lambda step: Lines(step, step).delete(line_b, "")) == "InUseError"
    assert await outcome(store, lambda step: LineGroups(step, step).delete(group, "")) == "done"
    assert await outcome(store, lambda step: Lines(step, step).delete(line_b, "")) == "done"


async def test_a_line_group_of_a_line_that_does_not_exist(store: Store) -> None:
    await put(store, *world())
    lines = [flows_pb2.DialLine(line=id) for id in ("a", "gone")]
    group = flows_pb2.LineGroup(tenant="acme", id="support", lines=lines)
    assert await outcome(store, lambda step: LineGroups(step, step).create(group)) == "InvalidFieldError"


async def test_a_large_line_group_is_checked_whole(store: Store) -> None:
    ids = [f"l{n}" for n in range(1000)]
    await put(store, types_pb2.Tenant(id="acme"))
    for start in range(0, 1000, 100):
        lines = [types_pb2.Line(tenant="acme", id=id, user="1", host="192.0.2.7") for id in ids[start : start + 100]]
        await put(store, *lines)
    group = flows_pb2.LineGroup(tenant="acme", id="all", lines=[flows_pb2.DialLine(line=id) for id in ids])
    assert await outcome(store, lambda step: LineGroups(step, step).create(group)) == "done"
    group.id, group.lines[999].line = "more", "gone"
    assert await outcome(store, lambda step: LineGroups(step, step).create(group)) == "InvalidFieldError"
