"""A small world for call flows: tenant acme and what its flows may refer to, put into a store as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.store import codec, keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from typing import Any

    from google.protobuf.message import Message
    from signalbox.store.base import Store


def graph(entry: str, **nodes: dict[str, Any]) -> flows_pb2.FlowGraph:
    """A graph of nodes, each as its kind and fields: ``a={"dial": {"lines": [{"line": "a"}]}}``."""
    return json_format.ParseDict(
        {"entry": entry, "nodes": [{"id": id, **node} for id, node in nodes.items()]}, flows_pb2.FlowGraph()
    )


def dial(line: str = "a", **fields: Any) -> dict[str, Any]:
    """A dial of one line."""
    return {"dial": {"lines": [{"line": line}], **fields}}


def line(id: str) -> types_pb2.Line:
    """A line of acme."""
    return types_pb2.Line(tenant="acme", id=id, user="100", host="192.0.2.7")


def flow(draft: flows_pb2.FlowGraph | None = None, id: str = "main", tenant: str = "acme") -> flows_pb2.Flow:
    """A flow with a draft, by default one that dials line a."""
    return flows_pb2.Flow(tenant=tenant, id=id, draft=graph("a", a=dial()) if draft is None else draft)


def schedule(id: str, *periods: str, tenant: str = "acme", activated: bool = True) -> schedules_pb2.Schedule:
    """A schedule whose rules have periods of these names since 1970."""
    rules = schedules_pb2.ScheduleRules(periods=[schedules_pb2.Period(name=name) for name in periods])
    revision = schedules_pb2.ScheduleRevision(number=1, rules=rules, activate_time=Timestamp(seconds=0))
    return schedules_pb2.Schedule(tenant=tenant, id=id, draft=rules, revisions=[revision] if activated else [])


def world() -> list[Message]:
    """Tenant acme with lines a and b, a group, a prompt, a schedule and a list; the operator's list and region."""
    return [
        types_pb2.Tenant(id="acme"),
        types_pb2.Tenant(id="other"),
        line("a"),
        line("b"),
        flows_pb2.LineGroup(tenant="acme", id="sales", lines=[flows_pb2.DialLine(line="a")]),
        types_pb2.Prompt(tenant="acme", id="hello"),
        types_pb2.ApiKey(tenant="acme", id="crm"),
        schedule("hours", "open", "lunch"),
        screening_pb2.ScreeningList(tenant="acme", id="staff"),
        screening_pb2.ScreeningList(id="nuisance"),
        screening_pb2.RegionGroup(id="north", provinces=["北京"]),
    ]


async def put(store: Store, *objects: Message) -> None:
    """Write objects as they are."""
    await store.commit([], [Put(codec.key_of(one), codec.encode(one)) for one in objects])


async def index_of(store: Store, id: str = "main", tenant: str = "acme") -> list[str]:
    """What the index says of a flow."""
    entry = await store.get(keys.flow_index(tenant, id))
    return entry.value.decode().split() if entry else []
