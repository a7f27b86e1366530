"""Numbers by the million for benchmarks, written straight into etcd as the product keeps them.

A tenant has a thousand numbers in a row, and each number a line of its own, a telephone behind the one trunk. Every
other number rings its line; the rest have call flows of five nodes: a schedule, a branch by the caller's province, two
dials and a hang-up. As many numbers share a flow as it takes for FLOWS flows, no two of which are alike.

Popularity is Zipf's: the number of rank r is called in proportion to 1 / r. The most popular may have any number of
calls, the rest as many as numbers have if nothing is said.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, types_pb2
from signalbox.domain.flow_check import references
from signalbox.provisioning.numbers import indexed
from signalbox.store import codec, flowgraph, keys
from signalbox.store.base import MAX_COMMIT_BYTES, MAX_OPERATIONS, Put
from signalbox.store.page import FORMAT, ITEM_BYTES, LAST, MAX_BYTES, MAX_ITEMS, Page
from signalbox.store.pagepb import page_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray
    from signalbox.store.base import Store

FLOWS = 100_000
TENANT_NUMBERS = 1_000
UNLIMITED = 100_000
"""So many of the most popular numbers take any number of calls."""
TRUNK = "callers"
CARRIER = "carrier"
FILLED = 0.75
"""How full pages are: as those are that were divided and have grown since."""
PAGE_ITEMS, PAGE_BYTES = int(MAX_ITEMS * FILLED), int(MAX_BYTES * FILLED)
STRIDE = 6_180_339
"""Neighbours in popularity are so many numbers apart; it has no factor in common with a power of ten."""
TIME = Timestamp(seconds=1_760_000_000, nanos=123_456_789)
PROVINCES = (
    "北京", "天津", "河北", "山西", "内蒙古", "辽宁", "吉林", "黑龙江", "上海", "江苏",
    "浙江", "安徽", "福建", "江西", "山东", "河南", "湖北", "湖南", "广东", "广西",
    "海南", "重庆", "四川", "贵州", "云南", "西藏", "陕西", "甘肃", "青海", "宁夏",
)  # fmt: skip
TENANTS_AT_ONCE = 20
COMMITS_AT_ONCE = 3

Pair = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class DataSet:
    """So many numbers, a multiple of a hundred, from 4000000000 on."""

    count: int

    @property
    def tenants(self) -> int:
        """How many tenants there are."""
        return -(-self.count // TENANT_NUMBERS)

    @property
    def flows(self) -> int:
        """How many call flows there are."""
        return min(FLOWS, self.count // 2)

    @property
    def tenant_flows(self) -> int:
        """How many of them a tenant has."""
        return self.flows // self.tenants

    def popular(self, rank: int) -> int:
        """The number of a rank; the most popular has 0."""
        return rank * STRIDE % self.count

    def rank(self, n: int) -> int:
        """The rank of a number."""
        return n * _inverse(self.count) % self.count

    def numbers_of(self, tenant: int) -> range:
        """The numbers of a tenant."""
        return range(tenant * TENANT_NUMBERS, min(self.count, (tenant + 1) * TENANT_NUMBERS))

    def number(self, n: int) -> types_pb2.Number:
        """A number as it is stored."""
        rule = types_pb2.Number(
            number=digits(n), tenant=tenant_id(n // TENANT_NUMBERS), state=types_pb2.NUMBER_STATE_ACTIVE,
            media=types_pb2.MEDIA_MODE_BYPASS, create_time=TIME, update_time=TIME,
        )  # fmt: skip
        if n % 2:
            rule.stages.add().lines.append(line_id(n))
        else:
            rule.flow = f"flow-{n % TENANT_NUMBERS // 2 % self.tenant_flows}"
        if self.rank(n) < UNLIMITED:
            rule.limits.concurrent_calls = 0
        return rule

    def flow(self, tenant: int, k: int) -> flows_pb2.Flow:
        """A flow as it is stored, once activated."""
        lines = [line_id(tenant * TENANT_NUMBERS + (2 * k + by) % len(self.numbers_of(tenant))) for by in (0, 1)]
        graph = flows_pb2.FlowGraph(entry="hours")
        hours = graph.nodes.add(id="hours").schedule
        hours.schedule, hours.otherwise = "hours", "closed"
        hours.branches.add(period="open", next="where")
        where = graph.nodes.add(id="where").region
        where.otherwise = "desk"
        first = tenant * self.tenant_flows + k
        where.branches.add(provinces=[PROVINCES[(first + by) % len(PROVINCES)] for by in (0, 7, 19)], next="branch")
        desk = graph.nodes.add(id="desk").dial
        desk.lines.add(line=lines[0])
        desk.busy = desk.no_answer = desk.failed = "branch"
        graph.nodes.add(id="branch").dial.lines.add(line=lines[1])
        graph.nodes.add(id="closed").hang_up.cause = flows_pb2.HANG_UP_CAUSE_UNAVAILABLE
        flow = flows_pb2.Flow(tenant=tenant_id(tenant), id=f"flow-{k}", draft=graph, create_time=TIME, update_time=TIME)
        flow.revisions.add(number=1, graph=graph, activate_time=TIME, create_time=TIME)
        return flow


@cache
def _inverse(count: int) -> int:
    """What undoes the stride."""
    return pow(STRIDE, -1, count)


def digits(n: int) -> str:
    """A number in national form."""
    return f"400{n:07d}"


def tenant_id(tenant: int) -> str:
    """A tenant's id."""
    return f"tenant-{tenant:05d}"


