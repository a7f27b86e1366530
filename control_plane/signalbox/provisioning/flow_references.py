"""What call flows refer to: whether it exists, and which flows an object is used by.

Used is what a revision refers to that is in force or to come. A draft does not count: it is looked at when it is
activated. Neither do revisions that are superseded: a call that began with one goes on without what is gone, and they
are looked at again when a flow is rolled back to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2, schedules_pb2
from signalbox.domain.flow_check import Kind, Known, references
from signalbox.domain.revisions import needed_from
from signalbox.store import codec, flowgraph, keys
from signalbox.store.base import MAX_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from signalbox.domain.flow import FlowGraph
    from signalbox.provisioning.writer import Reader
    from signalbox.store.base import Entry

_KEYS = {
    Kind.LINE: keys.line,
    Kind.LINE_GROUP: keys.line_group,
    Kind.SCHEDULE: keys.schedule,
    Kind.SCREENING_LIST: keys.screening_list,
    Kind.REGION_GROUP: keys.region_group,
    Kind.PROMPT: keys.prompt,
    Kind.API_KEY: keys.api_key,
}
_SHARED = frozenset({Kind.SCREENING_LIST, Kind.REGION_GROUP})
"""Kinds of which the operator's are used by tenants that have none of the id of their own."""


async def known(store: Reader, tenant: str, graph: FlowGraph, now: datetime) -> Known:
    """Which of the objects that a graph of the tenant refers to exist, and the periods of the schedules."""
    wanted = sorted({(one.kind, one.id) for one in references(graph)}, key=lambda one: (one[0].value, one[1]))
    own = await get_all(store, [_KEYS[kind](tenant, id) for kind, id in wanted])
    lacking = [one for one, entry in zip(wanted, own, strict=True) if entry is None and one[0] in _SHARED]
    shared = await get_all(store, [_KEYS[kind]("", id) for kind, id in lacking])
    found = [*zip(wanted, own, strict=True), *zip(lacking, shared, strict=True)]
    ids: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    periods: dict[str, set[str]] = {}
    for (kind, id), entry in found:
        if entry is not None:
            ids[kind].add(id)
            if kind is Kind.SCHEDULE:
                periods[id] = _periods(codec.decode(schedules_pb2.Schedule, entry), now)
    return Known(ids, periods)


def index(flow: flows_pb2.Flow, now: datetime) -> str:
    """What a flow uses from ``now`` on, as it is kept below ``keys.FLOW_INDEX``."""
    return " ".join(sorted({_word(kind, id) for kind, id in _uses(flow, now)}))


async def user(store: Reader, kind: Kind, tenant: str, id: str, now: datetime) -> str:
    """The first flow of a tenant that uses an object of this id, e.g. "flow acme/main"; "" if none does.

    The index names some that used it when they were written: each of these is read.
    """
    word = _word(kind, id)
    for entry in (await store.list(keys.flow_index(tenant))).entries:
        if word not in entry.value.decode().split():
            continue
        name = keys.last_part(entry.key)
        stored = await store.get(keys.flow(tenant, name))
        if stored is not None and (kind, id) in _uses(codec.decode(flows_pb2.Flow, stored), now):
            return f"flow {tenant}/{name}"
    return ""


def _uses(flow: flows_pb2.Flow, now: datetime) -> Iterator[tuple[Kind, str]]:
    """Kind and id of all that a flow uses. Raises DamagedValueError for what only a newer release knows."""
    first = needed_from([codec.seconds(one.activate_time) for one in flow.revisions], now.timestamp())
    for revision in flow.revisions[first:]:
        try:
            graph = flowgraph.graph(revision.graph)
        except ValueError as error:
            raise codec.DamagedValueError(codec.key_of(flow), f"revision {revision.number}: {error}") from error
        for one in references(graph):
            yield one.kind, one.id


def _periods(schedule: schedules_pb2.Schedule, now: datetime) -> set[str]:
    """Names of periods that a schedule has or will have."""
    first = needed_from([codec.seconds(one.activate_time) for one in schedule.revisions], now.timestamp())
    return {period.name for revision in schedule.revisions[first:] for period in revision.rules.periods}


def _word(kind: Kind, id: str) -> str:
    return f"{kind.name.lower()}:{id}"


async def get_all(store: Reader, wanted: Sequence[str]) -> list[Entry | None]:
    """Some keys in the order asked, however many."""
    found: list[Entry | None] = []
    for start in range(0, len(wanted), MAX_OPERATIONS):
        found += await store.get_many(wanted[start : start + MAX_OPERATIONS])
    return found
