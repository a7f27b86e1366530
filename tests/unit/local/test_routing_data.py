"""Numbers by the million: what is written at once is what the product would have written one by one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, types_pb2
from signalbox.domain.flow_check import structure
from signalbox.provisioning import flow_references, references
from signalbox.provisioning.numbers import indexed
from signalbox.routing import convert_flows, convert_schedules
from signalbox.store import codec, flowgraph, keys
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore
from signalbox.store.page import MAX_BYTES, MAX_ITEMS
from signalbox.store.paged import PagedStore
from signalbox_local import routing_data
from signalbox_local.routing_data import DataSet

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = DataSet(2_000)


def every_pair(data: DataSet) -> Iterator[tuple[str, bytes]]:
    yield from routing_data.common()
    yield from routing_data.of_tenants(data, range(data.tenants))
    for partition in range(100):
        yield from routing_data.of_partition(data, partition)


@pytest.fixture
async def store() -> PagedStore:
    below = MemoryStore()
    pairs = list(every_pair(DATA))
    for start in range(0, len(pairs), 100):
        await below.commit([], [Put(*pair) for pair in pairs[start : start + 100]])
    return PagedStore(below)


async def test_each_number_is_read_through_pages_with_its_line_or_flow(store: PagedStore) -> None:
    listed = (await store.list(keys.NUMBERS)).entries
    assert len(listed) == DATA.count
    flows = set()
    for entry in listed:
        number = codec.decode(types_pb2.Number, entry)
        n = int(number.number[3:])
        number.etag = ""
        assert number == DATA.number(n)
        if number.flow:
            flows.add((number.tenant, number.flow))
    assert len(flows) == DATA.flows == DATA.count // 2
    for tenant, id in sorted(flows)[:50]:
        assert await store.get(keys.flow(tenant, id))
    lines = (await store.list(keys.LINES)).entries
    assert {keys.last_part(entry.key) for entry in lines} == {routing_data.line_id(n) for n in range(DATA.count)}
    assert codec.decode(types_pb2.Line, lines[0]).user == keys.last_part(lines[0].key)[1:]


async def test_indexes_name_what_is_used(store: PagedStore) -> None:
    n, tenant = 1_234, routing_data.tenant_id(1)
    flow = DATA.number(n).flow
    assert await references.number_with(store, "flow", tenant, flow) == f"number {routing_data.digits(n)}"
    entry = await store.get(keys.number_of(tenant, routing_data.digits(n)))
    assert entry is not None
    assert entry.value == indexed(DATA.number(n))
    stored = await store.get(keys.flow(tenant, flow))
    index = await store.get(keys.flow_index(tenant, flow))
    assert stored is not None
    assert index is not None
    now = DATA.flow(1, 0).create_time.ToDatetime()
    assert index.value.decode() == flow_references.index(codec.decode(flows_pb2.Flow, stored), now)


async def test_pages_that_were_written_can_be_changed_by_the_product(store: PagedStore) -> None:
    n = 777
    key = keys.number(routing_data.digits(n))
    before = await store.get(key)
    assert before is not None
    changed = DATA.number(n)
    changed.state = types_pb2.NUMBER_STATE_SUSPENDED
    await store.commit([], [Put(key, codec.encode(changed))])
    after = await store.get(key)
    assert after is not None
    assert after.value == codec.encode(changed)
    assert after.create_revision == before.revision
    assert len((await store.list(keys.NUMBERS)).entries) == DATA.count


def test_flows_are_as_calls_can_obey_them_and_no_two_alike() -> None:
    graphs = set()
    for tenant in range(DATA.tenants):
        for k in range(DATA.tenant_flows):
            flow = DATA.flow(tenant, k)
            assert not list(structure(flowgraph.graph(flow.draft)))
            assert len(convert_flows.flow(flow).revisions) == 1
            graphs.add(flow.draft.SerializeToString(deterministic=True))
    assert len(graphs) == DATA.flows


async def test_schedules_are_as_calls_can_obey_them(store: PagedStore) -> None:
    entry = await store.get(keys.schedules_of(routing_data.tenant_id(0)) + "hours")
    assert entry is not None
    assert convert_schedules.schedule(codec.decode(schedules_pb2.Schedule, entry)).revisions


def test_pages_are_no_fuller_than_pages_are_and_hold_all() -> None:
    entries = [(f"{n:05d}", b"x" * (n % 100)) for n in range(1_000)]
    pages = list(routing_data.pages("rules/numbers/00/", entries))
    assert all(len(value) <= MAX_BYTES for _, value in pages)
    assert [key for key, _ in pages] == sorted(key for key, _ in pages)
    assert len(pages) >= len(entries) / MAX_ITEMS


@pytest.mark.parametrize("count", [1_000, 1_000_000, 10_000_000])
def test_ten_million_numbers_have_as_many_flows_as_a_million(count: int) -> None:
    data = DataSet(count)
    assert data.flows == min(100_000, count // 2)
    assert data.tenants * data.tenant_flows == data.flows
    assert [data.rank(data.popular(rank)) for rank in (0, 1, count - 1)] == [0, 1, count - 1]


def test_popular_numbers_are_called_in_proportion_to_their_rank() -> None:
    drawn = Counter(routing_data.draw(DATA, 100_000, 1, zipf=True))
    first, tenth = (drawn[routing_data.digits(DATA.popular(rank))] for rank in (0, 9))
    assert 8 < first / tenth < 12.5
    assert routing_data.draw(DATA, 10, 1, zipf=True) == routing_data.draw(DATA, 10, 1, zipf=True)


def test_all_numbers_are_called_equally_often_without_popularity() -> None:
    drawn = Counter(routing_data.draw(DATA, 200_000, 1, zipf=False))
    assert len(drawn) == DATA.count
    assert max(drawn.values()) < 200


async def test_what_is_written_at_once_is_all_of_it() -> None:
    store = MemoryStore()
    written = await routing_data.fill(store, DataSet(1_000))
    pairs = dict(every_pair(DataSet(1_000)))
    assert written == len(pairs)
    listed = [entry for prefix in ("rules/", "index/") for entry in (await store.list(prefix)).entries]
    assert {entry.key: entry.value for entry in listed} == pairs