def line_id(n: int) -> str:
    """Of a number's own line: as imports name it."""
    return f"t{_telephone(n)}"


def _telephone(n: int) -> str:
    # 7919 has no factor in common with 10**8: every number has another line, in no order.
    return f"138{n * 7919 % 10**8:08d}"


def line(n: int) -> types_pb2.Line:
    """A number's own line as it is stored."""
    return types_pb2.Line(
        tenant=tenant_id(n // TENANT_NUMBERS), id=line_id(n), user=_telephone(n), create_time=TIME, update_time=TIME
    )  # fmt: skip


def _schedule(tenant: int) -> schedules_pb2.Schedule:
    """Always open, so that figures do not depend on the time of day."""
    rules = schedules_pb2.ScheduleRules()
    weekly = rules.periods.add(name="open").weekly
    weekly.days.extend(schedules_pb2.Weekday.values()[1:])
    weekly.start_time, weekly.end_time = "00:00", "24:00"
    schedule = schedules_pb2.Schedule(
        tenant=tenant_id(tenant), id="hours", draft=rules, create_time=TIME, update_time=TIME
    )  # fmt: skip
    schedule.revisions.add(number=1, rules=rules, activate_time=TIME, create_time=TIME)
    return schedule


def common() -> list[Pair]:
    """What there is once: the trunk that calls come from, and the carrier that has the lines."""
    carrier = types_pb2.Trunk(id=CARRIER, create_time=TIME, update_time=TIME)
    carrier.targets.add(host="127.0.0.1", port=9)
    carrier.health_check.disabled = True
    group = types_pb2.TrunkGroup(id="out", prefixes=[""], create_time=TIME, update_time=TIME)
    group.members.add(trunk=CARRIER)
    callers = types_pb2.Trunk(id=TRUNK, source_addresses=["127.0.0.1"], create_time=TIME, update_time=TIME)
    return [_pair(one) for one in (carrier, group, callers)]


def of_tenants(data: DataSet, tenants: Iterable[int]) -> list[Pair]:
    """All keys of some tenants but their numbers: lines and the index of numbers in pages, the rest one by one."""
    found: list[Pair] = []
    for tenant in tenants:
        id = tenant_id(tenant)
        found += [_pair(types_pb2.Tenant(id=id, create_time=TIME, update_time=TIME)), _pair(_schedule(tenant))]
        found.append((keys.schedule_index(id, "hours"), b""))
        for k in range(data.tenant_flows):
            flow = data.flow(tenant, k)
            uses = {f"{one.kind.name.lower()}:{one.id}" for one in references(flowgraph.graph(flow.draft))}
            found += [_pair(flow), (keys.flow_index(id, flow.id), " ".join(sorted(uses)).encode())]
        lines = sorted((line_id(n), codec.encode(line(n))) for n in data.numbers_of(tenant))
        found += pages(keys.lines_of(id), lines)
        found += pages(keys.numbers_of(id), ((digits(n), indexed(data.number(n))) for n in data.numbers_of(tenant)))
    return found


def of_partition(data: DataSet, partition: int) -> list[Pair]:
    """All keys of the numbers that end with the same two digits."""
    numbers = ((digits(n), codec.encode(data.number(n))) for n in range(partition, data.count, 100))
    return list(pages(keys.NUMBER_PARTITIONS[partition], numbers))


def pages(prefix: str, entries: Iterable[tuple[str, bytes]]) -> Iterator[Pair]:
    """Pages of entries in order, each by its id below a prefix."""
    items: list[page_pb2.Item] = []
    size = 0
    for id, value in entries:
        grown = len(id) + len(value) + ITEM_BYTES
        if items and (len(items) == PAGE_ITEMS or size + grown > PAGE_BYTES):
            yield _page(prefix, items[-1].key, items)
            items, size = [], 0
        items.append(page_pb2.Item(key=id, value=value))
        size += grown
    yield _page(prefix, LAST, items)


def _page(prefix: str, id: str, items: Sequence[page_pb2.Item]) -> Pair:
    return prefix + id, Page(prefix, prefix + id, 0, page_pb2.Page(format=FORMAT, items=items)).encode()


def _pair(message: Message) -> Pair:
    return codec.key_of(message), codec.encode(message)


async def fill(store: Store, data: DataSet) -> int:
    """Write all of it into an empty store without pages of its own; returns how many keys. Raises StoreError's kin."""
    room = asyncio.Semaphore(COMMITS_AT_ONCE)
    count = 0

    async def commit(some: Sequence[Put]) -> None:
        try:
            await store.commit([], some)
        finally:
            room.release()

    async with asyncio.TaskGroup() as commits:
        async for some in _batches(data):
            count += len(some)
            await room.acquire()
            commits.create_task(commit(some))
    return count


async def _batches(data: DataSet) -> AsyncIterator[Sequence[Put]]:
    """Commits, made by as many processes as there are cores."""
    chunks = [range(n, min(data.tenants, n + TENANTS_AT_ONCE)) for n in range(0, data.tenants, TENANTS_AT_ONCE)]
    # Not forked: gRPC has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        loop = asyncio.get_running_loop()
        work = [partial(of_tenants, data, chunk) for chunk in chunks]
        work += [partial(of_partition, data, partition) for partition in range(100)]
        writes: list[Put] = [Put(*pair) for pair in common()]
        size = 0
        ahead = [loop.run_in_executor(pool, one) for one in work[:4]]
        for position in range(len(work)):
            pairs = await ahead.pop(0)
            if position + 4 < len(work):
                ahead.append(loop.run_in_executor(pool, work[position + 4]))
            for key, value in pairs:
                if len(writes) == MAX_OPERATIONS or size + len(value) > MAX_COMMIT_BYTES:
                    yield writes
                    writes, size = [], 0
                writes.append(Put(key, value))
                size += len(value)
        yield writes


def draw(data: DataSet, how_many: int, seed: int, *, zipf: bool) -> list[str]:
    """Numbers that are called one after the other: by their popularity, or all equally often."""
    chance = np.random.default_rng(seed)
    if not zipf:
        return [digits(n) for n in chance.integers(0, data.count, how_many).tolist()]
    ranks = np.searchsorted(_cumulated(data.count), chance.random(how_many))
    return [digits(data.popular(rank)) for rank in ranks.tolist()]


_CUMULATED: dict[int, NDArray[np.float64]] = {}


def _cumulated(count: int) -> NDArray[np.float64]:
    """By rank, which part of the calls goes to numbers up to it."""
    if count not in _CUMULATED:
        shares = np.cumsum(1.0 / np.arange(1, count + 1))
        _CUMULATED[count] = shares / shares[-1]
    return _CUMULATED[count]


def some_of(data: DataSet, how_many: int) -> list[str]:
    """Numbers spread over all, the most popular first."""
    return [digits(data.popular(rank)) for rank in itertools.islice(range(data.count), how_many)]
